"""The data sets of an HDF5 file as named arrays, also those that links lead to, or that lie in other files.

They are read as training reads them (`data.sources`): what was never written, or cannot be reached, is an
error, where HDF5 itself gives zeros.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.file_types import PANDAS
from dbmpi.data.guess import data_sets, written_by_pandas
from dbmpi.data.hdf5 import explain_errors, opened
from dbmpi.data.labels import is_text
from dbmpi.data.rows import Rows
from dbmpi.data.sources import Sources
from dbmpi.errors import UserError
from dbmpi.layout.boxes import Box
from dbmpi.prepare import matlab
from dbmpi.prepare.stream import Stream, explained, unusable

NEITHER = "holds neither numbers nor texts, but {}: write an array of numbers or texts"


class DataSets(Mapping[str, Stream]):
    """The data sets of a file, by their paths.

    Parameters
    ----------
    path
        Of the file.
    transposed
        Whether the last axis comes first, as MATLAB writes its arrays.
    files
        Which will close all that is opened.
    """

    def __init__(self, path: Path, transposed: bool, files: ExitStack) -> None:
        file = files.enter_context(opened(path))
        self._path, self._transposed, self._sources = path, transposed, Sources(path, file, files)
        with explain_errors(f"{path}: the file"):
            sets = data_sets(file)
            if written_by_pandas(file, sets):
                raise UserError(f"{path}: {PANDAS.said(path)}")
            self._names = [name for name, one in sets.items() if one.shape and not name.startswith("#")]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names or (isinstance(name, str) and self._leads(name))

    def _leads(self, name: str) -> bool:
        """Return whether a name leads to a data set with rows, be it by links."""
        with explain_errors(f"{self._path}: {name}"):
            return self._sources.leads(name) and bool(self._sources.data_set(name).shape)

    def __getitem__(self, name: str) -> Stream:
        """Return a data set. Raises UserError where it is damaged, or rows of it cannot be had."""
        where = f"{self._path}: {name}"
        with explain_errors(where):
            stored = self._sources.data_set(name)
            shape = stored.shape[::-1] if self._transposed else stored.shape
            if self._transposed and (texts := matlab.texts(stored)):
                return texts
            if stored.dtype.hasobject and not is_text(stored.dtype):
                return unusable(shape, NEITHER.format("references or lists"))
            rows = self._sources.rows(stored, where)
            rows.check_complete()
        return self._stream(rows, stored.dtype, where)

    def _stream(self, rows: Rows, dtype: np.dtype, where: str) -> Stream:
        shape = rows.shape[::-1] if self._transposed else rows.shape
        text = is_text(dtype)

        def batches(count: int) -> Iterator[Array]:
            for start in range(0, shape[0], count):
                chosen = start, min(start + count, shape[0])
                some = self._read(rows, dtype, chosen)
                yield _texts(some, start, where) if text else some

        return Stream(shape, np.dtype(str) if text else dtype, batches)

    def _read(self, rows: Rows, dtype: np.dtype, chosen: tuple[int, int]) -> Array:
        """Read some rows. Raises UserError, also where the file was changed meanwhile."""
        box: Box = tuple((0, extent) for extent in rows.shape)
        box = (*box[:-1], chosen) if self._transposed else (chosen, *box[1:])
        with explained(f"{self._path}: rows {chosen[0]} to {chosen[1] - 1}"):
            out = np.empty(tuple(stop - start for start, stop in box), dtype)
            rows.read(out, box)
            rows.check()
            self._sources.watch.check()
        return out.T if self._transposed else out


def _texts(stored: Array, first: int, where: str) -> Array:
    """Return texts as HDF5 has them in numpy's type. Raises UserError where one is no UTF-8."""
    try:
        texts = [one.decode() if isinstance(one, bytes) else str(one) for one in stored.ravel().tolist()]
    except UnicodeDecodeError as error:
        row = first + next(at for at, one in enumerate(stored) if not _is_utf8(one))
        raise UserError(
            f"{where}: row {row} holds a text that is no UTF-8: {error.object!r}; write it as UTF-8"
        ) from error
    return np.array(texts, str).reshape(stored.shape)


def _is_utf8(row: Array) -> bool:
    try:
        [one.decode() for one in np.ravel(row).tolist() if isinstance(one, bytes)]
    except UnicodeDecodeError:
        return False
    return True
