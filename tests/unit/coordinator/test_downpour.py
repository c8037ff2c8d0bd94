"""The coordinator among replicas that finish in any order: it gives out all work once, and ends."""

import io
import math
import tempfile
from collections import Counter, deque
from collections.abc import Callable
from itertools import cycle
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.comm.assignments import portion_of
from dbmpi.comm.protocol import REPORT, Work
from dbmpi.comm.wait import JUDGED
from dbmpi.config.algorithms import Downpour, Warmstart
from dbmpi.config.sections import Cluster, Config, Evaluation, Target, Train
from dbmpi.coordinator.activity import Coordination
from dbmpi.coordinator.downpour import DEPTH, DownpourActivity, Phase
from dbmpi.coordinator.portion_scheduler import PortionScheduler
from dbmpi.coordinator.replicas import ReplicaTable
from dbmpi.coordinator.stopping import Stopping
from dbmpi.coordinator.trigger import IntervalTrigger
from dbmpi.data.portions import PortionPlan
from dbmpi.errors import STATUS_STOPPED
from dbmpi.output.metrics import MetricsLog
from dbmpi.output.progress import Silent

TEST_ROWS = 37
TIMEOUT_S = 100.0


class Fleet:
    """Replicas that do what they are told when the test says so, on a clock that the test moves."""

    activity: type[DownpourActivity] = DownpourActivity

    def __init__(
        self,
        config: Config,
        shape: tuple[int, int] = (3, 2),
        rows: int = 200,
        loss: Callable[[Work], float] = lambda work: 1.0,
    ) -> None:
        self.now, self.shape, self.rows, self.loss = 1000.0, shape, rows, loss
        self.plan = PortionPlan(rows, config.train.minibatch, shape[0], 1, config.train.portion)
        examples = None if config.train.epochs is None else ceil(config.train.epochs * rows)
        self.scheduler = PortionScheduler(self.plan, examples, config.train.steps)
        self.queues = {(r, p): deque[Any]() for r in range(shape[0]) for p in range(shape[1])}
        self.sent: list[tuple[int, Any]] = []
        self.done: list[tuple[int, Any]] = []
        with tempfile.TemporaryDirectory() as folder:  # the open file is all that is needed
            self.log = MetricsLog(Path(folder) / "metrics.jsonl", rows, True, 1.0, Silent(io.StringIO()))
        self.log.start(self.now)
        table = ReplicaTable(
            shape,
            config.cluster.timeout_s,
            self,
            lambda r, p: f"rank {10 * r + p} (replica {r} partition {p})",
            clock=lambda: self.now,
            awake=lambda: self.now,
        )
        shared = Coordination(table, self.log, Stopping(config.train))
        self.coordinator = self.activity(config, self.scheduler, (rows, TEST_ROWS), shared)

    def send_to_spares(self, assignment: Any) -> None:
        """See `replicas.Dispatcher`."""

    def send(self, replica: int, assignment: Any) -> None:
        """Put an assignment into the queue of every partition."""
        self.sent.append((replica, assignment))
        if assignment["work"] != Work.ALIVE:
            for partition in range(self.shape[1]):
                self.queues[replica, partition].append(assignment)

    def work(self, replica: int, partition: int) -> None:
        """Let a partition do its next assignment, and report it."""
        assignment = self.queues[replica, partition].popleft()
        if partition == 0:
            self.done.append((replica, assignment))
        report = np.zeros((), REPORT)
        work = Work(int(assignment["work"]))
        report["work"], report["replica"], report["partition"] = work, replica, partition
        if work is Work.TRAIN:
            portion = portion_of(assignment)
            report["steps"] = self.learned(replica, portion.minibatches)
            report["examples"] = min(portion.examples, report["steps"] * portion.plan.minibatch)
        elif work is Work.EVALUATE:
            report["examples"] = assignment["stop"] - assignment["start"]
        if partition == 0 and report["examples"]:
            report["loss_sum"] = self.loss(work) * report["examples"]
            report["correct"] = report["examples"] // 2
        self.coordinator.receive(report)

    def learned(self, replica: int, minibatches: int) -> int:
        """Return from how many minibatches of a portion a replica learns."""
        return minibatches

    def work_whole(self, replica: int) -> None:
        """Let all partitions of a replica do their next assignment."""
        for partition in range(self.shape[1]):
            self.work(replica, partition)

    def waiting(self) -> list[tuple[int, int]]:
        return [who for who, queue in self.queues.items() if queue]

    def kinds(self, replica: int) -> list[Work]:
        """What waits for a replica."""
        return [Work(int(a["work"])) for a in self.queues[replica, 0]]

    def run(self, pick: Callable[[int], int], most: int = 5000) -> None:
        """Go on until all is over; `pick(n)` chooses which of n partitions moves next."""
        self.coordinator.start()
        for _ in range(most):
            if self.coordinator.finished:
                return
            who = self.waiting()
            if who:
                self.work(*who[pick(len(who))])
            self.now += 0.01
            self.coordinator.tick()
        raise AssertionError("the run does not end")


