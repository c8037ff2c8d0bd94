"""The optimizer's problem on a cluster: passes until one is whole, and where a run stands."""

from typing import Any

import numpy as np
import pytest

from dbmpi.comm.operations import Program
from dbmpi.config.algorithms import Sandblaster
from dbmpi.config.sections import Train
from dbmpi.coordinator.activity import Activity
from dbmpi.sandblaster.batch import cut_batch
from dbmpi.sandblaster.direction import Direction
from dbmpi.sandblaster.optimizer_state import Iterate, OptimizerState, RollbackPoint
from dbmpi.sandblaster.problem import BatchProblem, Interrupted
from dbmpi.sandblaster.rollback import ShardLost
from tests.doubles.fake_replicas import FakeReplicas

AT = Iterate(1.0, 2.0, 3.0, Direction([(-1.0, 3)], -1.0, 1.0))
STATE = OptimizerState(4.0, 5, 0.1, False, AT)


class FakeCluster:
    """Shards that answer zeros, and replicas whose passes are `broken` so many times before one is whole."""

    def __init__(self, mirrored: bool = False) -> None:
        self.fake = FakeReplicas(2)
        self.shards = self
        self.mirrors = self if mirrored else None
        self.operated: list[Any] = []
        self.broken = 0
        self.lost: int | None = None

    def operate(self, records: Any) -> Any:
        """See `cluster.Shards`."""
        self.operated.append(records)
        return np.zeros(2)

    def await_mirrors(self) -> None:
        """See `cluster.Mirrors`."""

    def take_lost(self) -> int | None:
        """See `cluster.Mirrors`."""
        lost, self.lost = self.lost, None
        return lost

    def drive(self, activity: Activity) -> None:
        """See `cluster.Cluster`."""
        activity.start()
        if self.broken:
            self.broken -= 1
            activity.shard_died()
        while not activity.finished:
            self.fake.turn(activity, lambda moves: 0)


def problem(cluster: Any, **settings: Any) -> BatchProblem:
    batch = cut_batch(Sandblaster(**settings), Train(minibatch=10), 100, 2, None)
    return BatchProblem(Sandblaster(**settings), batch, cluster, cluster.fake.shared)


def test_a_pass_that_a_death_breaks_is_made_again():
    cluster = FakeCluster()
    made, cluster.broken = problem(cluster, portions=4), 2
    assert made.state(made.point, False).pass_number == 0
    made.evaluate(Program())
    assert made.state(made.point, False).pass_number == 3 and len(cluster.operated) == 3


def test_a_run_that_is_to_end_interrupts_the_optimizer():
    cluster = FakeCluster()
    made = problem(cluster, portions=4)
    cluster.fake.stopping.check_limit("epochs")
    with pytest.raises(Interrupted):
        made.evaluate(Program())


def test_a_shard_that_dies_is_seen_by_whatever_asks_the_shards():
    cluster = FakeCluster(mirrored=True)
    made, cluster.lost = problem(cluster), 7
    with pytest.raises(ShardLost) as told:
        made.run(Program())
    assert told.value.number == 7


def test_without_mirrors_nothing_is_asked_of_them():
    made = problem(FakeCluster())
    assert made.rollback is None
    made.settle()
    made.check_shards()


def test_what_is_noted_is_where_the_run_stands():
    made = problem(FakeCluster(), sample=0.5)
    made.resample()
    made.note(STATE)
    assert made.point == RollbackPoint(STATE, made.method.state(), made.method.vectors(), 1)
    assert made.point_now == made.point
    again = problem(FakeCluster(), sample=0.5)
    again.restore(made.state(made.point_now, False))
    assert again.point == made.point


@pytest.mark.parametrize(("method", "lasts"), [("lbfgs", True), ("conjugate_gradient", False)])
def test_in_a_search_only_vectors_that_persist_can_be_gone_on_with(method, lasts):
    cluster = FakeCluster()
    made = problem(cluster, method=method, portions=4)
    made.note(STATE)
    made.evaluate(Program())
    stands = made.point_now
    assert (stands == made.point) is lasts
    if not lasts:
        assert stands == RollbackPoint(OptimizerState(4.0, 5, 0.1, False, None))


def test_another_history_begins_anew_from_the_parameters():
    made, again = problem(FakeCluster(), history=3), problem(FakeCluster(), history=4)
    made.note(STATE)
    again.restore(made.state(made.point, False))
    assert again.point == RollbackPoint()


def test_the_loss_of_another_sample_is_evaluated_again():
    made = problem(FakeCluster(), sample=0.5, portions=4)
    again = problem(FakeCluster(), sample=0.5, portions=2)
    made.note(STATE)
    again.restore(made.state(made.point, False))
    assert again.point.optimizer_state == OptimizerState(4.0, 5, 0.1, False, None)
