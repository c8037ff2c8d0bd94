"""Where the vectors of a checkpoint lie in its files; whatever would lead elsewhere is refused.

What a checkpoint holds lies in its own files, each vector in one stretch. A link out of the file, external
storage, filters and what was never written are not of this program.
"""

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from dbmpi.arrays import Array
from dbmpi.checkpoint.vector_names import UPDATES, is_vector
from dbmpi.checkpoint.whole_file import Damaged, WholeFile


@dataclass(frozen=True)
class Extent:
    """A stretch of a file: `size` values of a type, from a byte on."""

    offset: int
    size: int
    dtype: np.dtype[Any]

    def read(self, file: WholeFile, start: int, stop: int) -> Array:
        """Return the values [start, stop), `(stop - start,)`. Raises Damaged."""
        values = np.empty(stop - start, self.dtype)
        file.read(self.offset + start * self.dtype.itemsize, values)
        return values


def shard_vectors(file: WholeFile, dtype: np.dtype[Any]) -> dict[str, Extent]:
    """Return where the vectors of a shard's file lie, by name, and the updates of its pieces.

    Raises
    ------
    Damaged
        The file holds something else, or vectors of other sizes or types.
    """
    with file.structure() as opened:
        if opened.userblock_size:
            raise Damaged(f"{file.name} has a user block")
        for name in opened:
            if name != UPDATES and not is_vector(name):
                raise Damaged(f"{file.name} holds {name}, which is no vector")
        found = {
            name: extent(file, opened, name, np.dtype("i8") if name == UPDATES else dtype) for name in opened
        }
    if UPDATES not in found:
        raise Damaged(f"{file.name} lacks {UPDATES}")
    if len({one.size for name, one in found.items() if name != UPDATES}) > 1:
        raise Damaged(f"{file.name} has vectors of different sizes")
    return found


def extent(file: WholeFile, group: h5py.Group, name: str, dtype: np.dtype[Any]) -> Extent:
    """Return where a vector of a group lies. Raises Damaged where it is none of this type, in one stretch."""
    what = f"{file.name}: {name}"
    data = member(file, group, name, h5py.Dataset)
    created = data.id.get_create_plist()
    if created.get_layout() != h5py.h5d.CONTIGUOUS or created.get_external_count():
        raise Damaged(f"{what} does not lie in this file in one stretch")
    if data.ndim != 1 or data.dtype != dtype:
        raise Damaged(f"{what} has shape {data.shape} and type {data.dtype}, and is no vector of {dtype}")
    size, offset = len(data), data.id.get_offset()
    if size and (offset is None or offset + size * dtype.itemsize > file.bytes):
        raise Damaged(f"{what} was never written")
    return Extent(offset or 0, size, dtype)


def member(file: WholeFile, group: h5py.Group, name: str, kind: type[Any]) -> Any:
    """Return what a group holds by a name itself, not by a link to elsewhere. Raises Damaged."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise Damaged(f"{file.name}: {name} is a link to elsewhere, or absent")
    found = group[name]
    if not isinstance(found, kind):
        raise Damaged(f"{file.name}: {name} is no {kind.__name__.lower()}")
    return found
