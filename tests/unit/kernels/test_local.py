"""Locally connected layers: against the NumPy twins, PyTorch, finite differences, and itself in pieces."""

import numpy as np
import pytest

from kernels.layers import bias, local
from kernels.layers.activations import CODES
from kernels.reference import spatial as reference_spatial
from tests.doubles.windowed import (
    CASES,
    GEOMETRIES,
    Geometry,
    arrays,
    assert_near,
    pieces,
    rectangle,
    untouched,
)

DTYPES = [np.float32, np.float64]
TANH = CODES["tanh"]
SMALL = Geometry((7, 6), (4, 5), (3, 4), 2, 3, 5, (2, 1), (-1, -1))


@pytest.mark.parametrize(("g", "dtype"), CASES)
def test_forward_equals_its_twin(g, dtype):
    x, w, b, dz = arrays(g, dtype, shared=False)
    for code in CODES.values():
        y, right = rectangle(dz.shape, dtype), np.empty_like(dz)
        local.local_forward(x, w, b, y, *g.steps, code)
        reference_spatial.local_forward(x, w, b, right, *g.steps, code)
        assert_near(y, right)
        assert untouched(y)


@pytest.mark.parametrize(("g", "dtype"), CASES)
def test_backward_equals_its_twin(g, dtype):
    x, w, _, dz = arrays(g, dtype, shared=False)
    dx, dw = rectangle(x.shape, dtype), np.full_like(w, np.nan)
    dx_right, dw_right = np.empty_like(dx), np.empty_like(w)
    local.local_backward_input(dz, w, dx, *g.steps)
    local.local_backward_weights(x, dz, dw, *g.steps)
    reference_spatial.local_backward_input(dz, w, dx_right, *g.steps)
    reference_spatial.local_backward_weights(x, dz, dw_right, *g.steps)
    assert_near(dx, dx_right)
    assert_near(dw, dw_right)
    assert untouched(dx)


