"""Pooling of the locations in a window, each map for itself: L2, maximum, average.

Activations are (H, W, C, B): rows, columns, maps, minibatch; `e` counts the C*B elements of one location.
Output row i reads input rows i * stride_h + offset_h + k, k in 0..size_h - 1, and columns likewise. Each
input of a window is a tap; taps outside x are left out, and a window without any tap gives 0.
"""

import math
from typing import Any

import numpy as np

from kernels.deferred import prange
from kernels.jit import helper, inlined_helper, parallel_kernel
from kernels.layers.windows import check_rectangle
from kernels.llvm.views import elements

L2, MAX, AVERAGE = 0, 1, 2
KINDS: dict[str, int] = {"l2": L2, "max": MAX, "average": AVERAGE}

_Array = np.ndarray


@helper
def _span(i: int, size: int, stride: int, offset: int, limit: int) -> tuple[int, int]:
    """Return the first input index under output index `i` and the one after the last, cut to 0..limit."""
    first = i * stride + offset
    return max(first, 0), min(first + size, limit)


@helper
def _greater(a: float, b: float) -> float:
    """Return the larger number, or NaN if one of the two is NaN."""
    return b if (b > a) | (b != b) else a


@helper
def _clear(y_e: _Array) -> None:
    for e in range(y_e.size):
        y_e[e] = 0


@helper
def _start(x_e: _Array, y_e: _Array, kind: int) -> None:
    """Begin a window with its first tap."""
    if kind == L2:
        for e in range(y_e.size):
            y_e[e] = x_e[e] * x_e[e]
    else:
        for e in range(y_e.size):
            y_e[e] = x_e[e]


@helper
def _add_tap(a_e: _Array, y_e: _Array, kind: int) -> None:
    """Take one more tap into the window."""
    if kind == L2:
        for e in range(y_e.size):
            y_e[e] += a_e[e] * a_e[e]
    elif kind == MAX:
        for e in range(y_e.size):
            y_e[e] = _greater(y_e[e], a_e[e])
    else:
        for e in range(y_e.size):
            y_e[e] += a_e[e]


@helper
def _add_two_taps(a_e: _Array, b_e: _Array, y_e: _Array, kind: int) -> None:
    """Take two more taps into the window: one pass over y instead of two."""
    if kind == L2:
        for e in range(y_e.size):
            y_e[e] += a_e[e] * a_e[e] + b_e[e] * b_e[e]
    elif kind == MAX:
        for e in range(y_e.size):
            y_e[e] = _greater(_greater(y_e[e], a_e[e]), b_e[e])
    else:
        for e in range(y_e.size):
            y_e[e] += a_e[e] + b_e[e]


@helper
def _finish(y_e: _Array, taps: int, kind: int) -> None:
    """Turn what the taps gave into the output."""
    if kind == L2:
        for e in range(y_e.size):
            y_e[e] = math.sqrt(y_e[e])
    elif kind == AVERAGE:
        share = y_e.dtype.type(1) / y_e.dtype.type(taps)
        for e in range(y_e.size):
            y_e[e] *= share


@helper
def _pool_window(x: _Array, y_e: _Array, top: int, bottom: int, left: int, right: int, kind: int) -> None:
    """Overwrite one output location by the window top..bottom - 1, left..right - 1."""
    if top >= bottom or left >= right:
        _clear(y_e)
        return
    _start(elements(x, top, left), y_e, kind)
    for r in range(top, bottom):
        c = left + 1 if r == top else left
        while c + 1 < right:
            _add_two_taps(elements(x, r, c), elements(x, r, c + 1), y_e, kind)
            c += 2
        if c < right:
            _add_tap(elements(x, r, c), y_e, kind)
    _finish(y_e, (bottom - top) * (right - left), kind)


@parallel_kernel
def pool_forward(
    x: _Array,
    y: _Array,
    size_h: int,
    size_w: int,
    stride_h: int,
    stride_w: int,
    offset_h: int,
    offset_w: int,
    kind: int,
) -> None:
    """Overwrite y with the pooled windows of x.

    Local.

    Parameters
    ----------
    x : float array (H, W, C, B)
        Input rectangle; C and B contiguous.
    y : float array (Ho, Wo, C, B)
        Out: one value per window, map and example.
    size_h, size_w : int
        Window.
    stride_h, stride_w : int
        Steps between windows.
    offset_h, offset_w : int
        Where in x the window of y[0, 0] begins; may be negative.
    kind : int
        One of `KINDS`.

    Notes
    -----
    L2: y = sqrt(sum x^2) (Le et al. 2012, section 3); maximum: NaN if any tap is; average: over the taps
    inside x.
    """
    check_rectangle(x)
    check_rectangle(y)
    for i in prange(y.shape[0]):
        top, bottom = _span(i, size_h, stride_h, offset_h, x.shape[0])
        for j in range(y.shape[1]):
            left, right = _span(j, size_w, stride_w, offset_w, x.shape[1])
            _pool_window(x, elements(y, i, j), top, bottom, left, right, kind)


