"""See the bits of a float as an integer, and an integer's as a float: what NumPy's `view` is to arrays."""

from functools import cache
from typing import Any

from kernels.deferred import intrinsic, types


@cache
def _twins() -> dict[Any, Any]:
    integers = {types.float32: types.int32, types.float64: types.int64}
    return integers | {integer: real for real, integer in integers.items()}


def _reinterpret(typing_context: Any, value: Any) -> Any:
    """Reinterpret a float32, int32, float64 or int64 scalar as its twin of the same width, in a kernel."""
    if value not in _twins():
        return None
    signature = _twins()[value](value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return signature, generate


reinterpret: Any = intrinsic(_reinterpret)
