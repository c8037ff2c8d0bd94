"""What travels in a run between partitions, and from them to the shards: bytes by sender and receiver. Pure.

Letters: P partitions, S shards.
"""

from collections.abc import Sequence

from dbmpi.layout.partitioning import STATS_BYTES, STATS_ROWS, Partitioning
from dbmpi.layout.sharding import Piece

Matrix = list[list[int]]


def boundary_bytes_per_example(partitioning: Partitioning, itemsize: int, reduction: bool) -> Matrix:
    """Return what partitions send one another for an example that is learned from, P x P: [from][to].

    Parameters
    ----------
    itemsize
        Bytes of one state.
    reduction
        Whether the output reduction takes place (it does wherever the targets are labels).
    """
    sent = _zeros(partitioning.partitions, partitioning.partitions)
    for t in partitioning.transfers:
        sent[t.owner][t.reader] += t.units * itemsize  # states
        sent[t.reader][t.owner] += t.units * itemsize  # derivatives
    for owner in partitioning.output_owners if reduction else ():
        for reader in partitioning.output_readers:
            if reader != owner:
                sent[owner][reader] += STATS_ROWS * STATS_BYTES
    return sent


def shared_bytes_per_minibatch(partitioning: Partitioning, itemsize: int) -> Matrix:
    """Return what partitions send one another for a minibatch of any size, P x P: [from][to].

    Tensors that all work with: partition 0 sends them, and gets a gradient from each.
    """
    size = sum(tensor.size for tensor in partitioning.shared) * itemsize
    sent = _zeros(partitioning.partitions, partitioning.partitions)
    for other in range(1, partitioning.partitions):
        sent[0][other] = sent[other][0] = size
    return sent


def shard_bytes(pieces: Sequence[Piece], partitions: int, shards: int, itemsize: int) -> Matrix:
    """Return the bytes of the parameters that each partition has on each shard, P x S."""
    held = _zeros(partitions, shards)
    for piece in pieces:
        held[piece.partition][piece.shard] += piece.size * itemsize
    return held


def _zeros(rows: int, columns: int) -> Matrix:
    return [[0] * columns for _ in range(rows)]
