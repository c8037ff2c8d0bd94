"""Passes among replicas that finish in any order, report late, and carry work over from pass to pass."""

import io
import math
import tempfile
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.batch import BatchLedger, Rules, first_homes
from dbmpi.config import Train
from dbmpi.metrics import Book
from dbmpi.passes import Pass, Tally
from dbmpi.progress import Silent
from dbmpi.protocol import REPORT, Work
from dbmpi.roster import Roster
from dbmpi.stopping import Stopping

ROWS = 10  # of each portion
Key = tuple[int, int]


class Crew:
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
            self.book = Book(Path(folder) / "metrics.jsonl", 100, True, 1.0, Silent(io.StringIO()))
        self.roster = Roster((replicas, 2), 100.0, self, lambda r, p: f"replica {r}", lambda: 0.0)

    def send(self, replica: int, assignment: Any) -> None:
        key = int(assignment["evaluation"]), int(assignment["index"])
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

    def run(self, evaluation: int, portions: int, rules: Rules, pick: Callable[[int], int]) -> Pass:
        ledger = BatchLedger(first_homes(portions, len(self.replicas)), rules)
        batch = 0, ROWS * portions
        this = Pass(self.roster, self.book, self.stopping, ledger, evaluation, batch, self.tally)
        this.start()
        for _ in range(10_000):
            if this.finished:
                this.close()
                return this
            moves = self.moves()
            kind, which = moves[pick(len(moves))]
            if kind == "report":
                this.receive(self.reports[which].popleft())
            elif kind == "compute":
                self.compute(which, evaluation)
            else:
                self.counted += self.flying[which]
                self.report(which, Work.PUSH, self.flying[which][0], 0)
                self.flying[which] = []
            this.tick()
        raise AssertionError("the pass does not end")

    def moves(self) -> list[tuple[str, int]]:
        ready = {"report": self.reports, "compute": self.work, "push": self.flying}
        return [(kind, n) for kind, where in ready.items() for n, there in enumerate(where) if there]

    def compute(self, replica: int, evaluation: int) -> None:
        assignment = self.work[replica].popleft()
        key = int(assignment["evaluation"]), int(assignment["index"])
        dropped = key in self.dropped[replica]
        self.dropped[replica].discard(key)
        if not dropped:
            self.undecided[replica].add(key)
        self.report(replica, Work.GRADIENT, key, 0 if dropped else ROWS)

    def report(self, replica: int, work: Work, key: Key, examples: int) -> None:
        for partition in (0, 1):
            report = np.zeros((), REPORT)
            report["work"], report["replica"], report["partition"] = work, replica, partition
            report["evaluation"], report["index"] = key
            report["examples"], report["busy_s"] = examples, 2.0
            report["loss_sum"] = examples * self.loss(key[1]) / 2
            self.reports[2 * replica + partition].append(report)


@settings(max_examples=150)
@given(
    replicas=st.integers(1, 4),
    portions=st.integers(1, 15),
    every=st.integers(1, 4),
    passes=st.integers(1, 4),
    data=st.data(),
)
def test_every_pass_counts_every_portion_once_whatever_is_left_of_the_last(
    replicas, portions, every, passes, data
):
    crew = Crew(replicas)
    for evaluation in range(1, passes + 1):
        this = crew.run(evaluation, portions, Rules(every), lambda n: data.draw(st.integers(0, n - 1)))
        expected = sum(1.0 + portion for portion in range(portions)) / portions
        assert this.loss == pytest.approx(expected)
        mine = [portion for number, portion in crew.counted if number == evaluation]
        assert Counter(mine) == Counter(range(portions))
    assert crew.book.examples == passes * portions * ROWS
    assert crew.tally.won.sum() == passes * portions
    assert crew.tally.done.sum() >= crew.tally.won.sum()


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_pass_at_once(loss):
    crew = Crew(2, lambda portion: loss if portion == 0 else 1.0)
    this = crew.run(1, 20, Rules(4), lambda n: 0)
    assert math.isnan(this.loss) and not this.ledger.done
    assert crew.book.examples < 5 * ROWS
    held = {(1, int(a["index"])) for work in crew.work for a in work}
    assert held and all(key in crew.dropped[0] | crew.dropped[1] for key in held)
    again = crew.run(2, 3, Rules(4), lambda n: n - 1)
    assert not again.ledger.done  # the same portion, the same loss


def test_a_stop_ends_the_pass_and_what_is_late_counts_for_nothing():
    crew = Crew(2)
    crew.stopping.look_at_ledger("epochs")
    this = crew.run(1, 6, Rules(4), lambda n: 0)
    assert not this.ledger.done and crew.book.examples == 0 and not crew.counted


def test_the_loss_does_not_depend_on_who_is_first():
    found = set()
    for pick in (lambda n: 0, lambda n: n - 1, lambda n: n // 2):
        crew = Crew(3, lambda portion: 0.1 + 1e-9 * portion**3)
        found.add(crew.run(1, 17, Rules(4), pick).loss)
    assert len(found) == 1


def test_copies_and_losers_are_counted():
    crew = Crew(2)
    crew.run(1, 4, Rules(100), lambda n: 0)  # replica 0 first, in all things
    assert crew.tally.won.tolist() == [4, 0]
    assert crew.tally.copies >= 1 and crew.tally.copies_used == crew.tally.copies
    crew.run(2, 4, Rules(100), lambda n: n - 1)
    assert crew.tally.lost[1] >= 1


def test_replicas_that_compute_half_of_the_time_wait_the_other_half():
    tally = Tally(2)
    tally.passes_s, tally.busy_s = 10.0, 10.0
    assert tally.waited_s == 5.0
