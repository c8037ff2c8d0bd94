"""Bytes moved by raw MPI between the shard (rank 1) and the replica (rank 2) of a run that has ended."""

import time
from collections.abc import Sequence

import numpy as np
from mpi4py import MPI

from scripts.bench.rank import CHUNKS

SHARD, REPLICA = 1, 2
TIMES = 5


def there_and_back(size: int) -> dict[str, list[float]]:
    """Send `size` bytes to the shard, then receive as many, in chunks of each length, in turns.

    Returns ------- dict
        At the replica: the seconds of each time, by the length of the chunks, and those of a copy of the
        bytes within the memory of a process, once each way; {} on other ranks.
    """
    comm, rank = MPI.COMM_WORLD, MPI.COMM_WORLD.Get_rank()
    if rank not in (SHARD, REPLICA):
        return {}
    out, into = np.ones(size, np.uint8), np.ones(size, np.uint8)
    found: dict[str, list[float]] = {name: [] for name in CHUNKS}
    for _ in range(TIMES + 1):  # the first one touches the memory
        for name, length in CHUNKS.items():
            start = time.perf_counter()
            for sends in (rank == REPLICA, rank == SHARD):
                _pass(comm, out if sends else into, length, sends, SHARD + REPLICA - rank)
            found[name].append(time.perf_counter() - start)
    if rank == SHARD:
        return {}
    return {name: times[1:] for name, times in found.items()} | {
        "copy": [_copied(out, into) for _ in range(TIMES)]
    }


def _pass(comm: MPI.Intracomm, data: np.ndarray, length: int, sends: bool, peer: int) -> None:
    """Send or receive all chunks at once."""
    parts: Sequence[np.ndarray] = [data[at : at + length] for at in range(0, len(data), length)]
    start = comm.Isend if sends else comm.Irecv
    MPI.Request.Waitall([start(part, peer, tag) for tag, part in enumerate(parts)])


def _copied(out: np.ndarray, into: np.ndarray) -> float:
    start = time.perf_counter()
    np.copyto(into, out)
    np.copyto(out, into)
    return time.perf_counter() - start