def config(train: Train | None = None, **sections: Any) -> Config:
    sections = {"cluster": Cluster(timeout_s=TIMEOUT_S), "evaluation": Evaluation(every_epochs=0)} | sections
    return Config(train=train or Train(minibatch=10, epochs=2.0, portion=2), **sections)


def rows_trained(cluster: Fleet) -> int:
    portions = [portion_of(a) for _, a in cluster.sent if a["work"] == Work.TRAIN]
    return sum(portion.examples for portion in portions)


@settings(max_examples=40)
@given(
    replicas=st.integers(1, 4),
    partitions=st.integers(1, 3),
    rows=st.integers(1, 150),
    epochs=st.integers(1, 3),
    every=st.sampled_from([0.0, 0.3, 1.0]),
    warm=st.integers(0, 20),
    data=st.data(),
)
def test_any_order_of_replicas_ends_with_every_epoch_handed_out(
    replicas, partitions, rows, epochs, every, warm, data
):
    sections = {"evaluation": Evaluation(every_epochs=every)}
    if warm:
        sections["downpour"] = Downpour(warmstart=Warmstart(steps=warm))
    train = Train(minibatch=10, epochs=float(epochs), portion=2)
    cluster = Fleet(config(train, **sections), (replicas, partitions), rows)
    cluster.run(lambda n: data.draw(st.integers(0, n - 1)))

    portions = [portion_of(a) for _, a in cluster.sent if a["work"] == Work.TRAIN]
    trained = Counter((p.epoch, p.part, p.index, p.first) for p in portions)
    assert set(trained.values()) == {1}
    assert cluster.log.examples == cluster.scheduler.examples == epochs * rows == rows_trained(cluster)
    assert cluster.coordinator.stopping.reason == "epochs"
    assert_ended_in_order(cluster)


def assert_ended_in_order(cluster: Fleet) -> None:
    """Every replica flushed once, after all training and before the final evaluation of each row once."""
    works = [int(a["work"]) for _, a in cluster.sent]
    first_flush = works.index(Work.FLUSH)
    assert works.count(Work.FLUSH) == cluster.shape[0] and Work.TRAIN not in works[first_flush:]
    done = [int(a["work"]) for _, a in cluster.done]
    last_flush = len(done) - done[::-1].index(Work.FLUSH)
    final = [a for _, a in cluster.done[last_flush:]]
    assert all(a["work"] == Work.EVALUATE and a["stop"] > a["start"] for a in final)
    assert sorted(row for a in final for row in range(a["start"], a["stop"])) == list(range(TEST_ROWS))
    assert cluster.log.final_evaluation.rows == TEST_ROWS
    assert not any(cluster.queues.values())


def test_each_replica_has_its_next_assignment_while_it_works():
    cluster = Fleet(config())
    cluster.coordinator.start()
    assert [len(cluster.queues[r, p]) for r in range(3) for p in range(2)] == [DEPTH] * 6
    cluster.work(1, 0)
    assert len(cluster.queues[1, 0]) == DEPTH - 1  # partition 1 has not reported yet
    cluster.work(1, 1)
    assert [len(cluster.queues[1, p]) for p in range(2)] == [DEPTH] * 2


def test_partitions_of_a_replica_get_the_same_assignments_in_the_same_order():
    cluster = Fleet(config())
    cluster.coordinator.start()
    cluster.work(1, 0)
    cluster.work(1, 0)  # one partition is two assignments ahead
    cluster.work(1, 1)
    cluster.work(1, 1)
    assert cluster.log.step == 4
    assert list(cluster.queues[1, 0]) == list(cluster.queues[1, 1])


