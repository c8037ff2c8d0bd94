"""Convolution: the same filters at every location, minibatch innermost.

Letters as in `kernels.layers.local`: H, W rows and columns of the output, F filters, K K (or Kh Kw) the
window, C channels, B minibatch; P all weights in one row.
"""

from typing import Any

import numpy as np

from kernels.deferred import prange
from kernels.jit import helper, parallel_kernel
from kernels.layers.activations import activate_row
from kernels.layers.im2col import copy_taps, rows_together, turn_row, weights_product
from kernels.layers.windows import check_rectangle, forward_location, input_row
from kernels.llvm.matmul import multiply
from kernels.llvm.views import block

_Array = np.ndarray
# A gradient is summed in so many shares, whatever the number of threads: its rounding is always the same.
_SHARES = 8


@parallel_kernel
def conv_forward(
    x: _Array,
    w_FKKC: _Array,
    b_F: _Array,
    y: _Array,
    stride_h: int,
    stride_w: int,
    offset_h: int,
    offset_w: int,
    code: int,
) -> None:
    """Overwrite y with f(w * x + b): filter, bias and activation in one pass.

    Local.

    Parameters
    ----------
    x, y
        As in `kernels.layers.local.local_forward`.
    w_FKKC : float array (F, Kh, Kw, C), contiguous
        Weights of all locations.
    b_F : float array (F,)
        Bias of each filter.
    stride_h, stride_w, offset_h, offset_w, code
        As in `kernels.layers.local.local_forward`.

    Notes
    -----
    y[i, j, f] = f(sum over k, l, c of w[f, k, l, c] x[i s_h + o_h + k, j s_w + o_w + l, c] + b[f]): the
    cross-correlation that neural networks call convolution.
    """
    check_rectangle(x)
    check_rectangle(y)
    window, stride, offset = (w_FKKC.shape[1], w_FKKC.shape[2]), (stride_h, stride_w), (offset_h, offset_w)
    for at in prange(y.shape[0] * y.shape[1]):
        i, j = at // y.shape[1], at % y.shape[1]
        forward_location(x, w_FKKC, 0, y, i, j, window, stride, offset)
        for f in range(y.shape[2]):
            activate_row(block(y, i, j), f, b_F[f], code)


@parallel_kernel
def conv_backward_input(
    dz: _Array, w_FKKC: _Array, dx: _Array, stride_h: int, stride_w: int, offset_h: int, offset_w: int
) -> None:
    """Overwrite dx, all of it, with the derivative of the loss by x.

    Local.

    Parameters
    ----------
    dz, dx
        As in `kernels.layers.local.local_backward_input`.
    w_FKKC : float array (F, Kh, Kw, C), contiguous
        Weights of all locations.
    stride_h, stride_w, offset_h, offset_w : int
        As in `kernels.layers.local.local_forward`.
    """
    check_rectangle(dz)
    check_rectangle(dx)
    window, stride, offset = (w_FKKC.shape[1], w_FKKC.shape[2]), (stride_h, stride_w), (offset_h, offset_w)
    for i in prange(dx.shape[0]):
        input_row(dz, w_FKKC, 0, 0, dx, i, window, stride, offset)


@helper
def _add_column(
    x_BHU: _Array,
    channels: int,
    dz: _Array,
    dw_P: _Array,
    window: Any,
    first: int,
    end: int,
    j: int,
    stride: Any,
    offset: Any,
) -> None:
    """Add to dw, flat, what rows [first, end) of column j give."""
    height, width = window
    rows, size = (end - first - 1) * stride[0] + height, height * width * channels
    top, left = first * stride[0] + offset[0], j * stride[1] + offset[1]
    taps_BT = copy_taps(x_BHU, channels, top, left, rows, width)
    step = stride[0] * width * channels
    product = weights_product(0, dz, first, j, taps_BT, 0, size, end - first, step)
    multiply(False, dw_P, dz, taps_BT, product)


@parallel_kernel
def conv_backward_weights(
    x: _Array, dz: _Array, dw_FKKC: _Array, stride_h: int, stride_w: int, offset_h: int, offset_w: int
) -> None:
    """Overwrite dw with the derivative of the loss by the weights, summed over locations and minibatch.

    Local. Keeps a batch-major copy of x, and 8 shares of dw, meanwhile.

    Parameters
    ----------
    x, dz
        As in `kernels.layers.local.local_backward_weights`.
    dw_FKKC : float array (F, Kh, Kw, C), contiguous
        Out: this rectangle's share of the gradient.
    stride_h, stride_w, offset_h, offset_w : int
        As in `kernels.layers.local.local_forward`.

    Notes
    -----
    The order of each sum does not depend on the number of threads.
    """
    check_rectangle(x)
    check_rectangle(dz)
    stride, offset, channels = (stride_h, stride_w), (offset_h, offset_w), x.shape[2]
    x_BHU = np.empty((x.shape[3], x.shape[0], x.shape[1] * channels), x.dtype)
    for row in prange(x.shape[0]):
        turn_row(x, row, x_BHU)
    together = rows_together(x, dw_FKKC.shape[1], dw_FKKC.shape[2] * channels, stride_h)
    blocks = (dz.shape[0] + together - 1) // together
    parts = blocks * dz.shape[1]
    count, window = min(_SHARES, max(1, parts)), dw_FKKC.shape[1:3]
    shares = np.zeros((count, dw_FKKC.size), x.dtype)
    for share in prange(count):
        for part in range(share, parts, count):
            j, first = part // blocks, part % blocks * together
            end = min(first + together, dz.shape[0])
            _add_column(x_BHU, channels, dz, shares[share], window, first, end, j, stride, offset)
    dw_P = dw_FKKC.reshape(dw_FKKC.size)
    for p in range(dw_P.size):
        total = shares[0, p]
        for share in range(1, count):
            total += shares[share, p]
        dw_P[p] = total
