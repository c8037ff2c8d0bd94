"""The link to a shard in the same process, and a link to no shard at all."""

import numpy as np
import pytest

from dbmpi.comm.protocol import Op
from dbmpi.comm.wait import Waiter
from dbmpi.config.algorithms import Downpour
from dbmpi.layout.sharding import Piece
from dbmpi.replica.client import Outcome
from dbmpi.replica.mpi_client import MpiClient
from dbmpi.run.serial import LocalClient
from dbmpi.server.rules import make
from dbmpi.server.shard import Shard

PIECES = [Piece(0, 0, 0, 0, 3), Piece(1, 0, 0, 3, 8)]


def pair(shared: bool, **keys: float) -> tuple[Shard, LocalClient, np.ndarray]:
    values = np.arange(8.0)
    config = Downpour(rule="sgd", **keys)
    held = {piece: values[piece.start : piece.stop] for piece in PIECES}
    shard = Shard(0, held, make(config), config)
    return shard, LocalClient(shard, PIECES, values, shared), values


def exchange(link: LocalClient, op: Op, gradient: float = 1.0, version: int = 0) -> Outcome:
    link.begin(op, np.full(8, gradient), np.full(2, version), 0.5, 1)
    assert link.busy
    outcome = link.poll()
    assert not link.busy and outcome is not None
    return outcome


@pytest.mark.parametrize("shared", [True, False])
def test_fetch_brings_values_and_versions(shared):
    _, link, values = pair(shared)
    outcome = exchange(link, Op.FETCH)
    assert outcome.versions.tolist() == [0, 0] and outcome.refused == 0
    assert np.array_equal(link.incoming, values) and (link.incoming is values) == shared == link.shared


@pytest.mark.parametrize("shared", [True, False])
def test_push_and_fetch_brings_what_the_push_made(shared):
    _, link, values = pair(shared)
    outcome = exchange(link, Op.FETCH | Op.PUSH)
    assert outcome.versions.tolist() == [1, 1]
    assert link.incoming.tolist() == values.tolist() == (np.arange(8.0) - 0.5).tolist()


def test_push_alone_brings_nothing():
    _, link, values = pair(shared=False)
    exchange(link, Op.FETCH)
    assert exchange(link, Op.PUSH) == Outcome(None, 0)
    assert link.incoming.tolist() == list(range(8)) != values.tolist()


def test_refused_pieces_are_counted_each():
    shard, link, _ = pair(shared=False)
    gradient = np.ones(8)
    gradient[7] = np.nan
    link.begin(Op.PUSH, gradient, np.zeros(2, np.int64), 0.5, 1)
    assert link.wait() == Outcome(None, 1)
    assert [held.version for held in shard.held.values()] == [1, 0]
    assert exchange(link, Op.PUSH, np.inf).refused == 2


def test_versions_of_each_piece_are_its_own():
    _, link, _ = pair(shared=False, max_staleness=1)
    for _ in range(3):
        exchange(link, Op.PUSH, version=3)
    link.begin(Op.PUSH | Op.FETCH, np.ones(8), np.array([3, 0]), 0.5, 1)
    outcome = link.wait()
    assert (outcome.versions.tolist(), outcome.refused) == ([4, 3], 1)


def test_the_next_fetch_arrives_in_the_spare():
    _, link, values = pair(shared=False)
    wait_as_spare = np.zeros(8)
    link.adopt(wait_as_spare)
    exchange(link, Op.FETCH)
    assert link.incoming is wait_as_spare and np.array_equal(wait_as_spare, values)


def test_a_partition_without_parameters_asks_nobody():
    link = MpiClient(None, [], [], np.empty(0), "float32", Waiter(1.0))
    link.begin(Op.FETCH | Op.PUSH, np.empty(0), np.zeros(0, np.int64), 0.5, 1)
    assert not link.busy and link.poll() is None
    outcome = link.wait()
    assert outcome.versions.shape == (0,) and outcome.refused == 0


def test_nothing_in_flight():
    _, link, _ = pair(shared=False)
    link.progress()
    assert not link.busy and link.poll() is None
