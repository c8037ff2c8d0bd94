"""Mirrors on the shards' communicator: a successor holds its neighbour's slice, and is mirrored with it."""

import time
from typing import Any

import numpy as np
import pytest

from dbmpi.checkpoint.vector_names import PARAMETER_VECTOR, rule_vector
from dbmpi.config.algorithms import Downpour
from dbmpi.layout.sharding import Owners, cut, of_shard
from dbmpi.server import rules, transfer
from dbmpi.server.mirror import Mirror
from dbmpi.server.shard import Shard

SETTINGS = Downpour(rule="adagrad")
NAMES = (PARAMETER_VECTOR, rule_vector("squares"))
EVERY_S = 0.02
LONG_S = 20.0
KEPT: list[Mirror] = []  # beyond the test: messages may still be on their way from and to their buffers


def shard_of(index: int, pieces: Any) -> Shard:
    """A shard whose elements say which they are, and which has had `index` updates that change nothing."""
    values = {piece: np.arange(piece.size) + 1e6 * piece.index for piece in of_shard(pieces, index)}
    made = Shard(index, values, rules.make(SETTINGS), SETTINGS)
    for piece, held in made.held.items():
        for _ in range(index + 1):
            made.push(piece, np.zeros_like(held.value), held.version, 0.1)
        held.states[0][...] = -held.value
    return made


def run_until(comm: Any, one: Mirror, shard: Shard, done: Any) -> None:
    """Serve mirrors until all of `comm` are done. Collective."""
    deadline, said = time.monotonic() + LONG_S, None
    while said is None or not said.Test():
        one.poll(time.monotonic(), lambda: shard.snapshot(None))
        if said is None and done():
            said = comm.Ibarrier()
        assert time.monotonic() < deadline
        time.sleep(1e-3)


def assert_holds(shard: Shard, piece: Any) -> None:
    """The shard has a piece as its first owner left it."""
    held = shard.held[piece.index]
    assert np.array_equal(held.value, np.arange(piece.size) + 1e6 * piece.index)
    assert np.array_equal(held.states[0], -held.value)
    assert held.version == piece.shard + 1


@pytest.mark.mpi(ranks=[3, 4])
@pytest.mark.parametrize("size", [100, 300_000])  # in one message each; in several, beyond any eager limit
def test_successors_adopt_what_was_mirrored(comm: Any, monkeypatch: Any, size: int) -> None:
    monkeypatch.setattr(transfer, "STRETCH_BYTES", 1 << 18)
    rank, shards = comm.rank, comm.size
    pieces = cut([size, size // 2], shards, size // 5)
    shard, owners = shard_of(rank, pieces), Owners(shards)
    one = Mirror(comm, rank, owners, pieces, NAMES, np.dtype("f8"), EVERY_S)
    KEPT.append(one)
    living = comm.Split(rank != shards - 1)
    run_until(comm, one, shard, lambda: one._receiving is not None and one._receiving.whole is not None)

    if rank != shards - 1:  # which is dead from here on: its successor is the first
        inherited = one.fail_over(shards - 1, time.monotonic())
        assert (inherited is not None) == (rank == 0)
        if inherited is not None:
            theirs, whole, _ = inherited
            assert whole is not None and theirs == of_shard(pieces, shards - 1)
            assert shard.adopt(theirs, whole.copy) == len(theirs) * shards
            for piece in theirs:
                assert_holds(shard, piece)
        run_until(living, one, shard, lambda: one._receiving is not None and one._receiving.whole is not None)

        inherited = one.fail_over(0, time.monotonic())  # and now the successor, which had adopted
        assert (inherited is not None) == (rank == 1)
        if inherited is not None:
            theirs, whole, _ = inherited
            assert whole is not None and {piece.shard for piece in theirs} == {0}
            shard.adopt(theirs, whole.copy)
            for piece in (piece for piece in pieces if piece.shard in (0, 1, shards - 1)):
                assert_holds(shard, piece)
    one.close()
    living.Free()
