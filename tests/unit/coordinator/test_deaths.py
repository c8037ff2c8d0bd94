"""Replicas that die at any moment: every portion and every held-out row still counts exactly once."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.comm.assignments import evaluation_of, leave, plain, portion_of
from dbmpi.comm.protocol import REPORT, Work
from dbmpi.config.algorithms import Downpour, Warmstart
from dbmpi.config.sections import Evaluation, Train
from dbmpi.coordinator.portion_scheduler import PortionScheduler
from dbmpi.coordinator.replicas import ReplicaTable
from dbmpi.data.portions import PortionPlan
from dbmpi.sandblaster.pass_scheduler import Rules
from dbmpi.sandblaster.passes import Pass
from tests.doubles.fake_replicas import ROWS, FakeReplicas
from tests.unit.coordinator.test_downpour import TEST_ROWS, Fleet, config

ORDERS_OF_THE_DEAD = {Work.ALIVE, Work.RETIRE}  # their living partitions wait for the order to leave


class MortalFleet(Fleet):
    """A fleet whose replicas may die; what they have reported by then may still be under way."""

    def __init__(self, *args: Any, **more: Any) -> None:
        self.dead: set[int] = set()
        super().__init__(*args, **more)
        self.counted: list[Any] = []
        complete = self.coordinator._complete

        def count(job: Any) -> None:
            self.counted += [portion_of(job.assignment)] if job.portion is not None else []
            complete(job)

        self.coordinator._complete = count  # type: ignore[method-assign]

    def send_to_spares(self, assignment: Any) -> None:
        """See `replicas.Dispatcher`."""

    def send(self, replica: int, assignment: Any) -> None:
        """See `Fleet.send`; the dead get nothing to do."""
        if replica in self.dead:
            assert int(assignment["work"]) in ORDERS_OF_THE_DEAD
        elif assignment["work"] == Work.RETIRE:
            self.dead.add(replica)
        else:
            super().send(replica, assignment)

    def die(self, replica: int, late: bool) -> None:
        """A replica dies; with `late`, a report that it has sent comes after the news of its death."""
        self.coordinator.died(replica, "rank 7")
        if late and self.queues[replica, 0]:
            self.work(replica, 0)
        for partition in range(self.shape[1]):
            self.queues[replica, partition].clear()

    def run_with_deaths(self, deaths: int, draw: random.Random) -> None:
        """Go on until all is over, while up to `deaths` replicas die."""
        self.coordinator.start()
        for _ in range(20_000):
            living = [r for r in range(self.shape[0]) if r not in self.dead]
            if self.coordinator.finished:
                return
            if len(self.dead) < deaths and len(living) > 1 and draw.random() < 0.03:
                self.die(draw.choice(living), draw.random() < 0.5)
            elif waiting := self.waiting():
                self.work(*draw.choice(waiting))
            self.now += 0.01
            self.coordinator.tick()
        raise AssertionError("the run does not end")


@settings(max_examples=150)
@given(
    shape=st.tuples(st.integers(2, 5), st.integers(1, 3)),
    rows=st.integers(1, 150),
    epochs=st.integers(1, 3),
    every=st.sampled_from([0.0, 0.3]),
    warm=st.integers(0, 20),
    deaths=st.integers(1, 4),
    seed=st.integers(0, 1 << 30),
)
def test_every_portion_of_downpour_counts_once_although_replicas_die(
    shape, rows, epochs, every, warm, deaths, seed
):
    sections: dict[str, Any] = {"evaluation": Evaluation(every_epochs=every)}
    if warm:
        sections["downpour"] = Downpour(warmstart=Warmstart(steps=warm))
    train = Train(minibatch=10, epochs=float(epochs), portion=2)
    fleet = MortalFleet(config(train, **sections), shape, rows)
    fleet.run_with_deaths(deaths, random.Random(seed))
    assert set(Counter((p.epoch, p.part, p.index, p.first) for p in fleet.counted).values()) == {1}
    assert fleet.log.examples == fleet.scheduler.examples == epochs * rows
    assert fleet.coordinator.stopping.reason == "epochs"
    assert fleet.log.final_evaluation.rows == TEST_ROWS


def test_the_warmstart_goes_on_with_the_first_replica_that_lives():
    sections = {"downpour": Downpour(warmstart=Warmstart(steps=30))}
    fleet = MortalFleet(config(Train(minibatch=10, epochs=40.0, portion=2), **sections))
    fleet.coordinator.start()
    assert fleet.queues[0, 0] and not fleet.queues[1, 0]
    fleet.die(0, late=False)
    assert len(fleet.queues[1, 0]) == 2 and not fleet.queues[2, 0]


def test_what_a_dead_replica_owed_goes_to_another_first():
    fleet = MortalFleet(config())
    fleet.coordinator.start()
    owed = [portion_of(assignment) for assignment in fleet.queues[1, 0]]
    fleet.die(1, late=False)
    fleet.work_whole(0)
    fleet.work_whole(2)
    sent = [portion_of(a) for _, a in fleet.sent if a["work"] == Work.TRAIN][-2:]
    assert sent == owed


@given(
    rows=st.integers(1, 300),
    parts=st.integers(1, 5),
    steps=st.none() | st.integers(1, 60),
    seed=st.integers(0, 1 << 30),
)
def test_portions_given_back_are_handed_out_again_and_none_is_lost(rows, parts, steps, seed):
    draw, plan = random.Random(seed), PortionPlan(rows, 10, parts, 1, 2)
    scheduler = PortionScheduler(plan, 2 * rows, steps)
    held, learned = [], []
    for _ in range(2000):
        portion = scheduler.next(draw.randrange(parts))
        held += [portion] if portion is not None else []
        if not held:
            break
        portion = held.pop(draw.randrange(len(held)))
        if draw.random() < 0.3:
            scheduler.give_back(portion)
            assert scheduler.limit == ""
        else:
            scheduler.done(portion)
            learned.append(portion)
    assert set(Counter((p.epoch, p.part, p.index) for p in learned).values()) == {1}
    assert sum(p.examples for p in learned) == scheduler.examples
    assert sum(p.minibatches for p in learned) == scheduler.steps
    assert scheduler.limit in ("epochs", "steps") and (steps is None) <= (scheduler.limit == "epochs")


class MortalReplicas(FakeReplicas):
    """A fake whose replicas may die, even in the middle of a push."""

    def __init__(self, replicas: int, draw: random.Random) -> None:
        super().__init__(replicas)
        self.draw, self.dead = draw, set[int]()

    def send_to_spares(self, assignment: Any) -> None:
        """See `replicas.Dispatcher`."""

    def send(self, replica: int, assignment: Any) -> None:
        """See `FakeReplicas.send`; what is to be dropped is forgotten or remembered, as by the client."""
        key = int(assignment["pass_number"]), int(assignment["index"])
        if replica in self.dead or assignment["work"] == Work.RETIRE:
            assert int(assignment["work"]) in ORDERS_OF_THE_DEAD
            self.dead.add(replica)
        elif assignment["work"] == Work.DROP and key in self.undecided[replica]:
            self.undecided[replica].discard(key)
        else:
            if assignment["work"] == Work.GRADIENT:  # what was dropped, and answered for, may come again
                self.dropped[replica].discard(key)
            super().send(replica, assignment)

    def make(self, evaluation: int, portions: int, rules: Rules, deaths: int) -> Pass:
        """Make a pass, in which replicas may die."""
        this = self.start(evaluation, portions, rules)

        def turn() -> None:
            living = [r for r in self.replicas if r not in self.dead]
            if len(living) > 1 and len(self.dead) < deaths and self.draw.random() < 0.05:
                self.die(self.draw.choice(living), this)
            else:
                self.move(this, evaluation)

        return self.drive(this, turn)

    def move(self, this: Pass, evaluation: int) -> None:
        kind, which = self.draw.choice(self.moves())
        if kind == "report":
            this.receive(self.reports[which].popleft())
        elif kind == "compute":
            self._begin(which, int(self.work[which][0]["pass_number"]))
            self.compute(which)
        else:
            self._arrive(which, self.flying[which][0][0] == evaluation)
        this.tick()

    def _arrive(self, replica: int, open_now: bool) -> None:
        """A push reaches the shards, which refuse that of a pass that is over."""
        self.counted += self.flying[replica] if open_now else []
        self.report(replica, Work.PUSH, self.flying[replica][0], 0)
        self.flying[replica] = []

    def _begin(self, replica: int, evaluation: int) -> None:
        """As `SandblasterClient` begins another evaluation: the push in flight ends first."""
        left = [*self.flying[replica], *self.accrued[replica], *self.undecided[replica]]
        if any(number < evaluation for number, _ in left):
            if self.flying[replica]:
                self._arrive(replica, open_now=False)
            self.accrued[replica].clear()
            self.undecided[replica].clear()

    def die(self, replica: int, this: Pass) -> None:
        """Its push, if one is under way, has reached all shards or only some; its reports may come yet."""
        self.counted += self.flying[replica] if self.draw.random() < 0.5 else []
        for left in (self.work, self.undecided, self.accrued, self.flying):
            left[replica].clear()  # type: ignore[attr-defined]
        this.died(replica, "rank 7")


@settings(max_examples=200)
@given(
    replicas=st.integers(2, 5),
    portions=st.integers(1, 15),
    rules=st.builds(Rules, st.integers(1, 4), st.booleans(), st.booleans()),
    deaths=st.integers(1, 4),
    seed=st.integers(0, 1 << 30),
)
def test_a_pass_that_is_whole_has_counted_every_portion_once(replicas, portions, rules, deaths, seed):
    fake = MortalReplicas(replicas, random.Random(seed))
    passes, broken = 0, 0
    for _wanted in range(3):
        whole = False
        while not whole:
            passes += 1
            this = fake.make(passes, portions, rules, deaths)
            whole = this.scheduler.done
            broken += this.scheduler.broken
            assert whole or this.scheduler.broken
        mine = [portion for number, portion in fake.counted if number == passes]
        if not this.scheduler.broken:
            assert Counter(mine) == Counter(range(portions))
        assert this.loss == pytest.approx(sum(1.0 + portion for portion in range(portions)) / portions)
    assert broken <= deaths
    assert 3 * portions * ROWS <= fake.log.examples <= passes * portions * ROWS


class Sent(list[tuple[int, Work]]):
    """What was sent."""

    def send_to_spares(self, assignment: Any) -> None:
        """See `replicas.Dispatcher`."""

    def send(self, replica: int, assignment: Any) -> None:
        self.append((replica, Work(int(assignment["work"]))))


def table_of(replicas: int) -> tuple[ReplicaTable, Sent, list[float]]:
    sent, now = Sent(), [0.0]
    return ReplicaTable((replicas, 1), 100.0, sent, lambda r, p: f"replica {r}", lambda: now[0]), sent, now


def test_a_replica_that_died_retires_and_what_it_owed_is_returned():
    table, sent, _ = table_of(2)
    table.order(0, evaluation_of(0, 5))
    table.order(0, plain(Work.FLUSH))
    jobs = table.leave_out(0)
    assert [job.work for job in jobs] == [Work.EVALUATE, Work.FLUSH]
    assert sent[-1] == (0, Work.RETIRE)
    assert table.idle and table.living == [1] and table.dead == [0] and table.least_busy() == 1


def test_nobody_waits_for_a_dead_replica_but_its_partitions_get_signs_of_life():
    table, sent, now = table_of(2)
    table.order(0, plain(Work.FLUSH))
    table.leave_out(0)
    now[0] = 1000.0
    table.keep_alive()
    assert (0, Work.ALIVE) in sent
    late = np.zeros((), REPORT)
    late["work"] = Work.FLUSH
    assert table.receive(late) is None


def test_the_order_to_leave_gives_the_status():
    assert (leave(3)["work"], leave(3)["status"]) == (Work.LEAVE, 3)
