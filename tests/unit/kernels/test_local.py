"""Locally connected layers against PyTorch, and what follows their products; `test_filters` has the rest."""

import numpy as np
import pytest

from kernels.layers import bias, local
from kernels.layers.activations import CODES
from kernels.reference import spatial as reference_spatial
from tests.doubles.windowed import GEOMETRIES, arrays, assert_near, untouched

DTYPES = [np.float32, np.float64]
TANH = CODES["tanh"]


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
