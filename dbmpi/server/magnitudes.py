"""What a precision can hold, and how large the numbers in vectors are."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.server.rules import Bounds

MARGIN = 8.0  # between the largest number that is let through and the largest there is: bounds are rounded


@cache
def largest(dtype: np.dtype[Any]) -> float:
    """Return the largest magnitude that is let through in a precision."""
    return float(np.finfo(dtype).max) / MARGIN


def extremes(vectors: Sequence[Array]) -> Bounds:
    """Return the largest magnitude in each; NaN where one is, 0 where there is nothing."""
    return tuple(max(float(v.max()), -float(v.min())) if v.size else 0.0 for v in vectors)
