"""Linear combinations, products and dot products of the rows of a matrix, in one pass over memory.

`v_VN` holds V vectors of N elements as rows, float32 or float64, C-contiguous; K is the number of terms or
pairs. Row numbers are not checked: the caller does it. Rows are read in blocks, long enough for the processor
to fetch ahead what is read next.
"""

import numpy as np

from kernels.deferred import prange
from kernels.jit import helper, parallel_kernel
from kernels.llvm.pairs import CELLS, cover
from kernels.llvm.rows import LANES, Terms, TileRange, products, weigh

_Array = np.ndarray

# Elements of a row at a time. In blocks of 2,000 memory is half as fast: reading ahead starts anew at each;
# longer ones would leave the second cache while several groups of rows go by.
_BLOCK = 1 << 14

# Rows read side by side: beyond 13 or so a processor loses track of them, and takes three times as long.
_STREAMS = 12

# A tile of products takes as long as so many single ones, however few of its products are asked for.
_TILE_COST = 5


@helper
def _blocks(n: int) -> int:
    return (n + _BLOCK - 1) // _BLOCK


@parallel_kernel
def combine(v_VN: _Array, rows: _Array, factors: _Array, out: int) -> None:
    """Set a row to a linear combination of rows: v[out] := sum_k factors[k] v[rows[k]].

    Local. Each term comes from memory once; the sums are float64, rounded once, which costs no time.

    Parameters
    ----------
    v_VN : float array (V, N)
        The vectors.
    rows : int64 array (K,)
        Row of each term; a row may come several times, and be `out`. Without terms the sum is 0.
    factors : float64 array (K,)
        Factor of each term.
    out : int
        The row overwritten.
    """
    n, terms = v_VN.shape[1], rows.size
    groups = max(1, (terms + _STREAMS - 1) // _STREAMS)
    for b in prange(_blocks(n)):
        at = b * _BLOCK
        length = min(_BLOCK, n - at)
        sums = np.empty(length + LANES if groups > 1 else 0)
        for j in range(groups):
            first, last = terms * j // groups, terms * (j + 1) // groups
            weigh(v_VN, rows, factors, sums, Terms(first, last, at, length, out))


@parallel_kernel
def dots(v_VN: _Array, left: _Array, right: _Array, partial: _Array) -> None:
    """Dot pairs of rows: partial[k] := v[left[k]] . v[right[k]].

    Local. Products and sums are float64. For one N the bits are always the same, on any number of threads.

    Parameters
    ----------
    v_VN : float array (V, N)
        The vectors. Each comes from memory once; it is done soonest if a few of them take part in all pairs.
    left, right : int64 array (K,)
        Rows of each pair.
    partial : float64 array (K,)
        The dots, overwritten.
    """
    n = v_VN.shape[1]
    tiles, cells = cover(v_VN.shape[0], left, right)
    single = left.size <= _TILE_COST * len(tiles)
    sums = np.empty((_blocks(n), left.size if single else len(tiles) * CELLS))
    for b in prange(_blocks(n)):
        at, end = b * _BLOCK, min(n, (b + 1) * _BLOCK)
        if single:
            _dot_pairs(v_VN, left, right, at, end, sums[b])
        else:
            for t in range(len(tiles)):
                sums_at = (b * len(tiles) + t) * CELLS
                products(v_VN, tiles, sums, TileRange(t, at, end - at, sums_at))
    _add_blocks(sums, np.arange(left.size) if single else cells, partial)


@helper
def _dot_pairs(v_VN: _Array, left: _Array, right: _Array, at: int, end: int, sums: _Array) -> None:
    for k in range(left.size):
        sums[k] = _dot(v_VN[left[k], at:end], v_VN[right[k], at:end])


@helper
def _dot(x: _Array, y: _Array) -> float:
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(y[i])
    return total


@helper
def _add_blocks(sums: _Array, cells: _Array, partial: _Array) -> None:
    for k in range(cells.size):
        total = 0.0
        for b in range(len(sums)):
            total += sums[b, cells[k]]
        partial[k] = total


@parallel_kernel
def multiply(v_VN: _Array, left: int, right: int, out: int) -> None:
    """Multiply two rows, coefficient by coefficient: v[out] := v[left] v[right].

    Local.

    Parameters
    ----------
    v_VN : float array (V, N)
        The vectors.
    left, right, out : int
        Rows; `out`, which may be one of the others, is overwritten.
    """
    n = v_VN.shape[1]
    if out == right:
        left, right = right, left
    for b in prange(_blocks(n)):
        at, end = b * _BLOCK, min(n, (b + 1) * _BLOCK)
        if out == left:  # LLVM vectorizes no loop over an array that it meets under two names
            _multiply_by(v_VN[out, at:end], v_VN[right, at:end])
        else:
            _multiply(v_VN[left, at:end], v_VN[right, at:end], v_VN[out, at:end])


@helper
def _multiply_by(y: _Array, x: _Array) -> None:
    for i in range(y.size):
        y[i] *= x[i]


@helper
def _multiply(x: _Array, y: _Array, out: _Array) -> None:
    for i in range(out.size):
        out[i] = x[i] * y[i]


@parallel_kernel
def commit(
    v_VN: _Array, parameters: int, gradient: int, base: int, base_gradient: int, step: int, change: int
) -> None:
    """End an iteration: keep what changed since the last, and let the bases follow.

    Local. v[step] := v[parameters] - v[base], v[base] := v[parameters]; v[change] := v[gradient] -
    v[base_gradient], v[base_gradient] := v[gradient].

    Parameters
    ----------
    v_VN : float array (V, N)
        The vectors.
    parameters, gradient, base, base_gradient, step, change : int
        Rows, all different; the last four are overwritten.
    """
    n = v_VN.shape[1]
    for b in prange(_blocks(n)):
        at, end = b * _BLOCK, min(n, (b + 1) * _BLOCK)
        _follow(v_VN[parameters, at:end], v_VN[base, at:end], v_VN[step, at:end])
        _follow(v_VN[gradient, at:end], v_VN[base_gradient, at:end], v_VN[change, at:end])


@helper
def _follow(x: _Array, base: _Array, step: _Array) -> None:
    for i in range(x.size):
        value = x[i]
        step[i] = value - base[i]
        base[i] = value