@pytest.mark.parametrize(("side", "stride", "padding"), [((9, 11), 1, 0), ((10, 8), (2, 3), 2)])
def test_equals_pytorch_unfold(side, stride, padding):
    torch = pytest.importorskip("torch")
    C, F, B, K = 3, 5, 20, (4, 3)
    x = torch.randn(B, C, *side, requires_grad=True)
    patches = torch.nn.functional.unfold(x, K, padding=padding, stride=stride)
    steps = (stride, stride) if isinstance(stride, int) else stride
    H, W = ((s + 2 * padding - k) // n + 1 for s, k, n in zip(side, K, steps, strict=True))
    w, b = torch.randn(H * W, F, patches.shape[1], requires_grad=True), torch.randn(H, W, F)
    z = torch.einsum("lfk,bkl->lfb", w, patches).reshape(H, W, F, B)
    dz = torch.randn_like(z)
    dx_right, dw_right = torch.autograd.grad(z, (x, w), dz)

    def ours(w):  # from PyTorch's order of taps, channels first
        return np.ascontiguousarray(w.detach().numpy().reshape(H, W, F, C, *K).transpose(0, 1, 2, 4, 5, 3))

    x_mine, geometry = x.detach().numpy().transpose(2, 3, 1, 0).copy(), (*steps, -padding, -padding)
    y, dx, dw = np.empty((H, W, F, B), np.float32), np.empty_like(x_mine), np.empty_like(ours(w))
    local.local_forward(x_mine, ours(w), b.numpy(), y, *geometry, TANH)
    local.local_backward_input(dz.numpy(), ours(w), dx, *geometry)
    local.local_backward_weights(x_mine, dz.numpy(), dw, *geometry)
    assert_near(y, torch.tanh(z + b[..., None]).detach().numpy(), 1e-5)
    assert_near(dx, dx_right.numpy().transpose(2, 3, 1, 0), 1e-5)
    assert_near(dw, ours(dw_right), 1e-5)


@pytest.mark.parametrize("which", ["x", "w", "b"])
def test_derivatives_agree_with_finite_differences(which):
    x, w, b, dy = arrays(SMALL, np.float64, shared=False)
    at, y = {"x": x, "w": w, "b": b}, rectangle(dy.shape, float)

    def loss(**changed):
        local.local_forward(*(at | changed).values(), y, *SMALL.steps, TANH)
        return np.sum(y * dy)

    direction = np.random.default_rng(1).normal(size=at[which].shape) * 1e-5
    moved = [
        rectangle(x.shape, float, x + s * direction) if which == "x" else at[which] + s * direction
        for s in (1, -1)
    ]
    numeric = (loss(**{which: moved[0]}) - loss(**{which: moved[1]})) / 2
    loss()
    dz, dx = rectangle(dy.shape, float, dy), rectangle(x.shape, float)
    dw, db = np.empty_like(w), np.empty_like(b)
    bias.spatial_activation_backward(dz, y, TANH)
    local.local_backward_input(dz, w, dx, *SMALL.steps)
    local.local_backward_weights(x, dz, dw, *SMALL.steps)
    bias.local_bias_sums(dz, db)
    assert np.sum({"x": dx, "w": dw, "b": db}[which] * direction) == pytest.approx(
        numeric, rel=1e-7, abs=1e-12
    )


@pytest.mark.parametrize("grid", [(1, 2), (2, 1), (2, 3)])
def test_pieces_compute_what_the_whole_does(grid):
    g = Geometry((11, 10), (6, 10), (4, 3), 2, 4, 9, (2, 1), (-1, -1))
    x, w, b, dz = arrays(g, np.float64, shared=False)
    y, dx, dw = rectangle(dz.shape, float), rectangle(x.shape, float), np.empty_like(w)
    local.local_forward(x, w, b, y, *g.steps, TANH)
    local.local_backward_input(dz, w, dx, *g.steps)
    local.local_backward_weights(x, dz, dw, *g.steps)
    dx_sum, dw_sum = np.zeros_like(x), np.zeros_like(w)
    for i, i_end in pieces(g.y[0], grid[0]):
        for j, j_end in pieces(g.y[1], grid[1]):
            own = (slice(i, i_end), slice(j, j_end))
            needed, offset = [], []
            for n in range(2):  # of the input the rows, then the columns
                top = own[n].start * g.stride[n] + g.offset[n]
                end = (own[n].stop - 1) * g.stride[n] + g.offset[n] + g.window[n]
                needed.append(slice(max(top, 0), min(end, g.x[n])))
                offset.append(top - max(top, 0))
            x_part, steps = x[*needed], (*g.stride, *offset)
            w_part, y_part = w[own].copy(), rectangle(y[own].shape, float)
            dx_part, dw_part = rectangle(x_part.shape, float), np.empty_like(w_part)
            local.local_forward(x_part, w_part, b[own].copy(), y_part, *steps, TANH)
            local.local_backward_input(dz[own], w_part, dx_part, *steps)
            local.local_backward_weights(x_part, dz[own], dw_part, *steps)
            assert_near(y_part, y[own])
            dx_sum[*needed] += dx_part
            dw_sum[own] += dw_part
    assert_near(dx_sum, dx)
    assert_near(dw_sum, dw)


def test_whole_arrays_and_threads_compute_what_rectangles_do():
    g = Geometry((9, 8), (7, 7), (3, 2), 3, 5, 21)
    x, w, b, dz = arrays(g, np.float32, shared=False)
    for kernel, given, out, more in (
        (local.local_forward, (x, w, b), dz, (TANH,)),
        (local.local_backward_input, (dz, w), x, ()),
        (local.local_backward_weights, (x, dz), w, ()),
    ):
        right = (
            rectangle(out.shape, np.float32) if out.ndim == 4 and out is not w else np.full_like(out, np.nan)
        )
        kernel(*given, right, *g.steps, *more)
        for variant in (kernel.serial, kernel.parallel):
            mine = np.full(out.shape, np.nan, np.float32)
            variant(*(np.ascontiguousarray(a) for a in given), mine, *g.steps, *more)
            np.testing.assert_array_equal(mine, right)


def test_what_is_no_rectangle_is_refused():
    x, w, b, dz = arrays(SMALL, np.float64, shared=False)
    for wrong in (x[:, ::2], x[..., ::2], x.transpose(0, 1, 3, 2)):
        with pytest.raises(ValueError, match="rectangle"):
            local.local_forward(wrong, w, b, rectangle(dz.shape, float), *SMALL.steps, TANH)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_activation_backward_and_sums_equal_their_twins(code, dtype):
    for g in (GEOMETRIES[2], GEOMETRIES[6]):
        *_, y = arrays(g, dtype, shared=False)
        *_, dy = arrays(g, dtype, shared=False, seed=1)
        right, db_HWF, db_F = dy.copy(), np.empty((*g.y, g.F), dtype), np.empty(g.F, dtype)
        bias.spatial_activation_backward(dy, y, code)
        reference_spatial.spatial_activation_backward(right, y, code)
        assert_near(dy, right)
        assert untouched(dy)
        bias.local_bias_sums(dy, db_HWF)
        bias.shared_bias_sums(dy, db_F)
        assert_near(db_HWF, dy.sum(axis=3))
        assert_near(db_F, dy.sum(axis=(0, 1, 3)))
