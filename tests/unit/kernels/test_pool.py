"""Pooling: against the NumPy twins, PyTorch and finite differences; in pieces; ties, zeros and NaN."""

import numpy as np
import pytest

from kernels.layers import pool
from kernels.layers.pool import AVERAGE, KINDS, L2, MAX
from kernels.reference import spatial

# rows, columns, maps, minibatch; window; stride; padding
GEOMETRIES = {
    "plain": ((6, 6, 2, 8), (2, 2), (2, 2), (0, 0)),
    "overlapping": ((9, 11, 3, 5), (3, 3), (2, 2), (0, 0)),
    "padded": ((7, 8, 2, 17), (3, 3), (1, 1), (1, 1)),
    "uneven": ((8, 13, 1, 3), (2, 5), (3, 2), (1, 2)),
    "gaps": ((10, 9, 4, 1), (2, 1), (3, 4), (0, 0)),
    "whole image": ((4, 5, 2, 7), (4, 5), (1, 1), (0, 0)),
}
geometries = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def _output(size, window, stride, padding):
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, window, stride, padding, strict=True))


def _cut(array):
    """Return a copy that lies within a larger array, as a partition's rectangle does."""
    buffer = np.full((array.shape[0] + 3, array.shape[1] + 2) + array.shape[2:], np.nan, array.dtype)
    buffer[1:-2, 2:] = array
    return buffer[1:-2, 2:]


def _problem(geometry, dtype=np.float64, seed=0):
    """Return x, empty y, dy, and the arguments of a geometry."""
    shape, window, stride, padding = geometry
    random = np.random.default_rng(seed)
    out = _output(shape[:2], window, stride, padding) + shape[2:]
    x, dy = _cut(random.normal(size=shape).astype(dtype)), _cut(random.normal(size=out).astype(dtype))
    return x, _cut(np.full(out, np.nan, dtype)), dy, (*window, *stride, -padding[0], -padding[1])


def _backward(module, x, y, dy, arguments):
    dx = _cut(np.full(x.shape, np.nan, x.dtype))
    module.pool_backward(x, y, dy, dx, *arguments)
    return dx


@kinds
@geometries
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_its_twin(dtype, geometry, kind):
    x, y, dy, arguments = _problem(geometry, dtype)
    right, close = np.empty(y.shape, dtype), {"rtol": 1e-5, "atol": 1e-6 if dtype == np.float32 else 1e-13}
    pool.pool_forward(x, y, *arguments, kind)
    spatial.pool_forward(x, right, *arguments, kind)
    np.testing.assert_allclose(y, right, **close)
    dx = _backward(pool, x, y, dy, (*arguments, kind))
    np.testing.assert_allclose(dx, _backward(spatial, x, y, dy, (*arguments, kind)), **close)


def _torch_pool(torch, x, geometry, kind):
    """Pool a (B, C, H, W) tensor; the padding of L2 counts zeros, which add nothing."""
    _, window, stride, padding = geometry
    if kind == MAX:
        return torch.max_pool2d(x, window, stride, padding)
    average = torch.nn.functional.avg_pool2d
    if kind == AVERAGE:
        return average(x, window, stride, padding, count_include_pad=False)
    return torch.sqrt(average(x * x, window, stride, padding, divisor_override=1))


@kinds
@geometries
def test_equals_pytorch(geometry, kind):
    torch = pytest.importorskip("torch")
    shape, window, stride, padding = geometry
    if any(2 * p > k for p, k in zip(padding, window, strict=True)):
        pytest.skip("PyTorch refuses such padding")
    x, y, dy, arguments = _problem(geometry, np.float32)
    x_torch = torch.tensor(x.transpose(3, 2, 0, 1).copy(), requires_grad=True)
    y_torch = _torch_pool(torch, x_torch, geometry, kind)
    y_torch.backward(torch.tensor(dy.transpose(3, 2, 0, 1).copy()))
    pool.pool_forward(x, y, *arguments, kind)
    dx = _backward(pool, x, y, dy, (*arguments, kind))
    for mine, right in ((y, y_torch.detach()), (dx, x_torch.grad)):
        np.testing.assert_allclose(mine, right.numpy().transpose(2, 3, 1, 0), rtol=1e-5, atol=1e-6)