def test_assignments_carry_the_examples_handed_out_before_for_the_schedule():
    cluster = Fleet(config())
    cluster.run(lambda n: n - 1)
    before = 0
    for portion in (portion_of(a) for _, a in cluster.sent if a["work"] == Work.TRAIN):
        assert portion.before == before
        before += cluster.plan.rows(portion.epoch, portion.part, portion.index)


def test_fast_replicas_do_more():
    cluster = Fleet(config(Train(minibatch=10, epochs=10.0, portion=1)))
    cluster.coordinator.start()
    for replica in cycle([0, 1, 0, 2, 0, 0]):
        if cluster.coordinator.finished:
            break
        if cluster.queues[replica, 0]:
            cluster.work_whole(replica)
    did = Counter(replica for replica, a in cluster.done if a["work"] == Work.TRAIN)
    assert did[0] > 3 * did[1] and sum(did.values()) == 10 * 21


def test_an_evaluation_does_not_stop_the_other_replicas():
    train = Train(minibatch=10, epochs=20.0, portion=1)
    cluster = Fleet(config(train, evaluation=Evaluation(every_epochs=0.5)))
    cluster.coordinator.start()
    while not any(Work.EVALUATE in cluster.kinds(r) for r in range(3)):
        cluster.work_whole(0)
    (evaluating,) = (r for r in range(3) if Work.EVALUATE in cluster.kinds(r))
    before = len(cluster.done)
    others = [r for r in range(3) if r != evaluating]
    for _ in range(30):
        for replica in others:
            assert cluster.kinds(replica)[0] is Work.TRAIN
            cluster.work_whole(replica)
            # What came due meanwhile may go to another; it evaluates, and goes on.
            if cluster.kinds(replica)[:1] == [Work.EVALUATE]:
                cluster.work_whole(replica)
    assert len(cluster.done) - before >= 60
    assert cluster.coordinator.phase is Phase.TRAIN


def test_one_replica_evaluates_the_whole_held_out_set_during_training():
    cluster = Fleet(config(evaluation=Evaluation(every_epochs=0.5)))
    cluster.run(lambda n: 0)
    works = [int(a["work"]) for _, a in cluster.sent]
    during = [a for _, a in cluster.sent[: works.index(Work.FLUSH)] if a["work"] == Work.EVALUATE]
    assert 2 <= len(during) <= 3  # none once all work is handed out
    assert all((a["start"], a["stop"]) == (0, TEST_ROWS) for a in during)


@settings(max_examples=20)
@given(warm=st.integers(1, 25), data=st.data())
def test_warmstart_is_replica_0_alone_until_its_steps_are_done(warm, data):
    sections = {"downpour": Downpour(warmstart=Warmstart(steps=warm))}
    cluster = Fleet(config(Train(minibatch=10, epochs=4.0, portion=2), **sections))
    cluster.coordinator.start()
    while cluster.log.step < warm:
        assert not any(cluster.queues[r, p] for r in (1, 2) for p in range(2))
        cluster.work_whole(0)
        cluster.now += 1
        cluster.coordinator.tick()
    assert all(len(cluster.queues[r, 0]) == DEPTH for r in range(3))
    cluster.run(lambda n: data.draw(st.integers(0, n - 1)))


def test_warmstart_by_time_lets_the_others_in_at_a_tick():
    sections = {"downpour": Downpour(warmstart=Warmstart(time=5.0))}
    cluster = Fleet(config(Train(minibatch=10, epochs=40.0, portion=2), **sections))
    cluster.coordinator.start()
    cluster.now += 4.9
    cluster.coordinator.tick()
    assert not cluster.queues[1, 0] and len(cluster.queues[0, 0]) == DEPTH
    cluster.now += 0.2
    cluster.coordinator.tick()
    assert len(cluster.queues[1, 0]) == len(cluster.queues[2, 0]) == DEPTH


def test_a_warmstart_longer_than_the_timeout_makes_nobody_silent():
    sections = {"downpour": Downpour(warmstart=Warmstart(time=3 * TIMEOUT_S))}
    cluster = Fleet(config(Train(minibatch=10, epochs=400.0, portion=2), **sections))
    cluster.coordinator.start()
    while not cluster.queues[1, 0]:
        cluster.now += 10
        cluster.work_whole(0)
        cluster.coordinator.tick()
    cluster.now += 1
    cluster.work_whole(0)
    cluster.coordinator.tick()  # replicas 1 and 2 got their first work a moment ago


