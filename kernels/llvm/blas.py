"""Matrix products by the BLAS that NumPy has loaded, called from kernels: each call on one thread."""

import ctypes
from typing import Any, NamedTuple

import numpy as np

from kernels.deferred import binding, cgutils, intrinsic, ir, types
from kernels.llvm.vector import data, numbers

ROW_MAJOR, AS_STORED, TRANSPOSED = 101, 111, 112  # of cblas.h

# How NumPy's library names cblas_?gemm: OpenBLAS with integers of 64 bits, in two generations of wheels; then
# the standard, as in Linux distributions, conda and MKL. There integers have 32 bits: of those of 64 that
# kernels pass the lower half is read, in a register or in a word of the stack.
_PREFIXES = ("scipy_cblas_{}gemm64_", "cblas_{}gemm64_", "cblas_{}gemm")
SYMBOL = "dbmpi_{}gemm"  # by which kernels call it
_LETTERS = {"float32": "s", "float64": "d"}
_SET_THREADS = (  # what tells a library how many threads to use
    "scipy_openblas_set_num_threads64_",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
    "MKL_Set_Num_Threads",
    "bli_thread_set_num_threads",
)


class Gemm(NamedTuple):
    """Which product `gemm` computes: c[m, n] = sum over k of a[m, k] b[k, n].

    Each matrix is where its array begins, `*_at` elements on, its rows `*_row` elements apart; of one that is
    turned the columns are.
    """

    rows: Any
    columns: Any
    terms: Any
    a_at: Any
    a_row: Any
    a_turned: Any
    b_at: Any
    b_row: Any
    b_turned: Any
    c_at: Any
    c_row: Any


def _gemm(typing_context: Any, a: Any, b: Any, c: Any, product: Any) -> Any:
    """Overwrite a part of `c` with a product of parts of `a` and `b`, in a kernel. Nothing is checked.

    Parameters
    ----------
    a, b, c : float array, of any shape and one dtype
        Taken as their flat memory from the first element on.
    product : Gemm
        Which elements.
    """
    if not a.dtype == b.dtype == c.dtype or str(c.dtype) not in _LETTERS:
        return None
    name = SYMBOL.format(_LETTERS[str(c.dtype)])

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        real, word = context.get_value_type(c.dtype), ir.IntType(64)
        pointers = data(context, builder, (a, b, c), arguments[:3])
        p = Gemm(*numbers(context, builder, product, arguments[3]))
        of_a, of_b, of_c = (
            builder.gep(pointer, [at]) for pointer, at in zip(pointers, (p.a_at, p.b_at, p.c_at), strict=True)
        )
        turns = [
            builder.select(builder.icmp_signed("!=", turned, word(0)), word(TRANSPOSED), word(AS_STORED))
            for turned in (p.a_turned, p.b_turned)
        ]
        given = [word(ROW_MAJOR), *turns, p.rows, p.columns, p.terms, real(1), of_a, p.a_row]
        given += [of_b, p.b_row, real(0), of_c, p.c_row]
        kind = ir.FunctionType(ir.VoidType(), [one.type for one in given])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)
        return context.get_dummy_value()

    return types.void(a, b, c, product), generate


gemm: Any = intrinsic(_gemm)


def find(library: Any) -> bool:
    """Let kernels call the products of a loaded library, each on one thread; return whether it can be done.

    Local. To be called before a kernel that multiplies is loaded. The library uses one thread from here on.

    Parameters
    ----------
    library : ctypes.CDLL
        A library that has them, or depends on one that does.
    """
    setters = [getattr(library, name) for name in _SET_THREADS if hasattr(library, name)]
    for prefix in _PREFIXES:
        found = {letter: getattr(library, prefix.format(letter), None) for letter in "sd"}
        if setters and all(found.values()):
            for letter, function in found.items():
                address = ctypes.cast(function, ctypes.c_void_p).value  # type: ignore[arg-type]
                binding.add_symbol(SYMBOL.format(letter), address)
            for setter in setters:
                setter(ctypes.c_int(1))
            return True
    return False


def of_numpy() -> Any:
    """Return the library of NumPy that its BLAS is linked to."""
    core = getattr(np, "_core", None) or np.core
    return ctypes.CDLL(core._multiarray_umath.__file__)
