"""The coordinator of rounds: turns that all replicas take, whatever the order in which they come."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.comm.assignments import portion_of
from dbmpi.comm.protocol import Work
from dbmpi.config.sections import Evaluation, Train
from dbmpi.coordinator.sync import SyncActivity
from tests.unit.coordinator.test_deaths import MortalFleet
from tests.unit.coordinator.test_downpour import TEST_ROWS, Fleet, config


class SyncFleet(Fleet):
    activity = SyncActivity


class MortalSyncFleet(MortalFleet):
    activity = SyncActivity


class LateFleet(SyncFleet):
    """Replica 1 has no round for some of its minibatches."""

    draw = random.Random(3)

    def learned(self, replica, minibatches):
        return self.draw.randint(0, minibatches) if replica == 1 else minibatches


def turns(fleet, replica):
    """The first round of each turn of a replica, how many it has, and the minibatches of its portion."""
    orders = [a for who, a in fleet.sent if who == replica and a["work"] == Work.TRAIN]
    return [(int(a["round"]), int(a["rounds"]), int(a["minibatches"])) for a in orders]


@settings(max_examples=40)
@given(
    replicas=st.integers(1, 4),
    rows=st.integers(1, 150),
    epochs=st.sampled_from([0.4, 1.0, 2.0]),
    steps=st.none() | st.integers(1, 40),
    every=st.sampled_from([0.0, 0.3]),
    seeds=st.tuples(st.integers(0, 1 << 30), st.integers(0, 1 << 30)),
)
def test_all_replicas_take_the_same_turns_with_the_same_portions_in_any_order(
    replicas, rows, epochs, steps, every, seeds
):
    train = Train(minibatch=10, epochs=epochs, steps=steps, portion=2)
    seen = []
    for seed in seeds:
        fleet = SyncFleet(config(train, evaluation=Evaluation(every_epochs=every)), (replicas, 1), rows)
        draw = random.Random(seed)
        fleet.run(draw.randrange)
        assert fleet.log.examples == fleet.scheduler.examples
        assert fleet.log.final_evaluation.rows == TEST_ROWS
        seen.append([turns(fleet, replica) for replica in range(replicas)])
    assert seen[0] == seen[1]
    rounds = [[turn[:2] for turn in of] for of in seen[0]]
    assert all(of == rounds[0] for of in rounds)
    ends = [first + length for first, length in rounds[0]]
    assert [first for first, _ in rounds[0]] == [0, *ends[:-1]]
    assert all(minibatches <= length for of in seen[0] for _, length, minibatches in of)


def test_the_last_minibatches_are_shared_equally():
    fleet = SyncFleet(config(Train(minibatch=10, steps=17, epochs=None, portion=8)), (2, 1))
    fleet.run(lambda n: 0)
    assert turns(fleet, 0) == [(0, 8, 8), (8, 1, 1)] and turns(fleet, 1) == [(0, 8, 8), (8, 1, 0)]


def test_evaluations_are_made_while_all_stand_still():
    fleet = SyncFleet(
        config(Train(minibatch=10, epochs=2.0, portion=2), evaluation=Evaluation(every_epochs=0.5))
    )
    fleet.run(lambda n: n - 1)
    kinds = [Work(int(a["work"])) for _, a in fleet.sent]
    assert kinds.count(Work.EVALUATE) >= 4 * fleet.shape[0]
    for i, kind in enumerate(kinds[1:], 1):
        assert kind is not Work.EVALUATE or kinds[i - 1] in (Work.FLUSH, Work.EVALUATE)


@settings(max_examples=50)
@given(
    shape=st.tuples(st.integers(2, 4), st.integers(1, 2)),
    rows=st.integers(1, 150),
    seed=st.integers(0, 1 << 30),
)
def test_every_portion_counts_once_although_replicas_die(shape, rows, seed):
    fleet = MortalSyncFleet(config(Train(minibatch=10, epochs=2.0, portion=2)), shape, rows)
    fleet.run_with_deaths(3, random.Random(seed))
    assert set(
        Counter((p.epoch, p.part, p.index, p.first) for p in fleet.counted if p.minibatches).values()
    ) == {1}
    assert fleet.log.examples == fleet.scheduler.examples == 2 * rows


@pytest.mark.parametrize("rows", [60, 185])
def test_what_a_replica_had_no_round_for_is_handed_out_again(rows):
    fleet = LateFleet(config(Train(minibatch=10, epochs=3.0, portion=4)), (3, 1), rows)
    fleet.run(lambda n: 0)
    assert fleet.log.examples == fleet.scheduler.examples == 3 * rows
    firsts = [portion_of(a).first for _, a in fleet.sent if a["work"] == Work.TRAIN]
    assert any(firsts)
