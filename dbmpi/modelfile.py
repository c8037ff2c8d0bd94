"""The trained model as a file: `layers.0.weight` (units, inputs), `layers.0.bias` (units,), ...

The configuration and the versions are attributes, so that the file explains itself.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dbmpi.config import Config, to_toml
from dbmpi.partition import Partitioning
from dbmpi.rundir import versions, writing
from dbmpi.sharding import Piece

Array = NDArray[Any]
FORMAT = 1


def write(
    path: Path,
    config: Config,
    plan: Partitioning,
    pieces: tuple[Piece, ...],
    read: Callable[[Piece], Array],
) -> None:
    """Write the model piece by piece, under a temporary name that is renamed at the end. Local.

    No more than one piece is in memory, whatever the size of the model.

    Parameters
    ----------
    read
        Returns the values of a piece, `(piece.size,)`.

    Raises
    ------
    UserError
        The disk is full, or the file cannot be written for another reason.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path), _quiet(), h5py.File(temporary, "w", locking=False) as out:
        out.attrs["format"] = FORMAT
        out.attrs["configuration"] = to_toml(config)
        out.attrs["versions"] = json.dumps(versions())
        for tensor in plan.network.tensors:
            out.create_dataset(tensor.name, tensor.shape, config.model.dtype)
        for piece in pieces:
            _store(out, plan, piece, read(piece))
    with writing(path):
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep every object of a file that cannot be written from printing a traceback of its own as it goes."""

    def silent(*ignored: object) -> None:
        pass

    hooks = sys.excepthook, sys.unraisablehook
    sys.excepthook = sys.unraisablehook = silent
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = hooks


def _store(out: h5py.File, plan: Partitioning, piece: Piece, values: Array) -> None:
    """Write a piece to the rows of the tensors that it meets; it may begin and end inside a row."""
    for part in plan.slices(piece.partition):
        first = max(piece.start, part.offset)
        last = min(piece.stop, part.offset + part.size)
        if first < last:
            begin = part.start * part.tensor.row + first - part.offset
            _store_range(out[part.tensor.name], begin, values[first - piece.start : last - piece.start])


def _store_range(data: h5py.Dataset, begin: int, values: Array) -> None:
    """Write consecutive elements, in C order, from element `begin` of a data set."""
    width = int(np.prod(data.shape[1:], dtype=np.int64))
    while len(values):
        row, column = divmod(begin, width)
        whole = len(values) // width if column == 0 else 0
        if whole:
            taken = whole * width
            data[row : row + whole] = values[:taken].reshape(whole, *data.shape[1:])
        else:
            taken = min(len(values), width - column)
            data[row, column : column + taken] = values[:taken]
        begin, values = begin + taken, values[taken:]
