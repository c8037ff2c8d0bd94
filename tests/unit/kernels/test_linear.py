"""Operations on the rows of a matrix against their NumPy twins, exact sums, and themselves in parallel."""

import platform
from math import fsum

import numba
import numpy as np
import pytest

from kernels import jit
from kernels.parameters import linear
from kernels.reference import parameters as reference

DTYPES = [np.float32, np.float64]
SIZES = [0, 1, 7, 1003, 33_001]  # the last: two whole blocks and a bit
HUBS = [2, 0, 5]
PAIRS = {
    "none": [],
    "one": [(3, 1)],
    "a square": [(4, 4)],
    "history": [(hub, row) for hub in HUBS for row in range(1, 22)],
    "more than a tile": [(hub, row) for hub in [*HUBS, 7] for row in range(23)],
    "apart": [(n, n + 11) for n in range(11)],
    "mirrored and repeated": [*((1, n) for n in range(15)), *((n, 1) for n in range(15)), (1, 2)],
    "all": [(left, right) for left in range(23) for right in range(left, 23)],
}


def _matrix(dtype, n, rows=23, seed=0):
    """Return a matrix that ends where its memory does not: 99 elements of 7 follow."""
    memory = np.full(rows * n + 99, 7, dtype)
    v_VN = memory[: rows * n].reshape(rows, n)
    v_VN[:] = np.random.default_rng(seed).normal(size=(rows, n))
    return v_VN, memory[rows * n :]


def _columns(pairs):
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T.copy()
    return left, right


def _terms(count, rows=23, seed=1):
    random = np.random.default_rng(seed)
    return random.integers(0, rows, count), random.normal(size=count)


