"""Gather the examples of a minibatch, from rows of a data set (N, I) to columns of an input (I, B).

Letters: N examples of the data set, I values of each, B examples of the minibatch.
"""

import numpy as np

from kernels.deferred import prange
from kernels.jit import helper, parallel_kernel_sized_by

_Array = np.ndarray

_BLOCK = 256  # units that one thread writes, at most: of rows, as two that wrote columns would share lines


@parallel_kernel_sized_by(4)
def gather_transpose(raw_NI: _Array, rows_B: _Array, scale: float, offset: float, out_IB: _Array) -> None:
    """Gather examples into the columns of a minibatch: out[i, b] = raw[rows[b], i] scale + offset.

    Local.

    Parameters
    ----------
    raw_NI : real array (N, I)
        Examples as rows, of any integer or float dtype.
    rows_B : int64 array (B,)
        Which examples.
    scale, offset : float
        Taken in the precision of the output.
    out_IB : float array (I, B)
        Out: the minibatch, units-major.
    """
    scale_out, offset_out = out_IB.dtype.type(scale), out_IB.dtype.type(offset)
    units, whole = out_IB.shape[0], rows_B.size // 8
    blocks = (units + _BLOCK - 1) // _BLOCK
    for block in prange(blocks):
        first, end = units * block // blocks, units * (block + 1) // blocks
        for octet in range(whole):
            _gather_octet(raw_NI, rows_B, scale_out, offset_out, out_IB, np.int64(octet) * 8, first, end)
        for b in range(whole * 8, rows_B.size):
            for i in range(first, end):
                out_IB[i, b] = out_IB.dtype.type(raw_NI[rows_B[b], i]) * scale_out + offset_out


@parallel_kernel_sized_by(4)
def gather_transpose_scaled(
    raw_NI: _Array, rows_B: _Array, scale_I: _Array, offset_I: _Array, out_IB: _Array
) -> None:
    """Do as `gather_transpose` with numbers of each value: out[i, b] = raw[rows[b], i] scale[i] + offset[i].

    Local.

    Parameters
    ----------
    raw_NI, rows_B, out_IB
        As there.
    scale_I, offset_I : float array (I,)
        float64 where that is the dtype of `raw_NI`, so that a column far from 0 keeps what it differs by;
        else of the dtype of the output.
    """
    units, whole = out_IB.shape[0], rows_B.size // 8
    blocks = (units + _BLOCK - 1) // _BLOCK
    for block in prange(blocks):
        first, end = units * block // blocks, units * (block + 1) // blocks
        for octet in range(whole):
            _scale_octet(raw_NI, rows_B, scale_I, offset_I, out_IB, np.int64(octet) * 8, first, end)
        for b in range(whole * 8, rows_B.size):
            for i in range(first, end):
                x = scale_I.dtype.type(raw_NI[rows_B[b], i])
                out_IB[i, b] = out_IB.dtype.type(x * scale_I[i] + offset_I[i])


@helper
def _scale_octet(
    raw_NI: _Array,
    rows_B: _Array,
    scale_I: _Array,
    offset_I: _Array,
    out_IB: _Array,
    b: int,
    first: int,
    end: int,
) -> None:
    # As `_gather_octet`.
    real, wide = out_IB.dtype.type, scale_I.dtype.type
    n0, n1, n2, n3 = rows_B[b], rows_B[b + 1], rows_B[b + 2], rows_B[b + 3]
    n4, n5, n6, n7 = rows_B[b + 4], rows_B[b + 5], rows_B[b + 6], rows_B[b + 7]
    for i in range(first, end):
        s, o = scale_I[i], offset_I[i]
        out_IB[i, b] = real(wide(raw_NI[n0, i]) * s + o)
        out_IB[i, b + 1] = real(wide(raw_NI[n1, i]) * s + o)
        out_IB[i, b + 2] = real(wide(raw_NI[n2, i]) * s + o)
        out_IB[i, b + 3] = real(wide(raw_NI[n3, i]) * s + o)
        out_IB[i, b + 4] = real(wide(raw_NI[n4, i]) * s + o)
        out_IB[i, b + 5] = real(wide(raw_NI[n5, i]) * s + o)
        out_IB[i, b + 6] = real(wide(raw_NI[n6, i]) * s + o)
        out_IB[i, b + 7] = real(wide(raw_NI[n7, i]) * s + o)


@helper
def _gather_octet(
    raw_NI: _Array, rows_B: _Array, scale: float, offset: float, out_IB: _Array, b: int, first: int, end: int
) -> None:
    # Eight rows are read in order, eight neighbours are written: twice the speed of a blocked double loop,
    # whose gathers or scattered stores LLVM does not turn into a transposition in registers.
    real = out_IB.dtype.type
    n0, n1, n2, n3 = rows_B[b], rows_B[b + 1], rows_B[b + 2], rows_B[b + 3]
    n4, n5, n6, n7 = rows_B[b + 4], rows_B[b + 5], rows_B[b + 6], rows_B[b + 7]
    for i in range(first, end):
        out_IB[i, b] = real(raw_NI[n0, i]) * scale + offset
        out_IB[i, b + 1] = real(raw_NI[n1, i]) * scale + offset
        out_IB[i, b + 2] = real(raw_NI[n2, i]) * scale + offset
        out_IB[i, b + 3] = real(raw_NI[n3, i]) * scale + offset
        out_IB[i, b + 4] = real(raw_NI[n4, i]) * scale + offset
        out_IB[i, b + 5] = real(raw_NI[n5, i]) * scale + offset
        out_IB[i, b + 6] = real(raw_NI[n6, i]) * scale + offset
        out_IB[i, b + 7] = real(raw_NI[n7, i]) * scale + offset
