"""Windows of an image as rows of contiguous taps, for gradients of weights: their vectors run over taps.

The image is turned once to batch-major order (B, H, U), U = W C. Then for each column of locations, some rows
of it at a time, the inputs under the column's windows are copied together, (B, T): the taps of each location
are a slice of that. Letters: H, W rows and columns, C channels, B minibatch, T taps.
"""

import numpy as np

from kernels.jit import helper
from kernels.layers.windows import inside
from kernels.llvm.matmul import Product
from kernels.llvm.vector import Runs, Square, copy_runs, lanes, transpose_square

_Array = np.ndarray
_CACHE = 1 << 19  # bytes of copied taps that a level 2 cache holds beside the rest


@helper
def rows_together(x: _Array, height: int, taps: int, stride: int) -> int:
    """Return of how many locations of a column the taps are copied together; at least 1."""
    input_rows = _CACHE // (x.itemsize * x.shape[3] * taps)
    return max(1, (input_rows - height) // stride + 1)


@helper
def turn_row(x: _Array, i: int, out_BHU: _Array) -> None:
    """Write row i of x (H, W, C, B) to its place in a batch-major copy (B, H, W * C)."""
    units, batch = x.shape[1] * x.shape[2], x.shape[3]
    x_at, out_at, out_row = i * (x.strides[0] // x.itemsize), i * units, x.shape[0] * units
    side = lanes(x)
    units_in, batch_in = units - units % side, batch - batch % side  # what squares cover
    for u in range(0, units_in, side):
        for b in range(0, batch_in, side):
            square = Square(x_at + u * batch + b, batch, out_at + b * out_row + u, out_row)
            transpose_square(x, out_BHU, square)
    for u in range(units):
        for b in range(batch_in if u < units_in else 0, batch):
            out_BHU[b, i, u] = x[i, u // x.shape[2], u % x.shape[2], b]


@helper
def copy_taps(x_BHU: _Array, channels: int, top: int, left: int, rows: int, columns: int) -> _Array:
    """Return `rows` x `columns` x C taps from location (top, left) on, (B, taps); 0 where x has none."""
    taps, batch = columns * channels, x_BHU.shape[0]
    n, n_end = inside(left, columns, x_BHU.shape[2] // channels)
    k, k_end = inside(top, rows, x_BHU.shape[1])
    out = np.empty((batch, rows * taps), x_BHU.dtype)
    if k > 0 or k_end < rows or n > 0 or n_end < columns:
        out[:] = 0
    row = x_BHU.shape[2]
    for b in range(batch if n_end > n else 0):
        x_at, out_at = (b * x_BHU.shape[1] + top + k) * row + (left + n) * channels, b * rows * taps
        begin, length = out_at + k * taps + n * channels, (n_end - n) * channels
        runs = Runs(x_at, row, out_at=begin, out_step=taps, count=k_end - k, length=length)
        copy_runs(x_BHU, out, runs)
    return out


@helper
def weights_product(
    dw_at: int, dz: _Array, i: int, j: int, taps_BT: _Array, start: int, size: int, segments: int, step: int
) -> Product:
    """Return the product of dz[i, j] with the taps from `start` on, which goes to `dw_at`, for `multiply`.

    Further segments are the locations below (i, j), whose taps are `step` elements apart.
    """
    filters, batch = dz.shape[2], dz.shape[3]
    dz_row = dz.strides[0] // dz.itemsize
    return Product(
        c_at=dw_at,
        c_row=size,
        a_at=i * dz_row + j * filters * batch,
        a_row=batch,
        a_k=1,
        a_segment=dz_row,
        x_at=start,
        x_k=taps_BT.shape[1],
        x_segment=step,
        length=batch,
        segments=segments,
        rows=filters,
        width=size,
    )
