"""See the bits of a float as an integer, and an integer's as a float: what NumPy's `view` is to arrays."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_TWIN = {types.float32: types.int32, types.int32: types.float32, types.float64: types.int64, types.int64: types.float64}


@intrinsic
def reinterpret(typing_context: Any, value: Any) -> Any:
    """Reinterpret a float32, int32, float64 or int64 scalar as its twin of the same width; for use in kernels."""
    if value not in _TWIN:
        return None
    signature = _TWIN[value](value)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return signature, generate
