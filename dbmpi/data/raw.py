"""Rows that lie in raw files ("external storage"), one after another in row-major order. Local.

HDF5 opens a raw file anew for every read, and gives zeros for what lies behind its end. So the files are
opened here, once, and read byte by byte.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path

import h5py
import numpy as np

from dbmpi.data.hdf5 import explain_errors
from dbmpi.data.places import raw_of
from dbmpi.data.watch import Watch
from dbmpi.errors import UserError
from dbmpi.layout.boxes import Box

_LARGEST_READ = 1 << 30  # bytes; Linux reads no more than 2 GiB at once


@dataclass(frozen=True)
class _Segment:
    """Bytes [first, last) of all values, which begin at byte `start` of an open file."""

    where: str
    descriptor: int
    watch: Watch
    first: int
    last: int
    start: int

    def read(self, first: int, last: int) -> bytes:
        """Return the bytes [first, last) of all values, all of them."""
        with explain_errors(self.where):
            found = bytearray()
            while wanted := last - first - len(found):
                at = self.start + first - self.first + len(found)
                piece = os.pread(self.descriptor, min(wanted, _LARGEST_READ), at)
                if not piece:
                    raise OSError(f"it ends after {at} bytes, {wanted} too early")
                found += piece
            return bytes(found)


class RawRows:
    """The rows of a data set with external storage.

    Parameters
    ----------
    stored : h5py.Dataset
    where : str
        File and data set, for messages.
    files : ExitStack
        Which will close the raw files.

    Raises
    ------
    UserError
        A raw file cannot be opened, or they hold too little.
    """

    def __init__(self, stored: h5py.Dataset, where: str, files: ExitStack) -> None:
        self._stored, self._where, self._dtype = stored, where, stored.dtype
        self.shape = tuple(int(extent) for extent in stored.shape)
        self._segments: list[_Segment] = []
        total, end = prod(self.shape) * self._dtype.itemsize, 0
        for name, start, size in stored.external:
            path, last = raw_of(name, Path(stored.file.filename)), min(end + size, total)
            self._segments.append(_opened(path, f"{where} (rows in {path})", end, last, start, files))
            end = last
        if end < total:
            raise UserError(
                f"{where} has {total} bytes, of which it maps {end} to raw files: map all of them"
            )
        self.check_complete()

    def read(self, out: np.ndarray, box: Box) -> None:
        """Read as `Rows` says: whole rows, of which the box is cut."""
        with explain_errors(self._where):
            (first, last), *others = box
            row = prod(self.shape[1:]) * self._dtype.itemsize
            raw = b"".join(self._pieces(first * row, last * row))
            values = np.frombuffer(raw, self._dtype).reshape(last - first, *self.shape[1:])
            out[...] = values[(slice(None), *(slice(*edges) for edges in others))]

    def _pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes [start, stop) of all values, file by file."""
        for one in self._segments:
            first, last = max(start, one.first), min(stop, one.last)
            if first < last:
                yield one.read(first, last)

    def check(self) -> None:
        """Check as `Rows` says."""
        for one in self._segments:
            with explain_errors(one.where):
                one.watch.check()

    def check_complete(self) -> None:
        """Check that every raw file reaches as far as the rows are to."""
        for one in self._segments:
            if one.watch.size < (wanted := one.start + one.last - one.first):
                raise UserError(
                    f"{one.where}: the raw file is to have {wanted} bytes, but has {one.watch.size}; copy it "
                    "again, or store the rows in the file itself"
                )

    def blank(self) -> bool:
        """Return False: the raw files are there."""
        return False

    def carries(self, attribute: str) -> bool:
        """Return whether the data set has the attribute."""
        return attribute in self._stored.attrs


def _opened(path: Path, where: str, first: int, last: int, start: int, files: ExitStack) -> _Segment:
    with explain_errors(where):
        if not path.is_file():
            raise UserError(
                f"{where}: there is no such raw file; start the program in the directory that holds it, or "
                "store the rows in the file itself"
            )
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        files.callback(os.close, descriptor)
        return _Segment(where, descriptor, Watch(path, descriptor, by_name=True), first, last, start)
