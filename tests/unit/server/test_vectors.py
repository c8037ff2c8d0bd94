"""A shard's vectors: every operation in one slice and in several, random programs, evaluations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.comm.operations import (
    BASE,
    BASE_GRADIENT,
    DIRECTION,
    GRADIENT,
    PARAMETERS,
    Kind,
    Program,
    change,
    count,
    step,
)
from dbmpi.comm.protocol import OPERATION
from dbmpi.errors import ProtocolError
from dbmpi.server.vectors import Vectors

N, HISTORY = 1003, 3
V = count(HISTORY)


class Plain:
    """What programs mean, in NumPy: one whole vector each, operation by operation."""

    def __init__(self, values):
        self.values, self.pass_number = values.copy(), 0

    def run(self, program):
        answer, sums = [], {}
        for kind, group, out, left, right, factor, number in program.records.tolist():
            v = self.values
            if kind == Kind.COMBINE:
                before, total = sums.get(group, (v.copy(), 0))
                sums[group] = before, total + factor * before[left]
                v[out] = sums[group][1]
            elif kind == Kind.MULTIPLY:
                v[out] = v[left] * v[right]
            elif kind == Kind.DOT:
                answer.append(v[left].astype(float) @ v[right].astype(float))
            elif kind == Kind.COMMIT:
                v[left], v[right] = v[PARAMETERS] - v[BASE], v[GRADIENT] - v[BASE_GRADIENT]
                v[BASE], v[BASE_GRADIENT] = v[PARAMETERS], v[GRADIENT]
            else:
                v[GRADIENT], self.pass_number = 0, number
        return answer

    def accrue(self, evaluation, start, stop, gradient):
        if evaluation == self.pass_number:
            self.values[GRADIENT, start:stop] += gradient


class Sliced:
    """The same over several shards, each of which has its slice in two ranges."""

    def __init__(self, values, shards):
        bounds = np.linspace(0, values.shape[1], shards + 1).astype(int)
        self.slices = [(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]
        self.matrices = [values[:, a:b].copy() for a, b in self.slices]
        self.ranges = [[(0, (b - a) // 3), ((b - a) // 3, int(b - a))] for a, b in self.slices]
        self.shards = [Vectors(m, r) for m, r in zip(self.matrices, self.ranges, strict=True)]

    def run(self, program):
        return sum(shard.run(program.records) for shard in self.shards)

    def whole_ranges(self):
        """Return (shard, start, stop, where it starts in the whole vector)."""
        return [
            (shard, start, stop, origin + start)
            for shard, (origin, _), ranges in zip(self.shards, self.slices, self.ranges, strict=True)
            for start, stop in ranges
        ]

    @property
    def values(self):
        for shard in self.shards:
            shard.settle()
        return np.concatenate(self.matrices, axis=1)


def _values(dtype=np.float64, n=N, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (V, n)).astype(dtype)


PROGRAMS = {
    "combine": Program().combine(DIRECTION, [(0.3, BASE), (-2.0, step(1)), (1.5, change(2))]),
    "combine into a term": Program().combine(BASE, [(0.3, BASE), (-2.0, GRADIENT), (1.0, BASE)]),
    "many terms": Program().combine(DIRECTION, [(0.1 * n, n % V) for n in range(21)]),
    "combine twice": Program().copy(BASE, DIRECTION).add(DIRECTION, BASE, GRADIENT).scale(BASE, -0.5),
    "multiply": Program().multiply(DIRECTION, GRADIENT, step(0)).multiply(BASE, BASE, DIRECTION),
    "dots": Program().dots([(left, right) for left in (GRADIENT, BASE, step(0)) for right in range(V)]),
    "dots between": Program().dots([(0, 1)]).scale(PARAMETERS, 2.0).dots([(0, 1), (0, 0)]),
    "commit": Program().commit(2).dots([(step(2), change(2)), (BASE, BASE_GRADIENT)]),
    "open": Program().dots([(GRADIENT, GRADIENT)]).open(1).dots([(GRADIENT, GRADIENT)]),
    "nothing": Program(),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_operation_does_to_slices_what_it_does_to_the_whole(name, shards, dtype):
    plain, sliced = Plain(_values(dtype)), Sliced(_values(dtype), shards)
    for _ in range(2):
        right, mine = plain.run(PROGRAMS[name]), sliced.run(PROGRAMS[name])
        assert mine.dtype == np.float64 and mine.shape == (PROGRAMS[name].scalars,)
        tolerance = {"rtol": 1e-4, "atol": 1e-3} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-11}
        np.testing.assert_allclose(mine, right, **tolerance)
        rounding = 1e-6 if dtype == np.float32 else 1e-14
        np.testing.assert_allclose(sliced.values, plain.values, rtol=4 * rounding, atol=4 * rounding)


vectors = st.integers(0, V - 1)
factors = st.floats(-0.5, 0.5)
actions = st.one_of(
    st.tuples(st.just("combine"), vectors, st.lists(st.tuples(factors, vectors), min_size=1, max_size=4)),
    st.tuples(st.just("multiply"), vectors, vectors, vectors),
    st.tuples(st.just("dots"), st.lists(st.tuples(vectors, vectors), max_size=9)),
    st.tuples(st.just("commit"), st.integers(0, HISTORY - 1)),
    st.tuples(st.just("open"), st.integers(1, 3)),
)
# A session: programs, and between them gradients, each as (evaluation, number of the range, seed).
gradients = st.tuples(st.integers(0, 3), st.integers(0, 99), st.integers(0, 9))
sessions = st.lists(st.tuples(st.lists(actions, max_size=5), st.lists(gradients, max_size=6)), max_size=3)


@settings(max_examples=150)
@given(sessions, st.sampled_from([1, 2, 5]), st.integers(0, 40))
def test_random_programs_mean_what_plain_numpy_says(session, shards, n):
    plain, sliced = Plain(_values(n=n)), Sliced(_values(n=n), shards)
    for made, pushes in session:
        program = Program()
        for name, *arguments in made:
            getattr(program, name)(*arguments)
        np.testing.assert_allclose(sliced.run(program), plain.run(program), rtol=1e-9, atol=1e-9)
        for evaluation, place, seed in pushes:
            shard, start, stop, origin = sliced.whole_ranges()[place % (2 * shards)]
            gradient = np.random.default_rng(seed).uniform(-1, 1, stop - start)
            taken = shard.accrue(evaluation, start, stop, gradient)
            assert taken == (evaluation == plain.pass_number != 0)
            plain.accrue(evaluation if taken else -1, origin, origin + stop - start, gradient)
    np.testing.assert_allclose(sliced.values, plain.values, rtol=1e-9, atol=1e-9)


def _shard(dtype=np.float32):
    matrix = _values(dtype, 10)
    return matrix, Vectors(matrix, [(4, 10), (0, 4)])


def test_gradients_add_up_in_the_open_evaluation_alone():
    matrix, shard = _shard()
    before = matrix.copy()
    assert shard.pass_number == 0
    assert not shard.accrue(0, 0, 4, np.ones(4, np.float32))  # before the first OPEN none is open
    assert not shard.accrue(1, 0, 4, np.ones(4, np.float32))
    np.testing.assert_array_equal(matrix, before)
    shard.run(Program().combine(PARAMETERS, [(1.0, BASE), (0.5, DIRECTION)]).open(7).records)
    assert shard.pass_number == 7
    assert shard.accrue(7, 0, 4, np.full(4, 2, np.float32))
    assert shard.accrue(7, 0, 4, np.full(4, 3, np.float32))
    assert not shard.accrue(6, 0, 4, np.full(4, np.nan, np.float32))
    assert not shard.accrue(8, 4, 10, np.full(6, np.nan, np.float32))
    assert shard.run(Program().dots([(GRADIENT, GRADIENT)]).records) == [100]
    np.testing.assert_array_equal(matrix[GRADIENT], [5] * 4 + [0] * 6)  # no push came for the second range
    assert shard.accrue(7, 4, 10, np.ones(6, np.float32))
    assert shard.run(Program().dots([(GRADIENT, GRADIENT)]).records) == [106]


def test_open_discards_what_was_accrued():
    matrix, shard = _shard()
    shard.run(Program().open(1).records)
    shard.accrue(1, 0, 4, np.ones(4, np.float32))
    shard.run(Program().open(2).records)
    assert not shard.accrue(1, 0, 4, np.ones(4, np.float32))
    assert shard.run(Program().dots([(GRADIENT, GRADIENT)]).records) == [0]
    shard.run(Program().open(3).records)
    shard.accrue(3, 4, 10, np.ones(6, np.float32))
    shard.settle()
    np.testing.assert_array_equal(matrix[GRADIENT], [0] * 4 + [1] * 6)


def test_what_was_not_finite_is_gone_after_open():
    matrix, shard = _shard()
    matrix[GRADIENT] = np.nan
    shard.run(Program().open(1).records)
    shard.accrue(1, 4, 10, np.ones(6, np.float32))
    assert shard.run(Program().dots([(GRADIENT, GRADIENT)]).records) == [6]


def test_open_and_what_leaves_the_gradient_alone_write_none_of_it():
    matrix, shard = _shard()
    before = matrix[GRADIENT].copy()
    moving = Program().open(1).combine(PARAMETERS, [(1.0, BASE)]).dots([(PARAMETERS, BASE)])
    shard.run(moving.records)
    np.testing.assert_array_equal(matrix[GRADIENT], before)  # it counts as zero all the same
    assert shard.run(Program().dots([(GRADIENT, BASE)]).records) == [0]


def test_a_written_gradient_is_added_to():
    matrix, shard = _shard()
    shard.run(Program().open(1).copy(GRADIENT, BASE).records)
    shard.accrue(1, 0, 4, np.ones(4, np.float32))
    right = matrix[BASE] + np.array([1] * 4 + [0] * 6, np.float32)
    np.testing.assert_array_equal(matrix[GRADIENT], right)


@pytest.mark.parametrize("other", [np.float32, np.float64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_of_another_dtype_are_added_in_that_of_the_vectors(dtype, other):
    matrix, shard = _shard(dtype)
    shard.run(Program().open(1).records)
    for value in (1.0, 2.0**-30):
        shard.accrue(1, 0, 4, np.full(4, value, other))
    assert matrix.dtype == dtype
    assert np.all(matrix[GRADIENT, :4] == (1 if dtype == np.float32 else 1 + 2.0**-30))


def test_the_parameters_are_seen_by_who_shares_the_matrix():
    matrix, shard = _shard()
    view = matrix[PARAMETERS, 4:10]
    shard.run(Program().copy(PARAMETERS, BASE).records)
    np.testing.assert_array_equal(view, matrix[BASE, 4:10])


def _record(**fields):
    record = np.zeros(1, OPERATION)
    for name, value in fields.items():
        record[name] = value
    return record


BAD = [
    {"kind": 5},
    {"kind": -1},
    {"kind": Kind.COMBINE, "out": V},
    {"kind": Kind.COMBINE, "left": -1},
    {"kind": Kind.MULTIPLY, "right": V},
    {"kind": Kind.MULTIPLY, "out": -2},
    {"kind": Kind.DOT, "left": V},
    {"kind": Kind.DOT, "right": 2**31 - 1},
    {"kind": Kind.COMMIT, "left": V},
    {"kind": Kind.COMMIT, "left": -1},
    {"kind": Kind.COMMIT, "right": 2**31 - 1},
]


@pytest.mark.parametrize("fields", BAD, ids=str)
def test_what_is_no_operation_is_refused_before_anything_is_done(fields):
    matrix, shard = _shard()
    before = matrix.copy()
    good = Program().scale(BASE, 2.0).open(3).records
    with pytest.raises(ProtocolError):
        shard.run(np.concatenate([good, _record(**fields)]))
    np.testing.assert_array_equal(matrix, before)
    assert shard.pass_number == 0


def test_a_combination_with_two_results_is_refused():
    _, shard = _shard()
    with pytest.raises(ProtocolError, match="several"):
        shard.run(np.concatenate([_record(kind=Kind.COMBINE, group=1, out=out) for out in (2, 3)]))


@pytest.mark.parametrize("place, size", [((0, 5), 5), ((4, 9), 5), ((0, 4), 1), ((0, 4), 5)])
def test_gradients_for_other_ranges_are_refused(place, size):
    _, shard = _shard()
    shard.run(Program().open(1).records)
    with pytest.raises(ProtocolError):
        shard.accrue(1, *place, np.ones(size, np.float32))


@pytest.mark.parametrize("ranges", [[], [(0, 9)], [(1, 10)], [(0, 4), (5, 10)], [(0, 5), (4, 10)]])
def test_ranges_must_tile_the_slice(ranges):
    with pytest.raises(ValueError, match="tile"):
        Vectors(_values(np.float32, 10), ranges)


def test_the_matrix_must_be_contiguous():
    with pytest.raises(ValueError, match="contiguous"):
        Vectors(_values(np.float32, 10)[:, ::2], [(0, 5)])


def test_a_shard_beyond_the_last_parameter_answers_zeros():
    shard = Vectors(np.zeros((V, 0), np.float32), [])
    program = Program().open(1).scale(BASE, 2.0).multiply(BASE, BASE, BASE).commit(0).dots([(0, 1), (1, 1)])
    np.testing.assert_array_equal(shard.run(program.records), [0, 0])