@kinds
def test_derivative_agrees_with_finite_differences(kind):
    x, y, dy, arguments = _problem(((5, 6, 1, 2), (3, 2), (2, 1), (1, 1)))
    pool.pool_forward(x, y, *arguments, kind)
    dx = _backward(pool, x, y, dy, (*arguments, kind))
    for place in np.ndindex(x.shape):
        losses = []
        for step in (1e-6, -1e-6):
            moved, y_moved = _cut(x), _cut(y)
            moved[place] += step
            pool.pool_forward(moved, y_moved, *arguments, kind)
            losses.append(np.sum(y_moved * dy))
        assert dx[place] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-6, abs=1e-8)


def _pieces(n, parts):
    edges = np.linspace(0, n, parts + 1).astype(int)
    return list(zip(edges[:-1], edges[1:], strict=True))


@kinds
@geometries
@pytest.mark.parametrize("grid", [(1, 2), (2, 1), (2, 3)])
def test_rectangles_make_the_whole(grid, geometry, kind):
    x, y, dy, arguments = _problem(geometry)
    whole, dx_sum = _cut(y), np.zeros(x.shape)
    pool.pool_forward(x, whole, *arguments, kind)
    for rows in _pieces(y.shape[0], grid[0]):
        for columns in _pieces(y.shape[1], grid[1]):
            own = tuple(slice(*ends) for ends in (rows, columns))
            read, offsets = [], []
            for (first, last), n, size, stride, offset in zip(
                (rows, columns), x.shape, arguments[:2], arguments[2:4], arguments[4:], strict=False
            ):
                begin = min(max(first * stride + offset, 0), n)
                end = min(max((last - 1) * stride + offset + size, begin), n)
                read.append(slice(begin, end))
                offsets.append(first * stride + offset - begin)
            mine = x[tuple(read)], y[own]
            pool.pool_forward(*mine, *arguments[:4], *offsets, kind)
            dx_sum[tuple(read)] += _backward(pool, *mine, dy[own], (*arguments[:4], *offsets, kind))
    np.testing.assert_array_equal(y, whole)
    np.testing.assert_allclose(dx_sum, _backward(pool, x, whole, dy, (*arguments, kind)), atol=1e-14)


def test_the_first_maximum_wins_ties():
    x = _cut(np.zeros((2, 3, 1, 20)))
    x[0, 2], x[1, 0] = 1, 1
    y, dy = (_cut(np.ones((1, 1, 1, 20))) for _ in range(2))
    pool.pool_forward(x, y, 2, 3, 1, 1, 0, 0, MAX)
    dx = _backward(pool, x, y, dy, (2, 3, 1, 1, 0, 0, MAX))
    assert (dx[0, 2] == 1).all() and dx.sum() == 20


@kinds
def test_zeros_give_finite_derivatives(kind):
    x, y, dy = (_cut(a) for a in (np.zeros((4, 4, 1, 3)), np.ones((2, 2, 1, 3)), np.ones((2, 2, 1, 3))))
    pool.pool_forward(x, y, 2, 2, 2, 2, 0, 0, kind)
    dx = _backward(pool, x, y, dy, (2, 2, 2, 2, 0, 0, kind))
    assert not y.any()
    assert dx.sum() == pytest.approx(0 if kind == L2 else dy.sum())


@kinds
def test_a_window_beyond_the_image_gives_zero(kind):
    x, y = _cut(np.ones((2, 2, 1, 3))), _cut(np.full((2, 1, 1, 3), np.nan))
    pool.pool_forward(x, y, 2, 2, 2, 1, -2, 0, kind)
    assert (y[0] == 0).all() and (y[1] > 0).all()
    dx = _backward(pool, x, y, _cut(y), (2, 2, 2, 1, -2, 0, kind))
    assert np.isfinite(dx).all()


@kinds
@pytest.mark.parametrize("place", [(0, 0), (1, 2), (2, 2)])
def test_nan_is_not_hidden(place, kind):
    x, y = (_cut(np.ones((n, n, 1, 40), np.float32)) for n in (3, 1))
    x[place][0, 20] = np.nan
    pool.pool_forward(x, y, 3, 3, 1, 1, 0, 0, kind)
    assert np.argwhere(np.isnan(y[0, 0, 0])).tolist() == [[20]]


@kinds
def test_threads_change_nothing(kind):
    x, y, dy, arguments = _problem(GEOMETRIES["overlapping"])
    again, dx_again = _cut(y), _cut(x)
    pool.pool_forward.serial(x, y, *arguments, kind)
    pool.pool_forward.parallel(x, again, *arguments, kind)
    np.testing.assert_array_equal(y, again)
    pool.pool_backward.parallel(x, y, dy, dx_again, *arguments, kind)
    np.testing.assert_array_equal(_backward(pool, x, y, dy, (*arguments, kind)), dx_again)
