"""Where the pieces of the parameter vector lie in the tensors of the model. Pure.

A piece may begin and end anywhere in a tensor, and hold several: it is a sequence of slabs, each of which is
a box of one tensor, in C order.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from dbmpi.layout.boxes import extents, slabs, volume
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
        for slab in slabs(extents(part.box), first - part.offset, last - part.offset):
            box = tuple(slice(c + i, c + j) for c, (i, j) in zip(corner, slab, strict=True))
            yield TensorBox(part.tensor, box, at, at + volume(slab))
            at += volume(slab)
