"""Convolution against PyTorch; `test_filters` has the rest."""

import numpy as np
import pytest

from kernels.layers import conv
from kernels.layers.activations import CODES
from tests.doubles.windowed import assert_near

TANH = CODES["tanh"]


@pytest.mark.parametrize(("side", "stride", "padding"), [((9, 11), 1, 0), ((10, 8), (2, 3), 2)])
def test_equals_pytorch(side, stride, padding):
    torch = pytest.importorskip("torch")
    C, F, B, K = 3, 5, 20, (4, 3)
    x, w = torch.randn(B, C, *side, requires_grad=True), torch.randn(F, C, *K, requires_grad=True)
    b = torch.randn(F)
    z = torch.nn.functional.conv2d(x, w, b, stride=stride, padding=padding)
    dz = torch.randn_like(z)
    dx_right, dw_right = torch.autograd.grad(z, (x, w), dz)

    def ours(array, *axes):
        return np.ascontiguousarray(array.detach().numpy().transpose(axes))

    steps = (stride, stride) if isinstance(stride, int) else stride
    geometry = (*steps, -padding, -padding)
    x_mine, w_mine, dz_mine = ours(x, 2, 3, 1, 0), ours(w, 0, 2, 3, 1), ours(dz, 2, 3, 1, 0)
    y, dx, dw = np.empty_like(dz_mine), np.empty_like(x_mine), np.empty_like(w_mine)
    conv.conv_forward(x_mine, w_mine, b.numpy(), y, *geometry, TANH)
    conv.conv_backward_input(dz_mine, w_mine, dx, *geometry)
    conv.conv_backward_weights(x_mine, dz_mine, dw, *geometry)
    assert_near(y, ours(torch.tanh(z), 2, 3, 1, 0), 1e-5)
    assert_near(dx, ours(dx_right, 2, 3, 1, 0), 1e-5)
    assert_near(dw, ours(dw_right, 0, 2, 3, 1), 1e-5)
