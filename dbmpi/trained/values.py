"""Where the parameters of a trained model come from: each box of a tensor is read when it is asked for."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dbmpi.arrays import Array
from dbmpi.checkpoint.reader import Reader
from dbmpi.checkpoint.vector_names import PARAMETER_VECTOR
from dbmpi.checkpoint.whole_file import Damaged
from dbmpi.data.hdf5 import explain_errors
from dbmpi.errors import UserError

if TYPE_CHECKING:
    import h5py


class Values(Protocol):
    """The parameters of a model on disk."""

    def read(self, tensor: str, at: tuple[slice, ...], out: Array) -> None:
        """Fill `out`, of the shape of the box `at` of a tensor and of the model's dtype. Raises UserError."""

    def close(self) -> None:
        """Close the files."""


class FileValues:
    """The parameters in a `model.h5`, which is open."""

    def __init__(self, path: Path, file: "h5py.File") -> None:
        self._path, self._file = path, file

    def read(self, tensor: str, at: tuple[slice, ...], out: Array) -> None:
        """See `Values.read`."""
        with explain_errors(f"{self._path}: {tensor}"):
            self._file[tensor].read_direct(out, at)
        if not np.isfinite(out).all():
            raise UserError(f"{self._path}: {tensor} holds what is no number; the model is of no use")

    def close(self) -> None:
        """See `Values.close`."""
        self._file.close()


class SavedValues:
    """The parameters in a checkpoint, whichever shards have written it."""

    def __init__(self, path: Path, reader: Reader) -> None:
        self._path, self._reader = path, reader

    def read(self, tensor: str, at: tuple[slice, ...], out: Array) -> None:
        """See `Values.read`."""
        try:
            self._reader.read_box(PARAMETER_VECTOR, tensor, at, out)
        except Damaged as problem:
            raise UserError(f"{self._path}: checkpoint {problem}; name another one") from None

    def close(self) -> None:
        """See `Values.close`."""
        self._reader.__exit__()
