"""Names for the array types that signatures use."""

from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]  # of numbers; the name's shape letters or the docstring give the shape
Record: TypeAlias = NDArray[Any]  # one record, `()`, or several, of a layout in `comm.protocol`