def test_steps_end_the_run_exactly():
    cluster = Fleet(config(Train(minibatch=10, epochs=None, steps=17, portion=2)))
    cluster.run(lambda n: n - 1)
    assert cluster.log.step == 17 and cluster.coordinator.stopping.reason == "steps"
    assert_ended_in_order(cluster)


def test_time_ends_the_run():
    cluster = Fleet(config(Train(minibatch=10, epochs=None, max_time=1.0, portion=2)))
    cluster.run(lambda n: 0)
    assert cluster.coordinator.stopping.reason == "max_time"
    assert 1.0 <= cluster.log.train_s < 1.5
    assert_ended_in_order(cluster)


def test_a_target_reached_ends_the_run():
    train = Train(minibatch=10, epochs=None, target=Target(accuracy=0.45), portion=2)
    cluster = Fleet(config(train, evaluation=Evaluation(every_epochs=1.0)))
    cluster.run(lambda n: 0)
    assert cluster.coordinator.stopping.reason == "target"
    assert_ended_in_order(cluster)


def test_evaluation_by_time_finds_the_target_too():
    train = Train(minibatch=10, epochs=None, target=Target(loss=1.5), portion=2)
    cluster = Fleet(config(train, evaluation=Evaluation(every_epochs=0, every_s=0.3)))
    cluster.run(lambda n: 0)
    assert cluster.coordinator.stopping.reason == "target"


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_divergence_ends_the_run(loss):
    train = Train(minibatch=10, epochs=100.0, portion=2)
    cluster = Fleet(config(train), loss=lambda work: loss if work is Work.TRAIN else 1.0)
    cluster.run(lambda n: 0)
    assert cluster.coordinator.stopping.reason == "diverged"
    assert cluster.log.step < 0.01 * 100 * 60
    assert_ended_in_order(cluster)


def test_a_final_evaluation_that_is_not_finite_calls_the_run_diverged():
    cluster = Fleet(config(), loss=lambda work: 1.0 if work is Work.TRAIN else math.nan)
    cluster.run(lambda n: 0)
    assert cluster.coordinator.stopping.reason == "diverged" and cluster.coordinator.finished


def test_what_is_outstanding_is_finished_before_the_flush():
    cluster = Fleet(config(Train(minibatch=10, epochs=None, max_time=1.0, portion=2)))
    cluster.coordinator.start()
    cluster.now += 2
    cluster.coordinator.tick()
    cluster.work_whole(0)
    assert cluster.kinds(0) == [Work.TRAIN] and cluster.coordinator.phase is Phase.TRAIN
    for replica in (0, 1, 1, 2, 2):
        cluster.work_whole(replica)
    assert cluster.coordinator.phase is Phase.FLUSH
    assert [cluster.kinds(r) for r in range(3)] == [[Work.FLUSH]] * 3


def test_flush_carries_the_examples_for_the_schedule():
    cluster = Fleet(config())
    cluster.run(lambda n: 0)
    flush = next(a for _, a in cluster.sent if a["work"] == Work.FLUSH)
    assert flush["examples"] == 400


def test_more_replicas_than_held_out_rows():
    cluster = Fleet(config(), (TEST_ROWS + 3, 1), rows=500)
    cluster.run(lambda n: 0)
    assert_ended_in_order(cluster)


def test_a_silent_partition_is_known():
    cluster = Fleet(config())
    cluster.coordinator.start()
    for silent in ([], [(1, 1)]):
        cluster.now += 0.6 * JUDGED * TIMEOUT_S
        for replica in (0, 2):
            cluster.work_whole(replica)
        cluster.work(1, 0)
        assert cluster.coordinator.silent() == silent


def test_a_replica_that_fell_silent_is_left_out_and_the_run_stops():
    cluster = Fleet(config())
    cluster.coordinator.start()
    cluster.coordinator.fell_silent(1)
    assert cluster.coordinator.stopping.reason == "silence"
    assert cluster.coordinator.stopping.status == STATUS_STOPPED and cluster.coordinator.stopping.hasty
    for _ in range(2):
        for replica in (0, 2):
            cluster.work_whole(replica)
    assert cluster.coordinator.phase is Phase.FLUSH and not cluster.coordinator.finished
    for replica in (0, 2):
        cluster.work_whole(replica)
    assert cluster.coordinator.finished


