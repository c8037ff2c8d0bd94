"""Names for the array types that signatures use; without `numpy.typing`, which takes time to load."""

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]  # of numbers; the docstring or the name gives the shape
Record: TypeAlias = np.ndarray[Any, np.dtype[Any]]  # one record, `()`, or several, as in `comm.protocol`
