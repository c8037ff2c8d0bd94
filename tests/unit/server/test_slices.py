"""A shard's slices, of its own pieces and of adopted ones, are one slice to whoever operates on them."""

import numpy as np
import pytest

from dbmpi.checkpoint import vector_names
from dbmpi.comm.operations import GRADIENT, PARAMETERS, Program
from dbmpi.comm.protocol import Status
from dbmpi.config.algorithms import Downpour
from dbmpi.errors import ProtocolError
from dbmpi.layout.sharding import cut, of_shard
from dbmpi.server import rules
from dbmpi.server.shard import Shard
from dbmpi.server.slices import Slices

PIECES = cut([50, 30], 2, 16)
SETTINGS = Downpour(rule="sgd")
VECTORS = 7
PAIR = 5  # the first vector of a pair


def shard_of(index):
    """A shard whose every number is another one."""
    mine = of_shard(PIECES, index)
    size = sum(piece.size for piece in mine)
    matrix = np.arange(VECTORS * size, dtype=float).reshape(VECTORS, size) + 1000 * index
    slices = Slices(matrix, mine)
    held = {piece: slices.parameters(piece.index) for piece in mine}
    return Shard(index, held, rules.make(SETTINGS), SETTINGS, slices)


def test_operations_reach_the_adopted_pieces_too():
    successor, dead = shard_of(0), shard_of(1)
    rows = [PARAMETERS, PAIR]
    apart = [sum(np.sum(shard.part(a, p) * shard.part(b, p)) for shard in (successor, dead)
                 for p in shard.held)
             for a, b in ((PARAMETERS, PAIR), (PAIR, PAIR))]  # fmt: skip
    successor.adopt(of_shard(PIECES, 1), dead.snapshot(rows))
    program = Program().dots([(PARAMETERS, PAIR), (PAIR, PAIR)]).scale(PARAMETERS, 2.0)
    assert successor.operate(program.records) == pytest.approx(apart, rel=1e-12)
    for piece, held in dead.held.items():
        assert np.array_equal(successor.held[piece].value, 2 * held.value)
        assert np.array_equal(successor.part(PAIR, piece), dead.part(PAIR, piece))
    assert list(successor.held) == sorted(successor.held)


def test_what_is_adopted_is_copied_in_the_order_of_the_pieces():
    successor, dead, whole = shard_of(1), shard_of(0), []
    successor.adopt(of_shard(PIECES, 0), dead.snapshot([PAIR]))
    whole = [(dead if piece.shard == 0 else shard_of(1)).part(PAIR, piece.index) for piece in PIECES]
    assert np.array_equal(
        successor.snapshot([PAIR])[vector_names.numbered_vector(PAIR)], np.concatenate(whole)
    )


def test_an_adoption_ends_the_evaluation_under_way():
    successor, dead = shard_of(0), shard_of(1)
    successor.operate(Program().open(3).records)
    ones = {piece.index: np.ones(piece.size) for piece in PIECES}
    assert successor.accrue(0, ones[0], 3) is Status.OK
    successor.adopt(of_shard(PIECES, 1), dead.snapshot([]))
    mine, adopted = 0, PIECES[-1].index
    assert {successor.accrue(piece, ones[piece], 3) for piece in (mine, adopted)} == {Status.STALE}
    successor.operate(Program().open(4).records)
    assert {successor.accrue(piece, ones[piece], 4) for piece in (mine, adopted)} == {Status.OK}
    assert all((successor.part(GRADIENT, piece) == 1).all() for piece in (mine, adopted))


def test_a_shard_goes_back_to_the_last_two_parameters_that_it_kept():
    successor, dead, first = shard_of(0), shard_of(1), shard_of(0)
    for number in (1, 2, 3):
        successor.keep(number, successor.snapshot([])[vector_names.PARAMETER_VECTOR])
        successor.operate(Program().scale(PARAMETERS, 2.0).records)
    mirrored = dead.snapshot([])
    kept = {number: number * mirrored[vector_names.PARAMETER_VECTOR] for number in (1, 2, 3)}
    successor.adopt(of_shard(PIECES, 1), mirrored, kept)
    for number in (3, 2):
        successor.back(number)
        for piece, held in first.held.items():
            assert np.array_equal(successor.held[piece].value, 2 ** (number - 1) * held.value)
        assert all(
            np.array_equal(successor.held[piece].value, number * held.value)
            for piece, held in dead.held.items()
        )
    for number in (1, 3):  # too old, and after the one that it has gone back to
        with pytest.raises(ProtocolError, match=rf"has kept the iterates \[2\], not {number}"):
            successor.back(number)


def test_the_state_of_a_warmstart_s_rule_is_not_missed():
    settings = Downpour(rule="adagrad")
    made = [Shard(i, {p: np.zeros(p.size) for p in of_shard(PIECES, i)}, rules.make(settings), settings)
            for i in (0, 1)]  # fmt: skip
    copy = made[1].snapshot(None)
    del copy[vector_names.rule_vector("squares")]
    made[0].adopt(of_shard(PIECES, 1), copy)
    assert all((held.states[0] == 0).all() for held in made[0].held.values())
