"""A shard's slices of the optimizer's vectors, by piece: of its own pieces, and of those it has adopted.

Without MPI. Pieces that came together lie in one block of memory (`server.vectors`).
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Array
from dbmpi.comm.operations import PARAMETERS
from dbmpi.layout.sharding import Piece
from dbmpi.server.vectors import Vectors


class Slices:
    """All slices of one shard.

    Parameters
    ----------
    values_VN : float array (V, N)
        The vectors as rows; taken over. Row PARAMETERS is what partitions fetch.
    pieces
        The pieces, which lie one after another in each row.
    """

    def __init__(self, values_VN: Array, pieces: Sequence[Piece]) -> None:
        self._vectors, self._dtype = len(values_VN), values_VN.dtype
        self._blocks: list[Vectors] = []
        self._of: dict[int, tuple[Vectors, slice]] = {}  # by piece: its block, and where it lies there
        self._add(values_VN, pieces)

    def _add(self, values_VN: Array, pieces: Sequence[Piece]) -> None:
        ends = list(accumulate(piece.size for piece in pieces))
        ranges = [(end - piece.size, end) for piece, end in zip(pieces, ends, strict=True)]
        block = Vectors(values_VN, ranges)
        self._blocks.append(block)
        self._of |= {p.index: (block, slice(*r)) for p, r in zip(pieces, ranges, strict=True)}

    def run(self, records: Array) -> NDArray[np.float64]:
        """Perform operations on all of them, and return the sums of their dot products; see `Vectors.run`."""
        return np.sum([block.run(records) for block in self._blocks], axis=0)

    def accrue(self, piece: int, gradient: Array, pass_number: int) -> bool:
        """Add a gradient to that of a piece, and return whether it was added; see `Vectors.accrue`."""
        block, part = self._of[piece]
        return block.accrue(pass_number, part.start, part.stop, gradient)

    def part(self, number: int, piece: int) -> Array:
        """Return the part of a vector that belongs to a piece, not a copy."""
        block, part = self._of[piece]
        return block.row(number)[part]

    def adopt(self, pieces: Sequence[Piece], parameters: Array, others: Mapping[int, Array]) -> None:
        """Take over pieces, with their parameters and some other vectors, by number; the rest is zero.

        No gradient is accrued any more until the next OPEN: the pass under way is lost.
        """
        values = np.zeros((self._vectors, sum(piece.size for piece in pieces)), self._dtype)
        values[PARAMETERS] = parameters
        for number, row in others.items():
            values[number] = row
        self._add(values, pieces)
        for block in self._blocks:
            block.pass_number = 0

    def parameters(self, piece: int) -> Array:
        """Return the parameters of a piece, not a copy."""
        return self.part(PARAMETERS, piece)
