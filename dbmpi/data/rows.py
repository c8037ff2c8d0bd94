"""The rows of a data set that was opened, wherever they lie; and those that lie in its own file. Local."""

from typing import Protocol

import h5py
import numpy as np
from h5py import h5s

from dbmpi.data.completeness import check_stored
from dbmpi.data.hdf5 import explain_errors
from dbmpi.data.watch import Watch
from dbmpi.layout.boxes import Box


class Rows(Protocol):
    """A data set that was opened; `shape` is as it was then."""

    shape: tuple[int, ...]

    def read(self, out: np.ndarray, box: Box) -> None:
        """Fill `out`, C-ordered and of the extents of the box; UserError where a value cannot be had."""

    def check(self) -> None:
        """Raise UserError if somebody touched a file that was read since the last check."""

    def check_complete(self) -> None:
        """Raise UserError unless all rows were written, as far as the files tell."""

    def blank(self) -> bool:
        """Return whether nothing at all was written."""

    def carries(self, attribute: str) -> bool:
        """Return whether the data set has an attribute, or one has from which it takes rows."""


class StoredRows:
    """The rows that lie in the file of their data set.

    Parameters
    ----------
    stored : h5py.Dataset
    where : str
        File and data set, for messages.
    watch : Watch
        Of the file.
    """

    def __init__(self, stored: h5py.Dataset, where: str, watch: Watch) -> None:
        self._stored, self._where, self._watch = stored, where, watch
        self.shape = tuple(int(extent) for extent in stored.shape)

    def read(self, out: np.ndarray, box: Box) -> None:
        """Read as `Rows` says.

        By HDF5's own calls: what h5py does around them in Python takes several times as long as a small read,
        and the thread that computes waits for the interpreter meanwhile.
        """
        with explain_errors(self._where):
            if out.size:
                stored, extents = self._stored.id, tuple(stop - start for start, stop in box)
                space = stored.get_space()
                space.select_hyperslab(tuple(start for start, _ in box), extents)
                stored.read(h5s.create_simple(extents), space, out)

    def check(self) -> None:
        """Check as `Rows` says."""
        with explain_errors(self._where):
            self._watch.check()

    def check_complete(self) -> None:
        """Check as `Rows` says, by one walk through the index of the chunks."""
        with explain_errors(self._where):
            check_stored(self._stored, self._watch.size, self._where)

    def blank(self) -> bool:
        """Return whether nothing at all was written."""
        return not self._stored.id.get_storage_size()

    def carries(self, attribute: str) -> bool:
        """Return whether the data set has the attribute."""
        return attribute in self._stored.attrs
