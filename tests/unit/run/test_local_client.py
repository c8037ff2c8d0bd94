"""The client of a shard in the same process, and a client of no shard at all."""

import numpy as np
import pytest

from dbmpi.comm.protocol import Op
from dbmpi.comm.wait import Waiter
from dbmpi.config.algorithms import Downpour
from dbmpi.layout.sharding import Piece
from dbmpi.replica.client import Outcome, Request
from dbmpi.replica.mpi_client import MpiClient
from dbmpi.run.roles.serial import LocalClient
from dbmpi.server.averaging import averaged
from dbmpi.server.rules import make
from dbmpi.server.shard import Shard

PIECES = [Piece(0, 0, 0, 0, 3), Piece(1, 0, 0, 3, 8)]


def pair(shared: bool, **keys: float) -> tuple[Shard, LocalClient, np.ndarray]:
    values = np.arange(8.0)
    config = Downpour(rule="sgd", **keys)
    held = {piece: values[piece.start : piece.stop] for piece in PIECES}
    shard = Shard(0, held, make(config), config)
    return shard, LocalClient(shard, PIECES, values, shared), values


def exchange(client: LocalClient, op: Op, gradient: float = 1.0, version: int = 0) -> Outcome:
    client.begin(Request(op, np.full(8, gradient), np.full(2, version), 0.5, 1))
    assert client.busy
    outcome = client.poll()
    assert not client.busy and outcome is not None
    return outcome


@pytest.mark.parametrize("shared", [True, False])
def test_fetch_brings_values_and_versions(shared):
    _, client, values = pair(shared)
    outcome = exchange(client, Op.FETCH)
    assert outcome.versions.tolist() == [0, 0] and outcome.refused == 0
    assert np.array_equal(client.incoming, values) and (client.incoming is values) == shared == client.shared


@pytest.mark.parametrize("shared", [True, False])
def test_push_and_fetch_brings_what_the_push_made(shared):
    _, client, values = pair(shared)
    outcome = exchange(client, Op.FETCH | Op.PUSH)
    assert outcome.versions.tolist() == [1, 1]
    assert client.incoming.tolist() == values.tolist() == (np.arange(8.0) - 0.5).tolist()


@pytest.mark.parametrize("shared", [True, False])
def test_an_average_arrives_where_it_is_wanted(shared):
    values, config, room = np.arange(8.0), Downpour(rule="sgd"), np.zeros(8)
    held = {piece: values[piece.start : piece.stop] for piece in PIECES}
    shard = Shard(0, held, averaged(make(config), 0.5), config)
    client = LocalClient(shard, PIECES, values, shared)
    exchange(client, Op.FETCH | Op.PUSH)
    usual = client.incoming
    client.adopt(room)
    exchange(client, Op.FETCH | Op.AVERAGE)
    client.adopt(usual)
    assert room.tolist() == [*shard.evaluated(0), *shard.evaluated(1)] != values.tolist()
    np.testing.assert_allclose(room, np.arange(8.0) - 0.5 * 9 / 11)
    assert client.incoming.tolist() == values.tolist() == (np.arange(8.0) - 0.5).tolist()


def test_push_alone_brings_nothing():
    _, client, values = pair(shared=False)
    exchange(client, Op.FETCH)
    assert exchange(client, Op.PUSH) == Outcome(None, 0, behind=[1, 1])
    assert client.incoming.tolist() == list(range(8)) != values.tolist()


def test_refused_pieces_are_counted_each():
    shard, client, _ = pair(shared=False)
    gradient = np.ones(8)
    gradient[7] = np.nan
    client.begin(Request(Op.PUSH, gradient, np.zeros(2, np.int64), 0.5, 1))
    assert client.wait() == Outcome(None, 1, behind=[1])
    assert [held.version for held in shard.held.values()] == [1, 0]
    assert exchange(client, Op.PUSH, np.inf).refused == 2


def test_versions_of_each_piece_are_its_own():
    _, client, _ = pair(shared=False, max_staleness=1)
    for _ in range(3):
        exchange(client, Op.PUSH, version=3)
    client.begin(Request(Op.PUSH | Op.FETCH, np.ones(8), np.array([3, 0]), 0.5, 1))
    outcome = client.wait()
    assert (outcome.versions.tolist(), outcome.refused) == ([4, 3], 1)


def test_the_next_fetch_arrives_in_the_spare():
    _, client, values = pair(shared=False)
    buffer = np.zeros(8)
    client.adopt(buffer)
    exchange(client, Op.FETCH)
    assert client.incoming is buffer and np.array_equal(buffer, values)


def test_a_partition_without_parameters_asks_nobody():
    client = MpiClient(None, [], [], np.empty(0), "float32", Waiter(1.0))
    client.begin(Request(Op.FETCH | Op.PUSH, np.empty(0), np.zeros(0, np.int64), 0.5, 1))
    assert not client.busy and client.poll() is None
    outcome = client.wait()
    assert outcome.versions.shape == (0,) and outcome.refused == 0


def test_nothing_in_flight():
    _, client, _ = pair(shared=False)
    client.progress()
    assert not client.busy and client.poll() is None
