"""Matrix products C = A B, by BLAS: on one thread as NumPy calls it, on several each computes a part of C.

Letters: M N rows and columns of C, K what is summed over.
"""

import numpy as np

from kernels import jit
from kernels.deferred import prange
from kernels.jit import threaded_kernel
from kernels.llvm import blas
from kernels.llvm.blas import Gemm, gemm

_Array = np.ndarray

_PRODUCTS = 128  # so many multiplications take as long as another kernel takes for an element
_WIDE = 8  # a matrix that much wider than high is cut into columns: rows lie together, and stay with a core
# A long product has two parts for each thread, so that others can take what one leaves; as each part reads
# all of one operand, a short one has no more parts than threads. In multiplications of a part:
_LONG = 1 << 26

_found: bool | None = None


@threaded_kernel
def _in_parts(
    a: _Array, b: _Array, c_MN: _Array, a_turned: bool, b_turned: bool, parts: int, wide: bool
) -> None:
    """Overwrite c with a b, cut into `parts` groups of rows, or of columns where it is `wide`."""
    m, n = c_MN.shape
    k = a.shape[0] if a_turned else a.shape[1]
    a_row, b_row = max(a.strides[0] // a.itemsize, a.shape[1]), max(b.strides[0] // b.itemsize, b.shape[1])
    c_row = max(c_MN.strides[0] // c_MN.itemsize, n)
    for part in prange(parts):
        i, i_end, j, j_end = 0, m, 0, n
        if wide:
            j, j_end = n * part // parts, n * (part + 1) // parts
        else:
            i, i_end = m * part // parts, m * (part + 1) // parts
        product = Gemm(
            rows=i_end - i,
            columns=j_end - j,
            terms=k,
            a_at=i if a_turned else i * a_row,
            a_row=a_row,
            a_turned=a_turned,
            b_at=j * b_row if b_turned else j,
            b_row=b_row,
            b_turned=b_turned,
            c_at=i * c_row + j,
            c_row=c_row,
        )
        gemm(a, b, c_MN, product)


def multiply(a_MK: _Array, b_KN: _Array, c_MN: _Array) -> None:
    """Overwrite c with a b.

    Local.

    Parameters
    ----------
    a_MK, b_KN : float array (M, K), (K, N)
        Of one dtype; rows or columns contiguous.
    c_MN : float array (M, N)
        Overwritten; rows contiguous.
    """
    work = c_MN.size * a_MK.shape[1]
    if not jit.pays(work // _PRODUCTS) or not _have_blas():
        np.matmul(a_MK, b_KN, out=c_MN)
        return
    (a, a_turned), (b, b_turned) = _as_rows(a_MK), _as_rows(b_KN)
    wide = c_MN.shape[1] > _WIDE * c_MN.shape[0]
    parts = jit.threads() * (2 if work > 2 * jit.threads() * _LONG else 1)
    _in_parts(a, b, c_MN, a_turned, b_turned, parts, wide)


def _have_blas() -> bool:
    global _found
    if _found is None:
        _found = blas.find(blas.of_numpy())
    return _found


def _as_rows(x: _Array) -> tuple[_Array, bool]:
    """Return a matrix whose rows are contiguous, and whether it is the transposed one."""
    return (x, False) if x.strides[1] == x.itemsize else (x.T, True)
