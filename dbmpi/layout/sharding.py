"""Which shard owns which range of the parameter vector. Pure, without MPI.

The vector of the whole model (the partitions' vectors one after the other) is cut into S contiguous
ranges of equal size, one a shard; a large tensor may be cut. Where a shard's range meets a
partition's there is a *piece*, the unit of transfer: a partition fetches and pushes piece by piece,
and the shard counts the updates of each. A piece is never larger than `MAX_PIECE_BYTES`, which
bounds the buffers of a shard and keeps every message below 2^31 bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

ALIGNMENT = 16  # elements: shards are cut at whole cache lines of float32
MAX_PIECE_BYTES = 64 << 20


@dataclass(frozen=True)
class Piece:
    """A contiguous range of one partition's vector that one shard owns.

    `start` and `stop` are positions in the partition's own vector.
    """

    index: int
    partition: int
    shard: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.stop - self.start


def cut(sizes: Sequence[int], shards: int, max_elements: int) -> tuple[Piece, ...]:
    """Cut the partitions' vectors into pieces, in the order of the model's vector.

    Parameters
    ----------
    sizes
        Number of parameters of each partition.
    shards
        Number of shards S; a shard beyond the last parameter owns nothing.
    max_elements
        Largest piece, in elements (`MAX_PIECE_BYTES` over the item size).
    """
    ends = list(accumulate(sizes))
    bounds = shard_bounds(sum(sizes), shards)
    pieces: list[Piece] = []
    for partition, (size, end) in enumerate(zip(sizes, ends, strict=True)):
        base = end - size
        for shard in range(shards):
            first, last = max(base, bounds[shard]), min(end, bounds[shard + 1])
            for start in range(first, last, max_elements):
                stop = min(start + max_elements, last)
                pieces.append(Piece(len(pieces), partition, shard, start - base, stop - base))
    return tuple(pieces)


def shard_bounds(total: int, shards: int) -> list[int]:
    """Return the S + 1 positions at which the vector of `total` parameters is cut."""
    units = -(-total // ALIGNMENT)
    return [min(total, units * s // shards * ALIGNMENT) for s in range(shards)] + [total]


def of_partition(pieces: Sequence[Piece], partition: int) -> tuple[Piece, ...]:
    """Return the pieces of one partition: what it fetches and pushes."""
    return tuple(piece for piece in pieces if piece.partition == partition)


def of_shard(pieces: Sequence[Piece], shard: int) -> tuple[Piece, ...]:
    """Return the pieces of one shard."""
    return tuple(piece for piece in pieces if piece.shard == shard)


class Owners:
    """Which shard serves each shard's pieces: itself, until it dies; then its successor.

    The successor is the next living shard in a ring: the neighbour, which holds the mirror (`server.mirror`).

    Parameters
    ----------
    shards
        Number of shards S.

    Attributes
    ----------
    living
        Indices of the living shards, in order.
    """

    def __init__(self, shards: int) -> None:
        self.living = list(range(shards))
        self._of = list(range(shards))

    def of(self, shard: int) -> int:
        """Return which shard serves now what a shard served at first."""
        return self._of[shard]

    def successor(self, shard: int) -> int:
        """Return the next living shard; a shard that is left alone is its own."""
        after = [other for other in self.living if other > shard]
        return (after or self.living)[0]

    def before(self, shard: int) -> int:
        """Return the living shard whose successor this one is."""
        lower = [other for other in self.living if other < shard]
        return (lower or self.living)[-1]

    def mark_dead(self, dead: int) -> int:
        """Take in that a shard is dead, and return its successor, which serves all that it served."""
        self.living.remove(dead)
        successor = self.successor(dead)
        self._of = [successor if owner == dead else owner for owner in self._of]
        return successor

    def assign(self, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
        """Return the pieces, each of the shard that serves it now."""
        return tuple(replace(piece, shard=self._of[piece.shard]) for piece in pieces)
