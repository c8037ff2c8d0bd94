"""One location or row of a windowed layer: helpers of `local` (weights per location) and `conv` (shared).

Output row i reads the input rows i * stride_h + offset_h + k, 0 <= k < Kh, that exist; columns likewise. A
tap is one input of a window. Arguments named `..._at`, `..._row` and `..._column` count elements of flat
arrays. Pairs (window, stride, offset) are of rows and columns. x and dx are (H, W, C, B), y and dz (H, W, F,
B).
"""

from typing import Any

import numpy as np

from kernels.jit import helper
from kernels.llvm.matmul import Product, multiply
from kernels.llvm.vector import NextRuns, prefetch_runs

_Array = np.ndarray


@helper
def check_rectangle(x: _Array) -> None:
    """Raise ValueError unless (C, B) is contiguous and columns follow one another."""
    if x.size and not (
        x.strides[3] == x.itemsize
        and (x.strides[2] == x.shape[3] * x.itemsize or x.shape[2] == 1)
        and (x.strides[1] == x.shape[2] * x.shape[3] * x.itemsize or x.shape[1] == 1)
    ):
        raise ValueError("a spatial array must be a rectangle of rows and columns cut from a C-ordered one")


@helper
def inside(start: int, size: int, extent: int) -> Any:
    """Return the first tap of a window from `start` that lies in [0, extent), and the first one behind it."""
    first = min(max(0, -start), size)
    return first, max(first, min(size, extent - start))


@helper
def readers(i: int, offset: int, size: int, stride: int, extent: int) -> Any:
    """Return the first output row whose window has input row i, and the first one behind it."""
    last = (i - offset) // stride
    first = -((size - 1 + offset - i) // stride)
    return max(0, first), max(0, first, min(extent, last + 1))


@helper
def forward_location(
    x: _Array, w: _Array, w_at: int, y: _Array, i: int, j: int, window: Any, stride: Any, offset: Any
) -> None:
    """Overwrite y[i, j] with the filters at `w_at` applied to the window of location (i, j)."""
    channels, batch = x.shape[2], x.shape[3]
    top, left = i * stride[0] + offset[0], j * stride[1] + offset[1]
    k, k_end = inside(top, window[0], x.shape[0])
    n, n_end = inside(left, window[1], x.shape[1])
    x_row, x_column = x.strides[0] // x.itemsize, channels * batch
    product = Product(
        c_at=i * (y.strides[0] // y.itemsize) + j * y.shape[2] * batch,
        c_row=batch,
        a_at=w_at + (k * window[1] + n) * channels,
        a_row=window[0] * window[1] * channels,
        a_k=1,
        a_segment=window[1] * channels,
        x_at=(top + k) * x_row + (left + n) * x_column,
        x_k=batch,
        x_segment=x_row,
        length=(n_end - n) * channels,
        segments=k_end - k,
        rows=y.shape[2],
        width=batch,
    )
    multiply(True, y, w, x, product)


@helper
def input_row(
    dz: _Array,
    w: _Array,
    w_row: int,
    w_column: int,
    dx: _Array,
    i: int,
    window: Any,
    stride: Any,
    offset: Any,
) -> None:
    """Overwrite row i of dx, with filters that lie `w_row` and `w_column` apart from location to location."""
    dx[i] = 0
    channels, batch, filters = dx.shape[2], dx.shape[3], dz.shape[2]
    taps = window[1] * channels
    first, end = readers(i, offset[0], window[0], stride[0], dz.shape[0])
    k = i - offset[0] - first * stride[0]  # the tap by which the first reader reads row i; then it falls
    dz_row = dz.strides[0] // dz.itemsize
    for j in range(dz.shape[1]):
        left = j * stride[1] + offset[1]
        n, n_end = inside(left, window[1], dx.shape[1])
        if w_column:  # the next location's weights lie in runs too short for the processor to foresee
            for r in range(first, end):
                at = r * w_row + (j + 1) * w_column + (k - (r - first) * stride[0]) * taps
                prefetch_runs(w, NextRuns(at, window[0] * taps, filters, taps))
        product = Product(
            c_at=i * (dx.strides[0] // dx.itemsize) + (left + n) * channels * batch,
            c_row=batch,
            a_at=first * w_row + j * w_column + k * taps + n * channels,
            a_row=1,
            a_k=window[0] * taps,
            a_segment=w_row - stride[0] * taps,
            x_at=first * dz_row + j * filters * batch,
            x_k=batch,
            x_segment=dz_row,
            length=filters,
            segments=end - first,
            rows=(n_end - n) * channels,
            width=batch,
        )
        multiply(False, dx, w, dz, product)
