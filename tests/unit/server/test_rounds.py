"""Rounds without MPI: who waits for what, what is late, and the mean."""

import numpy as np
import pytest

from dbmpi.comm.protocol import REQUEST_HEADER, Op
from dbmpi.server import rounds as module
from dbmpi.server.rounds import GradientsInPlace, Rounds, RunningSum, Waiting

RANKS = ((3, 4), (5, 6), (7, 8))  # of three replicas of two partitions


def request(source: int, number: int, weight: float = 1.0) -> Waiting:
    header = np.zeros((), REQUEST_HEADER)
    header["op"], header["round"], header["weight"] = Op.PUSH | Op.FETCH, number, weight
    return Waiting(header, source, None, None)


def make(backups: int = 0, begun: int = 0) -> Rounds:
    return Rounds(RANKS, backups, lambda piece: begun)


def sources(taken: list[Waiting] | None) -> list[int] | None:
    return None if taken is None else [one.source for one in taken]


def test_a_round_waits_for_all_and_is_served_in_the_order_of_the_replicas():
    rounds = make()
    for source in (7, 3):
        assert rounds.join(0, request(source, 0)) and rounds.take(0) is None
    assert rounds.join(1, request(5, 0)) and rounds.take(0) is None  # of another piece
    assert rounds.join(0, request(5, 0))
    assert sources(rounds.take(0)) == [3, 5, 7] and rounds.take(0) is None
    assert rounds.round(0) == 1


def test_a_round_does_without_backups_and_what_comes_then_is_late():
    rounds = make(backups=1)
    assert rounds.join(0, request(7, 0)) and rounds.join(0, request(5, 0))
    assert sources(rounds.take(0)) == [5, 7]
    assert not rounds.join(0, request(3, 0))
    assert rounds.join(0, request(3, 1))


def test_those_who_bring_nothing_do_not_end_a_round():
    rounds = make(backups=1)
    assert rounds.join(0, request(3, 0, 0.0)) and rounds.join(0, request(5, 0, 0.0))
    assert rounds.take(0) is None
    assert rounds.join(0, request(7, 0))
    assert sources(rounds.take(0)) == [3, 5, 7]


def test_a_replica_that_leaves_rounds_out_waits_for_the_others():
    rounds = make(backups=1)
    assert rounds.join(0, request(3, 2)) and rounds.join(0, request(5, 0)) and rounds.take(0) is None
    assert rounds.join(0, request(7, 0))
    assert sources(rounds.take(0)) == [5, 7]
    assert rounds.join(0, request(5, 1)) and rounds.join(0, request(7, 1))
    assert sources(rounds.take(0)) == [5, 7] and rounds.take(0) is None


def test_the_dead_leave_and_their_others_are_answered():
    rounds = make()
    for source in (3, 4, 5, 7):
        assert rounds.join(source % 2, request(source, 0))
    assert [(piece, one.source) for piece, one in rounds.leave([4])] == [(1, 3)]
    assert sources(rounds.take(1)) == [5, 7]
    assert not rounds.join(1, request(3, 0))
    assert rounds.leave([4, 3]) == []
    rounds.leave([5, 7])
    assert rounds.take(0) is None


def test_after_a_failover_the_first_round_that_one_waits_for_is_next():
    """One replica had the answer of the dead shard, the others had not: their gradients make the step."""
    rounds = make(begun=4)
    for source, number in ((3, 10), (5, 9), (7, 9)):
        assert rounds.join(0, request(source, number))
    assert sources(rounds.take(0)) == [5, 7] and rounds.take(0) is None
    assert rounds.round(0) == 10


@pytest.mark.parametrize("weights", [[1.0], [0.3], [1.0, 1.0], [1.0, 0.4, 1.0]])
def test_both_means_have_the_same_bits(weights, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 100)
    gradients = np.random.default_rng(1).normal(size=(len(weights), 250)).astype("f4")
    in_place, running = GradientsInPlace(np.empty(100, "f4")), RunningSum(np.empty(250, "f4"))
    for gradient, weight in zip(gradients, weights, strict=True):
        in_place.add(gradient, weight)
        running.add(gradient, weight)
    means = []
    for total in (in_place, running):
        mean = total.mean()
        assert mean is not None
        means.append(np.concatenate([mean.part(n, min(n + 100, 250)).copy() for n in (0, 100, 200)]))
    assert np.array_equal(*means)
    np.testing.assert_allclose(means[0], np.average(gradients, axis=0, weights=weights), rtol=1e-5, atol=1e-6)
