"""Fewer points than records, with their peaks. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Array


def thinned(columns: Sequence[Array], most: int) -> NDArray[np.int64]:
    """Return which rows of some columns `(n,)` to keep, ascending: all, or at most `most` and a few.

    The rows are cut into buckets of equal size. Of each those stay that have the least and the largest
    finite value of a column; so do the first row of all, and the last.
    """
    rows = len(columns[0])
    if rows <= most:
        return np.arange(rows)
    buckets = max(1, (most - 2) // (2 * len(columns)))
    edges = np.linspace(0, rows, buckets + 1).astype(np.int64)
    kept = {0, rows - 1}
    for values in columns:
        finite = np.isfinite(values)
        low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
        for first, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            kept.add(first + int(low[first:stop].argmin()))
            kept.add(first + int(high[first:stop].argmax()))
    return np.array(sorted(kept), np.int64)
