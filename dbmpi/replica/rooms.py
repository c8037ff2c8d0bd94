"""Vectors of a partition that travel, in memory which shards on its node can map."""

import weakref
from typing import Any

import numpy as np

from dbmpi.arrays import Array, Record
from dbmpi.comm.segments import AREA, Segment

NOWHERE = np.zeros((), AREA)


class Rooms:
    """Makes vectors, and knows where they lie.

    Parameters
    ----------
    shared
        Whether there is a shard on this node; else a vector is memory of this process alone, as it is
        where no segment can be made.
    """

    def __init__(self, shared: bool) -> None:
        self._shared = shared
        self._made: list[tuple[Segment, weakref.ref[Array]]] = []

    def take(self, size: int, dtype: np.dtype[Any]) -> Array:
        """Return a vector of zeros or of what was there: one that nobody uses any more, or a new one."""
        if not self._shared:
            return np.zeros(size, dtype)
        segment = self._free(size * dtype.itemsize) or self._new(size * dtype.itemsize)
        if segment is None:
            return np.zeros(size, dtype)
        values = segment.view(dtype)
        self._made.append((segment, weakref.ref(values)))
        return values

    def _free(self, size: int) -> Segment | None:
        """Take the segment of a vector that nobody uses any more, if there is one of that size."""
        for i, (segment, used) in enumerate(self._made):
            if used() is None and segment.area["bytes"] == size:
                del self._made[i]
                return segment
        return None

    def _new(self, size: int) -> Segment | None:
        try:
            return Segment(size)
        except OSError:
            return None

    def area(self, values: Array) -> Record:
        """Return where a vector lies, as others see it; `NOWHERE` if they cannot."""
        return next((segment.area for segment, used in self._made if used() is values), NOWHERE)
