"""Locally connected layers: at every location filters of its own (untied receptive fields).

Letters: H, W rows and columns of the output rectangle, F filters of a location, K K (or Kh Kw) the window,
C channels, B minibatch, which is innermost; U columns and channels of an input row, T copied taps.
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


@parallel_kernel
def local_forward(
    x: _Array,
    w_HWFKKC: _Array,
    b_HWF: _Array,
    y: _Array,
    stride_h: int,
    stride_w: int,
    offset_h: int,
    offset_w: int,
    code: int,
) -> None:
    """Overwrite y with f(w x + b): filters, bias and activation in one pass.

    Local.

    Parameters
    ----------
    x : float array (rows, columns, C, B), a rectangle
        Inputs: columns and what is inside them follow one another in memory, rows may be further apart.
    w_HWFKKC : float array (H, W, F, Kh, Kw, C), a rectangle
        Weights of each location, those of one location contiguous.
    b_HWF : float array (H, W, F)
        Bias of each location and filter.
    y : float array (H, W, F, B), a rectangle
        Out: activations.
    stride_h, stride_w, offset_h, offset_w : int
        Output row i reads the rows i stride_h + offset_h + k of x, 0 <= k < Kh; columns likewise. Those that
        x does not have count as zeros.
    code : int
        Activation f, one of `kernels.layers.activations.CODES`.

    Raises
    ------
    ValueError
        When x or y is not a rectangle cut from a C-ordered array.

    Notes
    -----
    y[i, j, f] = f(b[i, j, f] + sum over k, l, c of
    w[i, j, f, k, l, c] x[i s_h + o_h + k, j s_w + o_w + l, c]).
    Source: the paper, section 5 (receptive fields that are not shared).
    """
    check_rectangle(x)
    check_rectangle(y)
    window, stride, offset = w_HWFKKC.shape[3:5], (stride_h, stride_w), (offset_h, offset_w)
    for at in prange(y.shape[0] * y.shape[1]):
        i, j = at // y.shape[1], at % y.shape[1]
        w_at = (i * w_HWFKKC.strides[0] + j * w_HWFKKC.strides[1]) // w_HWFKKC.itemsize
        forward_location(x, w_HWFKKC, w_at, y, i, j, window, stride, offset)
        for f in range(y.shape[2]):
            activate_row(block(y, i, j), f, b_HWF[i, j, f], code)


@parallel_kernel
def local_backward_input(
    dz: _Array,
    w_HWFKKC: _Array,
    dx: _Array,
    stride_h: int,
    stride_w: int,
    offset_h: int,
    offset_w: int,
) -> None:
    """Overwrite dx, all of it, with the derivative of the loss by x.

    Local.

    Parameters
    ----------
    dz : float array (H, W, F, B), a rectangle
        Derivative of the loss by w x + b.
    w_HWFKKC : float array (H, W, F, Kh, Kw, C), contiguous
        Weights of each location.
    dx : float array (rows, columns, C, B), a rectangle
        Out: zero where no window reads x.
    stride_h, stride_w, offset_h, offset_w : int
        As in `local_forward`.

    Raises
    ------
    ValueError
        As in `local_forward`.

    Notes
    -----
    dx[r, q, c] = sum over f and all i s_h + o_h + k = r, j s_w + o_w + l = q of
    w[i, j, f, k, l, c] dz[i, j, f].
    """
    check_rectangle(dz)
    check_rectangle(dx)
    window, stride, offset = w_HWFKKC.shape[3:5], (stride_h, stride_w), (offset_h, offset_w)
    size = w_HWFKKC.shape[2] * window[0] * window[1] * dx.shape[2]
    for i in prange(dx.shape[0]):
        input_row(dz, w_HWFKKC, dz.shape[1] * size, size, dx, i, window, stride, offset)


@helper
def _weights_column(
    x_BHU: _Array, dz: _Array, dw_HWFKKC: _Array, first: int, end: int, j: int, stride: Any, offset: Any
) -> None:
    """Overwrite dw of rows [first, end) of column j."""
    height, width, channels = dw_HWFKKC.shape[3:]
    rows, size = (end - first - 1) * stride[0] + height, height * width * channels
    top, left = first * stride[0] + offset[0], j * stride[1] + offset[1]
    taps_BT = copy_taps(x_BHU, channels, top, left, rows, width)
    for i in range(first, end):
        start = (i - first) * stride[0] * width * channels
        dw_at = (i * dz.shape[1] + j) * dz.shape[2] * size
        product = weights_product(dw_at, dz, i, j, taps_BT, start, size, segments=1, step=0)
        multiply(True, dw_HWFKKC, dz, taps_BT, product)


@parallel_kernel
def local_backward_weights(
    x: _Array,
    dz: _Array,
    dw_HWFKKC: _Array,
    stride_h: int,
    stride_w: int,
    offset_h: int,
    offset_w: int,
) -> None:
    """Overwrite dw with the derivative of the loss by the weights, summed over the minibatch.

    Local. Keeps a batch-major copy of x meanwhile.

    Parameters
    ----------
    x : float array (rows, columns, C, B), a rectangle
        Inputs of the forward pass.
    dz : float array (H, W, F, B), a rectangle
        Derivative of the loss by w x + b.
    dw_HWFKKC : float array (H, W, F, Kh, Kw, C), contiguous
        Out: zero for taps outside x.
    stride_h, stride_w, offset_h, offset_w : int
        As in `local_forward`.

    Raises
    ------
    ValueError
        As in `local_forward`.

    Notes
    -----
    dw[i, j, f, k, l, c] = sum over b of dz[i, j, f, b] x[i s_h + o_h + k, j s_w + o_w + l, c, b].
    """
    check_rectangle(x)
    check_rectangle(dz)
    stride, offset, channels = (stride_h, stride_w), (offset_h, offset_w), x.shape[2]
    x_BHU = np.empty((x.shape[3], x.shape[0], x.shape[1] * channels), x.dtype)
    for row in prange(x.shape[0]):
        turn_row(x, row, x_BHU)
    together = rows_together(x, dw_HWFKKC.shape[3], dw_HWFKKC.shape[4] * channels, stride_h)
    blocks = (dz.shape[0] + together - 1) // together
    for part in prange(blocks * dz.shape[1]):
        j, first = part // blocks, part % blocks * together
        end = min(first + together, dz.shape[0])
        _weights_column(x_BHU, dz, dw_HWFKKC, first, end, j, stride, offset)
