"""What the index of a checkpoint says: which stretch of which shard's file is which box of which tensor.

HDF5 gives the fill value, silently, where a source of a virtual dataset cannot be opened, and opens whatever
a source names. So its virtual datasets are not read here: their mapping is, and checked.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import h5py
import numpy as np

from dbmpi.arrays import Array
from dbmpi.checkpoint.extents import extent, member
from dbmpi.checkpoint.vector_names import PARAMETER_VECTOR, UPDATES, is_vector
from dbmpi.checkpoint.whole_file import Damaged, WholeFile

PIECES = "pieces"
PIECE = np.dtype([("partition", "i8"), ("shard", "i8"), ("start", "i8"), ("stop", "i8"), (UPDATES, "i8")])
UNKNOWN = -1  # a counter that is not there
WHOLE_SELECTIONS = h5py.h5s.SEL_ALL, h5py.h5s.SEL_HYPERSLABS  # in C order, which points are not


@dataclass(frozen=True)
class Source:
    """The box `at` of a tensor: the elements [start, stop) of a vector in a shard's file, in C order."""

    at: tuple[tuple[int, int], ...]
    file: str
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the box."""
        return tuple(stop - start for start, stop in self.at)


Sources = Mapping[str, Mapping[str, Sequence[Source]]]  # by vector and tensor


@dataclass(frozen=True)
class Index:
    """What an index says: `sources` of every tensor of every vector, and the table of `pieces`, `PIECE`."""

    sources: Sources
    pieces: Array


def read_index(
    file: WholeFile, tensors: Mapping[str, Sequence[int]], dtype: np.dtype[Any], files: Collection[str]
) -> Index:
    """Return what an index says.

    Parameters
    ----------
    tensors
        Shapes of the model's tensors, by name.
    dtype
        Of the values.
    files
        Names of the shards' files, besides which there is no source.

    Raises
    ------
    Damaged
        It holds something else, or not every element of every tensor once.
    """
    with file.structure() as opened:
        table = extent(file, opened, PIECES, PIECE)
        vectors = [name for name in opened if name != PIECES]
        if PARAMETER_VECTOR not in vectors or not all(map(is_vector, vectors)):
            raise Damaged(f"{file.name} has the vectors {', '.join(vectors)}")
        sources = {name: dict(_tensors(file, opened, name, tensors, dtype)) for name in vectors}
    for tensor, found in ((t, f) for of in sources.values() for t, f in of.items()):
        if not {source.file for source in found} <= set(files):
            raise Damaged(f"{file.name}: {tensor} has sources other than the files of the shards")
        if not covers(tensors[tensor], [source.at for source in found]):
            raise Damaged(f"{file.name} does not have every element of {tensor} once")
    pieces = table.read(file, 0, table.size)
    _check_pieces(file, pieces, sum(map(prod, tensors.values())))
    return Index(sources, pieces)


def _tensors(
    file: WholeFile,
    opened: h5py.File,
    vector: str,
    tensors: Mapping[str, Sequence[int]],
    dtype: np.dtype[Any],
) -> Iterator[tuple[str, list[Source]]]:
    """Yield the name and the sources of each tensor of a vector."""
    group = member(file, opened, vector, h5py.Group)
    if set(group) != set(tensors):
        raise Damaged(f"{file.name}: {vector} has other tensors than the model")
    for name, shape in tensors.items():
        data = member(file, group, name, h5py.Dataset)
        found = list(_sources(file, data, vector, tuple(shape)))  # before HDF5 asks the sources for shapes
        if data.shape != tuple(shape) or data.dtype != dtype:
            raise Damaged(f"{file.name}: {vector}/{name} has shape {data.shape} and type {data.dtype}")
        yield name, found


def _sources(file: WholeFile, data: h5py.Dataset, vector: str, shape: tuple[int, ...]) -> Iterator[Source]:
    created = data.id.get_create_plist()
    if created.get_layout() != h5py.h5d.VIRTUAL:
        raise Damaged(f"{file.name}: {data.name} is not put together from the files of the shards")
    for i in range(created.get_virtual_count()):
        target, taken = created.get_virtual_vspace(i), created.get_virtual_srcspace(i)
        if created.get_virtual_dsetname(i) != vector or target.shape != shape:
            raise Damaged(f"{file.name}: {data.name} is put together from something else")
        at, ((start, stop),) = _box(file, target), _box(file, taken)
        if stop - start != prod(b - a for a, b in at):
            raise Damaged(f"{file.name}: {data.name} has a source of another size")
        yield Source(at, created.get_virtual_filename(i), start, stop)


def _box(file: WholeFile, space: h5py.h5s.SpaceID) -> tuple[tuple[int, int], ...]:
    """Return the box that a selection is."""
    first, last = space.get_select_bounds()  # raises where it has no end
    box = tuple((int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    points = space.get_select_npoints()
    if space.get_select_type() not in WHOLE_SELECTIONS or points != prod(b - a for a, b in box):
        raise Damaged(f"{file.name} takes something other than boxes")
    return box


def covers(shape: Sequence[int], boxes: Sequence[tuple[tuple[int, int], ...]]) -> bool:
    """Return whether boxes within an array of a shape hold each of its elements once."""
    if sum(prod(b - a for a, b in box) for box in boxes) != prod(shape):
        return False
    edges = np.array(boxes, np.int64).reshape(len(boxes), len(shape), 2)
    low, high = edges[..., 0], edges[..., 1]
    if (low < 0).any() or (high > np.array(shape)).any():
        return False
    return not any(
        ((low[i + 1 :] < high[i]) & (low[i] < high[i + 1 :])).all(1).any() for i in range(len(boxes) - 1)
    )


def _check_pieces(file: WholeFile, pieces: Array, elements: int) -> None:
    """Raise Damaged where the table of pieces says what cannot be; UNKNOWN is such a thing."""
    numbers = pieces.view("i8")
    sizes = pieces["stop"] - pieces["start"]
    possible = ((numbers >= 0) & (numbers < 1 << 62)).all() and (sizes > 0).all()
    if not possible or int(sizes.sum()) != elements:
        raise Damaged(f"{file.name}: {PIECES} is no table of the pieces of the model")
