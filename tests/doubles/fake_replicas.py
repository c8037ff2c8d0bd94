"""A test double of the replicas of a pass over the batch."""

import io
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dbmpi.comm.protocol import REPORT, Work
from dbmpi.config.sections import Train
from dbmpi.coordinator.activity import Activity, Coordination
from dbmpi.coordinator.replicas import ReplicaTable
from dbmpi.coordinator.stopping import Stopping
from dbmpi.output.metrics import MetricsLog
from dbmpi.output.progress import Silent
from dbmpi.output.totals import Tally
from dbmpi.sandblaster.pass_scheduler import PassScheduler, Rules, first_homes
from dbmpi.sandblaster.passes import Pass

ROWS = 10  # of each portion
Key = tuple[int, int]


class FakeReplicas:
    """Replicas of two partitions, whose reports wait until the test delivers them."""

    def __init__(self, replicas: int, loss: Callable[[int], float] = lambda portion: 1.0 + portion) -> None:
        self.loss = loss
        self.replicas = range(replicas)
        self.work: list[deque[Any]] = [deque() for _ in self.replicas]
        self.dropped: list[set[Key]] = [set() for _ in self.replicas]
        self.undecided: list[set[Key]] = [set() for _ in self.replicas]
        self.accrued: list[list[Key]] = [[] for _ in self.replicas]
        self.flying: list[list[Key]] = [[] for _ in self.replicas]
        self.reports: list[deque[Any]] = [deque() for _ in range(2 * replicas)]
        self.counted: list[Key] = []
        self.stopping, self.tally = Stopping(Train()), Tally(replicas)
        with tempfile.TemporaryDirectory() as folder:  # the open file is all that is needed
            self.log = MetricsLog(Path(folder) / "metrics.jsonl", 100, True, 1.0, Silent(io.StringIO()))
        table = ReplicaTable((replicas, 2), 100.0, self, lambda r, p: f"replica {r}", lambda: 0.0)
        self.shared = Coordination(table, self.log, self.stopping)

    def send_to_spares(self, assignment: Any) -> None:
        """See `replicas.Dispatcher`."""

    def send(self, replica: int, assignment: Any) -> None:
        key = int(assignment["pass_number"]), int(assignment["index"])
        work = Work(int(assignment["work"]))
        if work is Work.GRADIENT:
            self.work[replica].append(assignment)
        elif work is Work.ACCEPT:
            self.undecided[replica].remove(key)
            self.accrued[replica].append(key)
        elif work is Work.DROP:
            self.undecided[replica].discard(key)
            self.dropped[replica].add(key)
        elif work is Work.PUSH:
            self.flying[replica], self.accrued[replica] = self.accrued[replica], []

    def start(self, pass_number: int, portions: int, rules: Rules) -> Pass:
        """Begin a pass."""
        scheduler = PassScheduler(first_homes(portions, len(self.replicas)), rules)
        this = Pass(self.shared, scheduler, pass_number, (0, ROWS * portions), self.tally)
        this.start()
        return this

    def drive(self, this: Pass, turn: Callable[[], None]) -> Pass:
        """Take turns until the pass is over."""
        for _ in range(10_000):
            if this.finished:
                this.close()
                return this
            turn()
        raise AssertionError("the pass does not end")

    def run(self, pass_number: int, portions: int, rules: Rules, pick: Callable[[int], int]) -> Pass:
        """Do one pass; `pick(n)` chooses among n moves."""
        this = self.start(pass_number, portions, rules)
        return self.drive(this, lambda: self.turn(this, pick))

    def turn(self, this: Activity, pick: Callable[[int], int]) -> None:
        """Make a move."""
        moves = self.moves()
        kind, which = moves[pick(len(moves))]
        if kind == "report":
            this.receive(self.reports[which].popleft())
        elif kind == "compute":
            self.compute(which)
        else:
            self.counted += self.flying[which]
            self.report(which, Work.PUSH, self.flying[which][0], 0)
            self.flying[which] = []
        this.tick()

    def moves(self) -> list[tuple[str, int]]:
        ready = {"report": self.reports, "compute": self.work, "push": self.flying}
        return [(kind, n) for kind, where in ready.items() for n, there in enumerate(where) if there]

    def compute(self, replica: int) -> None:
        assignment = self.work[replica].popleft()
        key = int(assignment["pass_number"]), int(assignment["index"])
        dropped = key in self.dropped[replica]
        self.dropped[replica].discard(key)
        if not dropped:
            self.undecided[replica].add(key)
        self.report(replica, Work.GRADIENT, key, 0 if dropped else ROWS)

    def report(self, replica: int, work: Work, key: Key, examples: int) -> None:
        for partition in (0, 1):
            report = np.zeros((), REPORT)
            report["work"], report["replica"], report["partition"] = work, replica, partition
            report["pass_number"], report["index"] = key
            report["examples"], report["busy_s"] = examples, 2.0
            report["loss_sum"] = report["data_loss_sum"] = examples * self.loss(key[1]) / 2
            self.reports[2 * replica + partition].append(report)
