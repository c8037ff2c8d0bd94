"""The shards' files of a checkpoint as one model: the index that is written over them.

The index has a group for each vector (`manifest`), and in it a virtual dataset for each tensor, whole; and
`pieces`, a table of what each shard held. So any HDF5 reader sees tensors. A run of any number of shards and
partitions takes from the index where the elements lie, and reads them in the shards' files (`reader`).

What an HDF5 reader sees where a shard's file is missing is NaN.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dbmpi.arrays import Array
from dbmpi.checkpoint.directory import INDEX, FileRecord, record_of, shard_file_name
from dbmpi.checkpoint.hdf5_file import creating
from dbmpi.checkpoint.mapping import PIECE, PIECES, UNKNOWN
from dbmpi.checkpoint.vector_names import UPDATES
from dbmpi.files import writing
from dbmpi.layout.placement import TensorBox
from dbmpi.layout.sharding import Piece

Placed = Sequence[tuple[Piece, Sequence[TensorBox]]]  # pieces, and where they lie in the tensors
_ABSENT = np.array((UNKNOWN,) * len(PIECE.names or ()), PIECE)[()]


def write_index(
    directory: Path, tensors: Mapping[str, Sequence[int]], placed: Placed, dtype: np.dtype[Any]
) -> FileRecord:
    """Write the index over the shards' files in a directory, and flush it.

    Parameters
    ----------
    tensors
        Shapes, by name.
    placed
        All pieces, each of the shard that wrote it, with their `tensor_boxes`.
    dtype
        Of the values.

    Returns
    -------
    FileRecord
        Of the index. Raises as `writing`.
    """
    path, pieces = directory / INDEX, [piece for piece, _ in placed]
    with writing(path), creating(path) as out:
        out.create_dataset(PIECES, data=_table(directory, pieces), fillvalue=_ABSENT)
        for name in _vectors(directory, pieces):
            for tensor, layout in _layouts(tensors, placed, name, dtype):
                out.create_virtual_dataset(f"{name}/{tensor}", layout, fillvalue=np.nan)
    with writing(path):
        return record_of(path)


def _vectors(directory: Path, pieces: Sequence[Piece]) -> list[str]:
    """Return the names of the vectors in the files, which are the same in all."""
    with _reading(directory, pieces[0].shard) as file:
        return [name for name in file if name != UPDATES]


def _table(directory: Path, pieces: Sequence[Piece]) -> Array:
    table = np.array([(p.partition, p.shard, p.start, p.stop, 0) for p in pieces], PIECE)
    for shard in np.unique(table["shard"]):
        with _reading(directory, int(shard)) as file:
            table[UPDATES][table["shard"] == shard] = file[UPDATES][...]
    return table


@contextmanager
def _reading(directory: Path, shard: int) -> Iterator[h5py.File]:
    """Open the file of a shard. Raises OSError also where h5py calls what it cannot read missing."""
    with h5py.File(directory / shard_file_name(shard), locking=False) as file:
        try:
            yield file
        except KeyError as error:
            raise OSError(str(error)) from error


def _layouts(
    tensors: Mapping[str, Sequence[int]], placed: Placed, vector: str, dtype: np.dtype[Any]
) -> Iterator[tuple[str, h5py.VirtualLayout]]:
    """Yield each tensor's name, and from which stretches of which files it is put together."""
    layouts = {name: h5py.VirtualLayout(tuple(shape), dtype) for name, shape in tensors.items()}
    in_files = sorted(placed, key=lambda one: (one[0].shard, one[0].index))
    for shard, held in groupby(in_files, key=lambda one: one[0].shard):
        mine, offset = list(held), 0
        size = sum(piece.stop - piece.start for piece, _ in mine)
        source = h5py.VirtualSource(shard_file_name(shard), vector, (size,), dtype)
        for piece, boxes in mine:
            for box in boxes:
                layouts[box.tensor.name][box.at] = source[offset + box.start : offset + box.stop]
            offset += piece.stop - piece.start
    return iter(layouts.items())
