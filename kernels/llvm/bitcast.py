"""See the bits of a float as an integer, and an integer's as a float: what NumPy's `view` is to arrays."""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

_INTEGER: dict[Any, Any] = {types.float32: types.int32, types.float64: types.int64}
_TWIN = _INTEGER | {integer: real for real, integer in _INTEGER.items()}


def _reinterpret(typing_context: Any, value: Any) -> Any:
    """Reinterpret a float32, int32, float64 or int64 scalar as its twin of the same width, in a kernel."""
    if value not in _TWIN:
        return None
    signature = _TWIN[value](value)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return signature, generate


reinterpret: Any = intrinsic(_reinterpret)