@inlined_helper
def _shares(dy_e: _Array, y_e: _Array, taps: int, kind: int, share_e: _Array) -> None:
    """Overwrite share with what every tap of the window multiplies, adds or claims."""
    zero, one = y_e.dtype.type(0), y_e.dtype.type(1)
    if kind == L2:
        for e in range(y_e.size):
            share_e[e] = zero if y_e[e] == zero else dy_e[e] / y_e[e]
    else:
        part = one / y_e.dtype.type(taps) if kind == AVERAGE else one
        for e in range(y_e.size):
            share_e[e] = dy_e[e] * part


@inlined_helper
def _give_tap(x_e: _Array, y_e: _Array, share_e: _Array, dx_e: _Array, kind: int) -> None:
    """Add the share of one tap to its dx; the first maximum takes the share away."""
    zero = y_e.dtype.type(0)
    if kind == L2:
        for e in range(y_e.size):
            dx_e[e] += share_e[e] * x_e[e]
    elif kind == MAX:
        for e in range(y_e.size):
            first = x_e[e] == y_e[e]
            dx_e[e] += share_e[e] if first else zero
            share_e[e] = zero if first else share_e[e]
    else:
        for e in range(y_e.size):
            dx_e[e] += share_e[e]


@inlined_helper
def _add_window(
    x: _Array,
    y_e: _Array,
    share_e: _Array,
    dx: _Array,
    top: int,
    bottom: int,
    left: int,
    right: int,
    kind: int,
) -> None:
    """Add to dx what the taps top..bottom - 1, left..right - 1 of one window get of its share."""
    for r in range(top, bottom):
        for c in range(left, right):
            _give_tap(elements(x, r, c), y_e, share_e, elements(dx, r, c), kind)


@inlined_helper
def _add_row(
    x: _Array, y: _Array, dy: _Array, dx: _Array, i: int, size: Any, stride: Any, offset: Any, kind: int
) -> None:
    """Add to dx what the windows of output row i give."""
    share_e = np.empty(x.shape[2] * x.shape[3], x.dtype)
    top, bottom = _span(i, size[0], stride[0], offset[0], x.shape[0])
    for j in range(y.shape[1]):
        left, right = _span(j, size[1], stride[1], offset[1], x.shape[1])
        y_e = elements(y, i, j)
        _shares(elements(dy, i, j), y_e, (bottom - top) * (right - left), kind, share_e)
        _add_window(x, y_e, share_e, dx, top, bottom, left, right, kind)


@parallel_kernel
def pool_backward(
    x: _Array,
    y: _Array,
    dy: _Array,
    dx: _Array,
    size_h: int,
    size_w: int,
    stride_h: int,
    stride_w: int,
    offset_h: int,
    offset_w: int,
    kind: int,
) -> None:
    """Overwrite dx with the derivative of the loss by x.

    Local. The sums have one order for any number of threads.

    Parameters
    ----------
    x, y : float array (H, W, C, B), (Ho, Wo, C, B)
        Input and output of the forward pass.
    dy : float array (Ho, Wo, C, B)
        Derivative of the loss by y.
    dx : float array (H, W, C, B)
        Out: all of it, 0 where no window reaches.
    size_h, size_w, stride_h, stride_w, offset_h, offset_w, kind : int
        As in `pool_forward`.

    Notes
    -----
    L2: dx = sum dy x / y, 0 where y is 0; maximum: the first tap that equals y takes dy, row by row;
    average: dy over the number of taps inside x.
    """
    check_rectangle(x)
    check_rectangle(y)
    check_rectangle(dy)
    check_rectangle(dx)
    size, stride, offset = (size_h, size_w), (stride_h, stride_w), (offset_h, offset_w)
    for r in prange(x.shape[0]):
        for c in range(x.shape[1]):
            _clear(elements(dx, r, c))
    # Windows of neighbouring rows overlap: bands of rows at least one window high, first the even ones and
    # then the odd ones, so that no two threads add to the same location.
    height = (size_h + stride_h - 1) // stride_h
    bands = (y.shape[0] + height - 1) // height
    for odd in range(2):
        for half in prange((bands + 1 - odd) // 2):
            first = (2 * half + odd) * height
            for i in range(first, min(first + height, y.shape[0])):
                _add_row(x, y, dy, dx, i, size, stride, offset, kind)