def test_a_sign_of_life_keeps_a_slow_partition():
    cluster = Fleet(config(), (1, 2))
    cluster.coordinator.start()
    alive = np.zeros(2, REPORT)
    alive["work"], alive["partition"] = Work.ALIVE, [0, 1]
    for _ in range(20):
        cluster.now += 0.5 * TIMEOUT_S
        for report in alive:
            cluster.coordinator.receive(report)
        assert cluster.coordinator.silent() == []
        cluster.coordinator.tick()
    assert cluster.log.step == 0 and len(cluster.queues[0, 0]) == DEPTH


def test_an_idle_replica_is_not_silent_and_gets_signs_of_life():
    sections = {"downpour": Downpour(warmstart=Warmstart(time=1e9))}
    cluster = Fleet(config(Train(minibatch=10, epochs=1000.0, portion=1), **sections))
    cluster.coordinator.start()
    while cluster.now < 1000 + 5 * TIMEOUT_S:
        cluster.now += TIMEOUT_S / 20
        cluster.work_whole(0)
        cluster.coordinator.tick()
    alive = [replica for replica, a in cluster.sent if a["work"] == Work.ALIVE]
    assert set(alive) == {1, 2}  # replica 0 gets work often enough
    assert 15 <= alive.count(1) <= 20  # every quarter of the timeout


def test_a_replica_idle_at_the_end_of_training_is_not_silent_at_the_flush():
    cluster = Fleet(config(Train(minibatch=10, epochs=None, steps=4, portion=2)), (3, 1))
    cluster.coordinator.start()
    assert [len(cluster.queues[r, 0]) for r in range(3)] == [1, 1, 0]
    cluster.now += 1
    cluster.work(1, 0)
    for _ in range(20):  # replica 0 is slow, but lives
        cluster.now += 0.2 * TIMEOUT_S
        report = np.zeros((), REPORT)
        report["work"] = Work.ALIVE
        cluster.coordinator.receive(report)
        cluster.coordinator.tick()
    cluster.work(0, 0)
    cluster.now += 1
    cluster.coordinator.tick()
    assert cluster.coordinator.phase is Phase.FLUSH


def test_evaluation_times():
    times = IntervalTrigger(100, 0)
    times.update(99, 1e6)
    assert not times.take()
    times.update(350, 0.0)  # three are missed: one is taken
    assert times.take() and not times.take()
    times.update(399, 0.0)
    assert not times.take()
    times.update(400, 0.0)
    assert times.take()


def test_evaluation_times_by_either_clock_and_by_none():
    times = IntervalTrigger(100, 5.0)
    times.update(50, 5.0)
    assert times.take()
    times.update(100, 6.0)
    assert times.take()
    never = IntervalTrigger(0, 0.0)
    never.update(10**9, 1e9)
    assert not never.take()


@settings(max_examples=60)
@given(replicas=st.integers(1, 4), partitions=st.integers(1, 2), moves=st.integers(0, 60), data=st.data())
def test_what_is_outstanding_when_the_coordinator_dies_is_done_again_and_nothing_else(
    replicas: int, partitions: int, moves: int, data: st.DataObject
) -> None:
    """The state at any moment has every portion that is not reported by all partitions, exactly once."""
    fleet = Fleet(config(), (replicas, partitions))
    fleet.coordinator.start()
    for _ in range(moves):
        if who := fleet.waiting():
            fleet.work(*who[data.draw(st.integers(0, len(who) - 1))])
    state = fleet.coordinator.state().scheduler
    assert state == fleet.coordinator.state().scheduler
    handed = [assignment for _, assignment in fleet.sent if assignment["work"] == Work.TRAIN]
    waiting = [a for queue in fleet.queues.values() for a in queue]
    done = [portion_of(a) for a in handed if not any(a is other for other in waiting)]
    successor = PortionScheduler(fleet.plan, 2 * fleet.rows, None)
    successor.restore(state)
    assert successor.give_back_all() == sum(portion.examples for portion in state.outstanding)
    while (portion := successor.next(0)) is not None:
        done.append(portion)
    seen = Counter((portion.epoch, portion.part, portion.index) for portion in done)
    epochs = range(2)
    parts = [(e, p, i) for e in epochs for p in range(replicas) for i in range(fleet.plan.portions(e, p))]
    assert seen == Counter(parts)
    assert successor.examples == 2 * fleet.rows
