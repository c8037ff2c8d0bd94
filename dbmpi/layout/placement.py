"""Where the pieces of the parameter vector lie in the tensors of the model. Pure.

A piece may begin and end anywhere in a tensor, and hold several: it is a sequence of slabs, each of which is
a box of one tensor, in C order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from dbmpi.layout.boxes import Box
from dbmpi.layout.network import Tensor
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.sharding import Piece


@dataclass(frozen=True)
class TensorBox:
    """The elements [start, stop) of a piece, which are the box `at` of a tensor, in C order."""

    tensor: Tensor
    at: tuple[slice, ...]
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the box."""
        return tuple(part.stop - part.start for part in self.at)


def tensor_boxes(partitioning: Partitioning, piece: Piece) -> Iterator[TensorBox]:
    """Yield the boxes of tensors that make up a piece, in the order of its elements."""
    for part in partitioning.slices[piece.partition]:
        first = max(piece.start, part.offset)
        last = min(piece.stop, part.offset + part.size)
        if first >= last:
            continue
        at = first - piece.start
        corner = [start for start, _ in part.box]
        for slab in slabs(part.shape, first - part.offset, last - part.offset):
            box = tuple(slice(c + i, c + j) for c, (i, j) in zip(corner, slab, strict=True))
            size = prod(stop - start for start, stop in slab)
            yield TensorBox(part.tensor, box, at, at + size)
            at += size


def slabs(shape: tuple[int, ...], first: int, last: int) -> Iterator[Box]:
    """Yield the boxes that make up the flat positions [first, last) of an array, in C order. Local.

    There are 2 d - 1 at most in d dimensions: a range begins and ends inside a row once in each dimension
    but the last, and what lies between is whole.

    Parameters
    ----------
    shape : tuple of int
        Of the array; or the extents of a box, for a range of the box's vector.
    first, last : int
        0 <= first <= last <= the array's size.
    """
    if first == last or not shape:
        yield from [()] * (last - first)
        return
    inner = prod(shape[1:])
    row, start, stop = first // inner, -(-first // inner), last // inner
    if row * inner < first:
        end = min(last, start * inner)
        yield from (((row, start), *box) for box in slabs(shape[1:], first - row * inner, end - row * inner))
    if start < stop:
        yield ((start, stop), *((0, extent) for extent in shape[1:]))
    if start <= stop and stop * inner < last:
        yield from (((stop, stop + 1), *box) for box in slabs(shape[1:], 0, last - stop * inner))
