"""Local contrast normalization: against its twin, PyTorch and finite differences; in pieces; flat images."""

import numpy as np
import pytest

from kernels.layers import lcn
from kernels.layers.lcn import KEPT_PLANES, WORK_PLANES, gaussian_window
from kernels.reference import spatial

# rows, columns, maps, minibatch; window
SHAPES = {
    "plain": ((9, 8, 3, 8), 3),
    "one map": ((7, 12, 1, 5), 5),
    "window wider than the image": ((3, 4, 2, 17), 9),
    "no window": ((4, 5, 4, 1), 1),
    "many maps": ((6, 5, 11, 3), 3),
}
shapes = pytest.mark.parametrize("shape, size", SHAPES.values(), ids=SHAPES)
FLOOR = 1.2  # about half of the locations of standard normal images are below, so both branches are taken


def _cut(array):
    """Return a copy that lies within a larger array, as a partition's rectangle does."""
    buffer = np.full((array.shape[0] + 3, array.shape[1] + 2) + array.shape[2:], np.nan, array.dtype)
    buffer[1:-2, 2:] = array
    return buffer[1:-2, 2:]


def _images(shape, dtype=np.float64, seed=0):
    """Return x and dy of an image whose contrast changes from place to place."""
    random = np.random.default_rng(seed)
    contrast = random.choice([0.1, 2.0], size=shape[:2] + (1, 1))
    return (_cut((random.normal(0.3, 1, shape) * contrast).astype(dtype)) for _ in range(2))


def _run(module, x, dy, size, row=0, column=0, floor=FLOOR):
    """Return y on the rectangle of dy, and dx on all of x."""
    shape = x.shape[:2] + x.shape[3:]
    kept, work = (np.full((n, *shape), np.nan, x.dtype) for n in (KEPT_PLANES, WORK_PLANES))
    arguments = (x, gaussian_window(size, x.dtype), floor, row, column, kept, work)
    y, dx = (_cut(np.full(a.shape, np.nan, x.dtype)) for a in (dy, x))
    module.lcn_forward(*arguments, y)
    work[:] = np.nan
    module.lcn_backward(*arguments, dy, dx)
    return y, dx


@shapes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_its_twin(dtype, shape, size):
    x, dy = _images(shape, dtype)
    close = {"rtol": 1e-5, "atol": 2e-5} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-12}
    for mine, right in zip(_run(lcn, x, dy, size), _run(spatial, x, dy, size), strict=True):
        np.testing.assert_allclose(mine, right, **close)


@shapes
def test_a_rectangle_equals_its_twin(shape, size):
    x, dy = _images(shape)
    row, column, half = 1, 2, size // 2
    own = _cut(dy[row : row + 2, column : column + 2])
    before = [min(first, 2 * half) for first in (row, column)]
    read = x[row - before[0] : row + 2 + 2 * half, column - before[1] : column + 2 + 2 * half]
    for mine, right in zip(
        _run(lcn, read, own, size, *before),
        _run(spatial, read, own, size, *before),
        strict=True,
    ):
        np.testing.assert_allclose(mine, right, rtol=1e-11, atol=1e-12)


