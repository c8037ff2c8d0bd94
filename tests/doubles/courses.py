"""A run of Downpour from job to job, on other shapes each time, in which every row is followed.

The coordinator's part is real: activity, scheduler, journal, log, and the state, which goes from job to job
as checkpoints on disk. Replicas learn row by row when the test says so: a minibatch's gradient accrues, is
pushed, and arrives, or is lost with the replica. Of the shards there is what keeps the coordinator's state.
"""

import io
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from dbmpi.checkpoint import coordinator_state, manifest, resume
from dbmpi.checkpoint.coordinator_state import CoordinatorState
from dbmpi.checkpoint.run_state import DownpourState, RunState
from dbmpi.comm.assignments import Note, Portion, note_of, portion_of
from dbmpi.comm.protocol import NOTE, REPORT, Work
from dbmpi.config.algorithms import Downpour, Warmstart
from dbmpi.config.sections import Config, Evaluation, Train
from dbmpi.coordinator.activity import Coordination
from dbmpi.coordinator.downpour import DownpourActivity
from dbmpi.coordinator.portion_scheduler import PortionScheduler
from dbmpi.coordinator.replicas import ReplicaTable
from dbmpi.coordinator.stopping import Stopping
from dbmpi.data.portions import PortionPlan, examples_in
from dbmpi.output.metrics import MetricsLog
from dbmpi.output.progress import Silent
from tests.doubles import checkpoints
from tests.doubles.shapes import Shape

Row = tuple[int, int]  # epoch, row
TEST_ROWS = 3


@dataclass
class Course:
    """A run: how often each row was handed out, and how often the model has learned from it."""

    run_dir: Path
    rows: int
    draw: Random
    handed: Counter[Row] = field(default_factory=Counter)
    learned: Counter[Row] = field(default_factory=Counter)
    again: int = 0
    lost: int = 0
    _then: dict[int, tuple[Counter[Row], Counter[Row]]] = field(default_factory=dict)  # at each checkpoint

    def do(self, shape: Shape) -> None:
        """Do a job: go on from the newest checkpoint, to the end that the shape says."""
        self.run_dir.mkdir(exist_ok=True)
        model = manifest.model_of(checkpoints.SMALL, "float32", self.rows)
        saved, refused = resume.find(self.run_dir, lambda found: model, wanted=False)
        assert not refused
        then = self._then[saved.manifest.number] if saved is not None else (Counter(), Counter())
        self.handed, self.learned = Counter(then[0]), Counter(then[1])
        Job(self, shape, saved.manifest.state if saved is not None else None).run()

    def save(self, state: RunState) -> None:
        """Write a checkpoint."""
        number = 1 + len(self._then)
        checkpoints.save(self.run_dir, number, state=state, rows=self.rows)
        self._then[number] = Counter(self.handed), Counter(self.learned)


@dataclass
class Learner:
    """A replica: what it has to do, and what of its gradient is where."""

    orders: deque[Any] = field(default_factory=deque)
    reports: deque[Any] = field(default_factory=deque)
    rows: list[Row] = field(default_factory=list)  # of the portion at hand, not learned from yet
    accrued: list[Row] = field(default_factory=list)
    in_flight: list[Row] = field(default_factory=list)


