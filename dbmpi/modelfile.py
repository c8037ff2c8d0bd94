"""The trained model as a file: `layers.0.weight`, `layers.0.bias`, ..., each whole, whatever P and S.

A dense layer's weight has the shape (units, inputs), one of shared receptive fields (filters, rows,
columns, channels), an untied one that of each location: (rows, columns, filters, rows, columns, channels).
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
from numpy.typing import NDArray

from dbmpi.blocks import Box, extents, slabs, volume
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
    """Write a piece to the boxes of the tensors that it meets; it may begin and end anywhere in one."""
    for part in plan.slices(piece.partition):
        first = max(piece.start, part.offset)
        last = min(piece.stop, part.offset + part.size)
        if first < last:
            some = values[first - piece.start : last - piece.start]
            _store_range(out[part.tensor.name], part.box, first - part.offset, some)


def _store_range(data: h5py.Dataset, box: Box, begin: int, values: Array) -> None:
    """Write consecutive elements, in C order, from element `begin` of a box of a data set."""
    corner = [start for start, _ in box]
    written = 0
    for slab in slabs(extents(box), begin, begin + len(values)):
        some = values[written : written + volume(slab)]
        place = tuple(slice(at + i, at + j) for at, (i, j) in zip(corner, slab, strict=True))
        data[place] = some.reshape(extents(slab))
        written += len(some)