def _torch_lcn(torch, x, size, floor):
    """Normalize a (B, C, H, W) tensor by the formula of the paper, with a window over all maps."""
    side = torch.tensor(gaussian_window(size, np.float64)).to(x.dtype)
    window = torch.outer(side, side).expand(1, x.shape[1], size, size) / x.shape[1]
    v = x - torch.conv2d(x, window, padding=size // 2)
    sigma = torch.sqrt(torch.conv2d(v * v, window, padding=size // 2))
    return v / torch.clamp(sigma, min=floor)


@shapes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_pytorch(dtype, shape, size):
    torch = pytest.importorskip("torch")
    x, dy = _images(shape, dtype, seed=1)
    x_torch = torch.tensor(x.transpose(3, 2, 0, 1).copy(), requires_grad=True)
    y_torch = _torch_lcn(torch, x_torch, size, FLOOR)
    y_torch.backward(torch.tensor(dy.transpose(3, 2, 0, 1).copy()))
    relative = 1e-5 if dtype == np.float32 else 1e-12
    for mine, right in zip(_run(lcn, x, dy, size), (y_torch.detach(), x_torch.grad), strict=True):
        right = right.numpy().transpose(2, 3, 1, 0)
        np.testing.assert_allclose(mine, right, rtol=relative, atol=relative * abs(right).max())


def test_both_branches_of_the_floor_are_tested():
    x, dy = _images(SHAPES["plain"][0])
    clipped = abs(_run(lcn, x, dy, 3)[0] - _run(lcn, x, dy, 3, floor=1e-9)[0]).max(axis=2) > 1e-9
    assert 0.1 < clipped.mean() < 0.9


def test_derivative_agrees_with_finite_differences():
    x, dy = _images((5, 4, 2, 2), seed=2)
    _, dx = _run(lcn, x, dy, 3)
    for place in np.ndindex(x.shape):
        losses = []
        for step in (1e-6, -1e-6):
            moved = _cut(x)
            moved[place] += step
            losses.append(np.sum(_run(lcn, moved, dy, 3)[0] * dy))
        assert dx[place] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-5, abs=1e-7)


def _pieces(n, parts, grown):
    """Cut n into parts; return each part and what it reads, grown and cut to 0..n."""
    edges = np.linspace(0, n, parts + 1).astype(int)
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        yield slice(first, last), slice(max(first - grown, 0), min(last + grown, n))


@shapes
@pytest.mark.parametrize("grid", [(1, 2), (2, 1), (3, 2), (2, 4)])
def test_rectangles_make_the_whole(grid, shape, size):
    x, dy = _images(shape)
    whole, dx_whole = _run(lcn, x, dy, size)
    y, dx = np.empty(shape), np.zeros(shape)
    for rows, read_rows in _pieces(shape[0], grid[0], 2 * (size // 2)):
        for columns, read_columns in _pieces(shape[1], grid[1], 2 * (size // 2)):
            place = rows.start - read_rows.start, columns.start - read_columns.start
            y_own, dx_part = _run(lcn, x[read_rows, read_columns], dy[rows, columns], size, *place)
            y[rows, columns] = y_own
            dx[read_rows, read_columns] += dx_part
    np.testing.assert_allclose(y, whole, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(dx, dx_whole, rtol=1e-12, atol=1e-13)


def test_x_beyond_what_the_rectangle_needs_gets_zero():
    x, dy = _images((12, 11, 2, 3))
    own = _cut(dy[6:8, 5:6])
    y, dx = _run(lcn, x, own, 3, 6, 5, floor=1e-9)
    np.testing.assert_allclose(y, _run(lcn, x, dy, 3, floor=1e-9)[0][6:8, 5:6], rtol=1e-12)
    assert dx[4:10, 3:8].all()
    dx[4:10, 3:8] = 0
    assert not dx.any()


def test_small_contrast_far_from_zero_survives():
    """E[x^2] - E[x]^2 would drown it: float32 rounds 1000^2 to 0.06; the contrast's square is 0.01."""
    x, _ = _images((12, 12, 3, 4), np.float32)
    x[:] = 1000 + 0.1 * x
    y, _ = _run(lcn, x, x, 3, floor=0.01)
    right, _ = _run(lcn, _cut(x.astype(np.float64)), _cut(x.astype(np.float64)), 3, floor=0.01)
    inside = slice(2, -2)  # at the border the zeros beyond it make the contrast large
    np.testing.assert_allclose(y[inside, inside], right[inside, inside], atol=0.02)


@pytest.mark.parametrize("floor", [0.01, 1.0])
def test_a_flat_image_gives_finite_derivatives(floor):
    for value in (0, 1000):
        x = _cut(np.full((6, 7, 3, 4), value, np.float32))
        y, dx = _run(lcn, x, _cut(np.ones_like(x)), 3, floor=floor)
        assert np.isfinite(y).all() and np.isfinite(dx).all()


def test_nan_is_not_hidden():
    x, dy = _images((9, 9, 2, 16), np.float32)
    x[4, 4, 1, 7] = np.nan
    y, dx = _run(lcn, x, dy, 3)
    for result in (y, dx):
        assert np.isnan(result[4, 4, :, 7]).all()
        assert not np.isnan(result[..., :7]).any() and not np.isnan(result[..., 8:]).any()


def test_the_window_is_symmetric_and_sums_to_1():
    for size in (1, 3, 9):
        g = gaussian_window(size, np.float64)
        assert g.sum() == pytest.approx(1) and (g == g[::-1]).all() and g.argmax() == size // 2


def test_threads_change_nothing():
    class Parallel:
        lcn_forward, lcn_backward = lcn.lcn_forward.parallel, lcn.lcn_backward.parallel

    x, dy = _images(SHAPES["plain"][0])
    for mine, right in zip(_run(lcn, x, dy, 3), _run(Parallel, x, dy, 3), strict=True):
        np.testing.assert_array_equal(mine, right)
