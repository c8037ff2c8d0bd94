"""Rows that a virtual data set takes from others, its sources. Local.

Where HDF5 cannot open a source, at any time, it gives zeros and says nothing. So it is never asked to read a
virtual data set: each source is opened here, stays open, and is read by itself, and a value that none of them
gave is an error.
"""

from bisect import bisect_left
from dataclasses import dataclass

import h5py
import numpy as np

from dbmpi.data.grids import Coordinates, Grid, positions, size, stretches
from dbmpi.data.hdf5 import explain_errors
from dbmpi.data.rows import Rows
from dbmpi.layout.boxes import Box, Range

Cut = tuple[slice, ...]  # of a grid, in each dimension


@dataclass(frozen=True)
class Mapping:
    """A grid of a virtual data set, and the grid of a source that holds its values in the same order."""

    ours: Grid
    theirs: Grid
    source: Rows

    def meets(self, box: Box) -> Cut:
        """Return which part of our grid lies in a box."""
        pairs = zip(self.ours, box, strict=True)
        return tuple(slice(bisect_left(one, lo), bisect_left(one, hi)) for one, (lo, hi) in pairs)

    def values(self, cut: Cut, dtype: np.dtype) -> np.ndarray:
        """Return the values of a part of our grid."""
        extents = [part.stop - part.start for part in cut]
        ours, theirs = _longer_than_1(self.ours), _longer_than_1(self.theirs)
        wanted = [slice(0, len(one)) for one in self.theirs]
        if [len(self.ours[d]) for d in ours] == [len(self.theirs[k]) for k in theirs]:
            for d, k in zip(ours, theirs, strict=True):
                wanted[k] = cut[d]
            return self._gather(wanted, dtype).reshape(extents)
        return self._reshaped(cut, wanted, ours[0], theirs[0], dtype)

    def _reshaped(self, cut: Cut, wanted: list[slice], d: int, k: int, dtype: np.dtype) -> np.ndarray:
        """Return the values where the rows have another shape in the source: whole ones, of which we cut."""
        row, their_row = size(self.ours[d + 1 :]), size(self.theirs[k + 1 :])
        start, stop = cut[d].start * row, cut[d].stop * row
        wanted[k] = slice(start // their_row, -(-stop // their_row))
        flat = self._gather(wanted, dtype).ravel()[start - wanted[k].start * their_row :][: stop - start]
        whole = [len(one) for one in self.ours]
        whole[d] = cut[d].stop - cut[d].start
        return flat.reshape(whole)[(*cut[:d], slice(None), *cut[d + 1 :])]

    def _gather(self, wanted: list[slice], dtype: np.dtype) -> np.ndarray:
        """Return the values of a part of their grid, in stretches of consecutive rows of the source."""
        grid = tuple(one[part] for one, part in zip(self.theirs, wanted, strict=True))
        out = np.empty([len(one) for one in grid], dtype)
        if not grid:
            self.source.read(out, ())
            return out
        hulls = tuple(_hull(one) for one in grid[1:])
        inner = positions(grid[1:], tuple(start for start, _ in hulls))
        for start, stop in stretches(grid[0]):
            box = (_hull(grid[0][start:stop]), *hulls)
            block = np.empty([last - first for first, last in box], dtype)
            self.source.read(block, box)
            out[start:stop] = block[(slice(None), *inner)]
        return out


class VirtualRows:
    """The rows of a virtual data set.

    Parameters
    ----------
    stored : h5py.Dataset
    where : str
        File and data set, for messages.
    shape : tuple of int
        Of the data set when its mappings were looked at: HDF5 lets one without limit grow and shrink.
    mappings : list of Mapping
        Where two overlap, the later one gives the values.
    """

    def __init__(
        self, stored: h5py.Dataset, where: str, shape: tuple[int, ...], mappings: list[Mapping]
    ) -> None:
        self._stored, self._where, self.shape = stored, where, shape
        self._mappings = mappings = [one for one in mappings if one.ours and size(one.ours)]
        self._sources = list({id(one.source): one.source for one in mappings}.values())
        self._used: dict[int, Rows] = {}
        self._first = np.array([one.ours[0][0] for one in mappings])
        self._last = np.array([one.ours[0][-1] for one in mappings])

    def read(self, out: np.ndarray, box: Box) -> None:
        """Read as `Rows` says."""
        with explain_errors(self._where):
            unread = np.ones(out.shape, bool)
            start, stop = box[0]
            for number in np.flatnonzero((self._first < stop) & (self._last >= start)):
                self._take(self._mappings[number], out, unread, box)
            if unread.any():
                raise OSError(f"no source gives all values of rows {start} to {stop - 1}; map all of them")

    def _take(self, mapping: Mapping, out: np.ndarray, unread: np.ndarray, box: Box) -> None:
        """Let one source give what it has of a box."""
        cut = mapping.meets(box)
        if any(part.start >= part.stop for part in cut):
            return
        part = tuple(one[where] for one, where in zip(mapping.ours, cut, strict=True))
        at = positions(part, tuple(start for start, _ in box))
        self._used[id(mapping.source)] = mapping.source
        out[at] = mapping.values(cut, out.dtype)
        unread[at] = False

    def check(self) -> None:
        """Check as `Rows` says."""
        while self._used:
            self._used.popitem()[1].check()

    def check_complete(self) -> None:
        """Check as `Rows` says, every source."""
        for source in self._sources:
            source.check_complete()

    def blank(self) -> bool:
        """Return False: there is something to take rows from."""
        return False

    def carries(self, attribute: str) -> bool:
        """Return whether this data set has the attribute, or a source of it has."""
        return attribute in self._stored.attrs or any(one.carries(attribute) for one in self._sources)


def _longer_than_1(grid: Grid) -> list[int]:
    return [d for d, one in enumerate(grid) if len(one) > 1]


def _hull(coordinates: Coordinates) -> Range:
    return int(coordinates[0]), int(coordinates[-1]) + 1