class Job:
    """One job of a course. It is also the coordinator's dispatcher, mirrors, and checkpoint manager."""

    def __init__(self, course: Course, shape: Shape, state: RunState | None) -> None:
        self.course, self.shape, self.draw = course, shape, course.draw
        self.learners = [Learner() for _ in range(shape.replicas)]
        self.dead: set[int] = set()
        self.now, self.due, self.state_due = 0.0, False, False
        self.state: bytes | None = None
        self.notes: list[bytes] = []
        train = Train(minibatch=shape.minibatch, epochs=shape.epochs, steps=shape.steps)
        downpour = Downpour(warmstart=Warmstart(steps=shape.warm))
        config = Config(train=train, downpour=downpour, evaluation=Evaluation(every_epochs=0.4))
        self.log = MetricsLog(course.run_dir / "metrics.jsonl", course.rows, True, 1.0, Silent(io.StringIO()))
        self.stopping = Stopping(train)
        table = ReplicaTable((shape.replicas, 1), 1e9, self, lambda r, p: f"{r}", lambda: self.now)
        plan = PortionPlan(course.rows, shape.minibatch, shape.replicas, 1, shape.portion, shape.chunk_rows)
        scheduler = PortionScheduler(plan, examples_in(shape.epochs, course.rows), shape.steps)
        shared, rows = Coordination(table, self.log, self.stopping), (course.rows, TEST_ROWS)
        mirrors: Any = self if shape.mirrored else None
        manager: Any = self
        self.activity = DownpourActivity(config, scheduler, rows, shared, manager, True, mirrors)
        if state is not None:
            self.log.restore(state.log)
            self.stopping.restore(state.stopping)
        self.log.start(self.now)
        if state is not None and state.downpour is not None:
            self.activity.restore(state.downpour)

    def run(self) -> None:
        """Go on until all is over, or the coordinator dies."""
        self.activity.start()
        turn = 0
        while not self.activity.finished:
            if turn == self.shape.kill_at:
                self.die()
                break
            if turn == self.shape.stop_at:
                self.stopping._stop("signal")
            self.turn()
            turn += 1
            assert turn < 20_000
        self.course.again, self.course.lost = self.log.rows_again, self.log.rows_lost
        self.log.close()

    def turn(self) -> None:
        """Let one replica or one message get on."""
        living = [r for r in range(self.shape.replicas) if r not in self.dead]
        if len(self.dead) < self.shape.deaths and len(living) > 1 and self.draw.random() < 0.02:
            self.lose(self.draw.choice(living))
        busy = [r for r in living if r not in self.dead and self._busy(r)]
        if busy:
            self.move(self.draw.choice(busy))
        self.now += 0.01
        if self.draw.random() < 0.3:
            self.due |= self.draw.random() < 0.1
            self.state_due |= self.draw.random() < 0.2
            self.activity.tick()

    def _busy(self, replica: int) -> bool:
        learner = self.learners[replica]
        return bool(learner.orders or learner.reports or learner.in_flight)

    def move(self, replica: int) -> None:
        """Learn from a minibatch, let a push arrive, or deliver a report."""
        learner = self.learners[replica]
        kinds = [kind for kind in ("orders", "reports", "in_flight") if getattr(learner, kind)]
        kind = self.draw.choice(kinds)
        if kind == "reports":
            self.activity.receive(learner.reports.popleft())
        elif kind == "in_flight":
            self._arrive(learner)
        else:
            self._work(replica, learner)

    def _work(self, replica: int, learner: Learner) -> None:
        order, report = learner.orders[0], np.zeros((), REPORT)
        report["work"], report["replica"] = order["work"], replica
        if order["work"] == Work.TRAIN:
            portion = portion_of(order)
            learner.rows = learner.rows or rows_of(portion)
            width = portion.plan.minibatch
            learner.accrued += learner.rows[:width]
            del learner.rows[:width]
            if self.draw.random() < 0.6 and not learner.in_flight:
                learner.in_flight, learner.accrued = learner.accrued, []
            if learner.rows:
                return
            report["steps"], report["examples"] = portion.minibatches, portion.examples
        elif order["work"] == Work.FLUSH:
            self._arrive(learner)
            learner.in_flight, learner.accrued = learner.accrued, []
            self._arrive(learner)
        else:
            report["examples"] = order["stop"] - order["start"]
        report["unpushed"] = len(learner.accrued) + len(learner.in_flight)
        learner.orders.popleft()
        learner.reports.append(report)

    def _arrive(self, learner: Learner) -> None:
        self.course.learned.update(learner.in_flight)
        learner.in_flight = []

    # -- deaths --------------------------------------------------------------------------------------------

    def lose(self, replica: int) -> None:
        """A replica dies: what was on its way has arrived, or not."""
        learner = self.learners[replica]
        if self.draw.random() < 0.5:
            self._arrive(learner)
        while learner.reports and self.draw.random() < 0.5:
            self.activity.receive(learner.reports.popleft())
        self.learners[replica] = Learner()
        self.activity.died(replica, "rank 7")

    def die(self) -> None:
        """The coordinator dies: the shards make a checkpoint, if one has its state."""
        for learner in self.learners:
            if self.draw.random() < 0.5:
                self._arrive(learner)
        if self.state is not None:
            self.course.save(coordinator_state.read(self.state, b"".join(self.notes)).state)

    # -- as the dispatcher ---------------------------------------------------------------------------------

    def send_to_spares(self, assignment: Any) -> None:
        """See `replicas.Dispatcher`."""

    def send(self, replica: int, assignment: Any) -> None:
        """See `replicas.Dispatcher`."""
        if assignment["work"] == Work.RETIRE:
            self.dead.add(replica)
        elif assignment["work"] != Work.ALIVE:
            assert replica not in self.dead
            self.learners[replica].orders.append(assignment)
        if assignment["work"] == Work.TRAIN:
            portion = portion_of(assignment)
            self.course.handed.update(rows_of(portion))
            if self.shape.mirrored:  # the shard knows before the replica does
                assert note_of(np.frombuffer(self.notes[-1], NOTE)[-1]) == Note(replica, portion, False)

    # -- as the checkpoint manager, and the shard that keeps the state -------------------------------------

    def poll(self) -> None:
        """What is due is drawn in `turn`."""

    def save(self, state: DownpourState, score: float | None = None) -> None:
        """See `CheckpointManager.save`."""
        assert not any(learner.accrued or learner.in_flight for learner in self.learners)
        self.due = False
        self.course.save(self._run_state(state))

    def send_state(self, state: DownpourState) -> None:
        """See `CheckpointManager.send_state`."""
        self.state_due = False
        if self.shape.mirrored:
            self.state, self.notes = CoordinatorState(self._run_state(state)).to_bytes(), []

    def send_notes(self, notes: Any) -> None:
        """See `cluster.Mirrors.send_notes`."""
        self.notes.append(notes.tobytes())

    def _run_state(self, state: DownpourState) -> RunState:
        return RunState(self.log.state(), self.stopping.state(), downpour=state)


def rows_of(portion: Portion) -> list[Row]:
    """Return the rows that are learned from with a portion, in order, as `Loader.train` yields them."""
    plan, which = PortionPlan(**asdict(portion.plan)), (portion.epoch, portion.part, portion.index)
    rows = [row for start, stop in plan.blocks(*which) for row in range(start, stop)]
    first = portion.first * plan.minibatch
    order = plan.order(*which)[first : first + portion.minibatches * plan.minibatch]
    assert len(order) == portion.examples > 0
    return [(portion.epoch, rows[position]) for position in order]
