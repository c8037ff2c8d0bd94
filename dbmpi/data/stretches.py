"""Some rows of a data set, as a split's: stretches of consecutive rows, which read as one data set. Local."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.rows import Rows
from dbmpi.layout.boxes import Box, Range, extents

SPARSE = 4  # rows read for one that is wanted, at most: where more lie between, each stretch is read alone


@dataclass(frozen=True, eq=False)
class Stretches:
    """Rows of a data set in ascending order: the ranges [start, stop), which do not touch.

    Parameters
    ----------
    starts, stops : int64 arrays
        As many as there are ranges.
    of : int
        Rows of the data set.
    """

    starts: Array
    stops: Array
    of: int

    @classmethod
    def of_mask(cls, chosen_N: Array) -> "Stretches":
        """Return the rows for which a mask is true."""
        edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen_N, [False]])))
        return cls(edges[::2].copy(), edges[1::2].copy(), len(chosen_N))

    @cached_property
    def ends(self) -> Array:
        """How many rows there are up to the end of each range."""
        return np.cumsum(self.stops - self.starts)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def places(self, start: int, stop: int) -> Iterator[Range]:
        """Yield the ranges of the data set that hold the rows [start, stop) of these."""
        if start >= stop:
            return
        first, last = np.searchsorted(self.ends, (start, stop - 1), side="right")
        for number in range(first, last + 1):
            before = int(self.ends[number - 1]) if number else 0
            at = int(self.starts[number]) - before
            yield at + max(start, before), at + min(stop, int(self.ends[number]))


class CutRows:
    """The rows of a data set that are a split's.

    Parameters
    ----------
    rows : Rows
        Of the data set.
    stretches : Stretches
        Which of them.
    """

    def __init__(self, rows: Rows, stretches: Stretches) -> None:
        self._rows, self._stretches = rows, stretches
        self.shape = (stretches.rows, *rows.shape[1:])

    def read(self, out: np.ndarray, box: Box) -> None:
        """Read as `Rows` says: what lies close together in one read."""
        (start, stop), *rest = box
        places = list(self._stretches.places(start, stop))
        if not places:
            return
        first, last = places[0][0], places[-1][1]
        if len(places) > 1 and last - first <= SPARSE * (stop - start):
            whole = np.empty((last - first, *extents(tuple(rest))), out.dtype)
            self._rows.read(whole, ((first, last), *rest))
            np.concatenate([whole[lo - first : hi - first] for lo, hi in places], out=out)
            return
        filled = 0
        for lo, hi in places:
            self._rows.read(out[filled : filled + hi - lo], ((lo, hi), *rest))
            filled += hi - lo

    def check(self) -> None:
        """Check as `Rows` says."""
        self._rows.check()

    def check_complete(self) -> None:
        """Check as `Rows` says, the rows of other splits too."""
        self._rows.check_complete()

    def blank(self) -> bool:
        """Return whether nothing at all was written."""
        return self._rows.blank()

    def carries(self, attribute: str) -> bool:
        """Return whether the data set has an attribute."""
        return self._rows.carries(attribute)


def places_of(stretches: Stretches | None, ranges: Sequence[Range]) -> list[Range]:
    """Return where in the data set the rows of some ranges lie; the same without stretches."""
    if stretches is None:
        return list(ranges)
    return [place for one in ranges for place in stretches.places(*one)]