def _assert_equal(mine, right, dtype):
    np.testing.assert_allclose(mine, right, rtol=1e-6 if dtype == np.float32 else 1e-13, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("terms", [0, 1, 2, 5, 12, 13, 21, 30])
def test_a_combination_equals_its_twin(terms, n, dtype):
    rows, factors = _terms(terms)
    for out in (rows[0] if terms else 3, 22):  # the last row ends at the end of memory
        (mine, beyond), (right, _) = _matrix(dtype, n), _matrix(dtype, n)
        linear.combine(mine, rows, factors, out)
        reference.combine(right, rows, factors, out)
        _assert_equal(mine, right, dtype)
        assert np.all(beyond == 7)


def test_a_combination_of_float32_is_rounded_once():
    v_VN, _ = _matrix(np.float32, 3001)
    rows, factors = _terms(21, rows=22)
    exact = factors.astype(np.longdouble) @ v_VN[rows].astype(np.longdouble)
    linear.combine(v_VN, rows, factors, 22)
    assert np.all(np.abs(v_VN[22] - exact) <= 0.501 * np.spacing(np.abs(v_VN[22])) + 1e-14)


def test_a_combination_of_float64_is_as_exact_as_its_sums():
    v_VN, _ = _matrix(np.float64, 3001)
    rows, factors = _terms(21, rows=22)
    terms = factors.astype(np.longdouble)[:, None] * v_VN[rows]
    linear.combine(v_VN, rows, factors, 22)
    assert np.all(np.abs(v_VN[22] - terms.sum(axis=0)) <= 21 * 2.0**-53 * np.abs(terms).sum(axis=0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_copy_is_exact_and_what_is_not_finite_stays_where_it_is(dtype):
    v_VN, _ = _matrix(dtype, 1003)
    v_VN[2, [5, 700, 1002]] = np.inf, np.nan, -np.inf
    linear.combine(v_VN, np.array([2]), np.array([1.0]), 9)
    np.testing.assert_array_equal(v_VN[9], v_VN[2])
    linear.combine(v_VN, np.array([2, 1]), np.array([-0.5, 3.0]), 9)
    assert (v_VN[9, 5], v_VN[9, 1002]) == (-np.inf, np.inf) and np.isnan(v_VN[9, 700])
    assert np.isfinite(v_VN[9]).sum() == 1000


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("pairs", PAIRS)
def test_dots_equal_their_twins(pairs, n, dtype):
    left, right = _columns(PAIRS[pairs])
    v_VN, _ = _matrix(dtype, n)
    before = v_VN.copy()
    mine, twin = np.full(left.size, np.nan), np.empty(left.size)
    linear.dots(v_VN, left, right, mine)
    reference.dots(v_VN, left, right, twin)
    np.testing.assert_allclose(mine, twin, rtol=1e-12, atol=1e-13 * n)
    np.testing.assert_array_equal(v_VN, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pairs", ["one", "history"])
def test_dots_are_as_exact_as_float64(pairs, dtype):
    left, right = _columns(PAIRS[pairs])
    v_VN, _ = _matrix(dtype, 40_003)
    mine = np.empty(left.size)
    linear.dots(v_VN, left, right, mine)
    for k in range(left.size):
        terms = v_VN[left[k]].astype(np.longdouble) * v_VN[right[k]]
        exact = fsum(terms) if dtype == np.float32 else terms.sum()  # float64 holds products of float32
        assert abs(mine[k] - exact) <= 4e-15 * np.abs(terms).sum()


@pytest.mark.parametrize("pairs", ["one", "history", "apart"])
def test_dots_have_the_same_bits_each_time_and_wherever_the_vectors_lie(pairs):
    left, right = _columns(PAIRS[pairs])
    v_VN, _ = _matrix(np.float32, 50_001)
    first = np.empty(left.size)
    linear.dots(v_VN, left, right, first)
    for shift in range(6):
        moved = np.empty(v_VN.size + shift, np.float32)[shift:].reshape(v_VN.shape)
        moved[:] = v_VN
        again = np.empty(left.size)
        linear.dots(moved, left, right, again)
        np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 16_384, 33_000])
@pytest.mark.parametrize("pairs", ["one", "history"])
def test_dots_show_every_bad_element(pairs, place, bad):
    left, right = _columns(PAIRS[pairs])
    v_VN, _ = _matrix(np.float32, 33_001)
    v_VN[3, place] = bad
    mine = np.empty(left.size)
    linear.dots(v_VN, left, right, mine)
    np.testing.assert_array_equal(np.isfinite(mine), (left != 3) & (right != 3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("numbers", [(1, 2, 22), (1, 2, 1), (1, 2, 2), (3, 3, 0), (3, 3, 3)])
def test_products_equal_their_twins(numbers, n, dtype):
    (mine, beyond), (right, _) = _matrix(dtype, n), _matrix(dtype, n)
    linear.multiply(mine, *numbers)
    reference.multiply(right, *numbers)
    np.testing.assert_array_equal(mine, right)
    assert np.all(beyond == 7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_commits_equal_their_twins(n, dtype):
    (mine, beyond), (right, _) = _matrix(dtype, n), _matrix(dtype, n)
    linear.commit(mine, 0, 1, 2, 3, 21, 22)
    reference.commit(right, 0, 1, 2, 3, 21, 22)
    np.testing.assert_array_equal(mine, right)
    assert np.all(beyond == 7)


CALLS = {
    "combine": (*_terms(21), 4),
    "dots": (*_columns(PAIRS["history"]), np.empty(63)),
    "multiply": (0, 1, 1),
    "commit": (0, 1, 2, 3, 21, 22),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("n", [1, 100_001])
def test_two_threads_compute_the_bits_of_one(n, name):
    kernel, arguments = getattr(linear, name), CALLS[name]
    (one, _), (two, _) = _matrix(np.float32, n), _matrix(np.float32, n)
    more = [[a.copy() if isinstance(a, np.ndarray) else a for a in arguments] for _ in range(2)]
    kernel.serial(one, *more[0])
    jit.set_threads(2)
    try:
        with jit.parallel_from(0):
            kernel(two, *more[1])
    finally:
        jit.set_threads(1)
    assert kernel.parallel.signatures
    for mine, right in zip([one, *more[0]], [two, *more[1]], strict=True):
        np.testing.assert_array_equal(mine, right)


def _instructions(kernel, *arguments):
    options = {name: kernel.serial.targetoptions[name] for name in ("fastmath", "error_model")}
    compiled = numba.njit(**options)(kernel.serial.py_func)  # a cached kernel shows no assembly
    compiled(*arguments)
    return compiled.inspect_asm(compiled.signatures[0])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the names of x86 instructions")
def test_the_hot_loops_are_vectorized():
    v_VN, _ = _matrix(np.float32, 64)
    for name, wanted in (("combine", "pd"), ("dots", "pd"), ("multiply", "vmulps"), ("commit", "vsubps")):
        found = _instructions(getattr(linear, name), v_VN, *CALLS[name])
        packed = [line for line in found.splitlines() if "vfmadd" in line and line.split()[0].endswith("pd")]
        assert packed if wanted == "pd" else wanted in found
