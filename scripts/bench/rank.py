"""Be one rank of a changed program: `rank.py CHANGE [VALUE] -- ARGUMENTS of dbmpi.train`.

What no configuration asks for. Each change replaces one method of the program, and leaves the rest as it is:

    slow RANK PACE_S   one rank computes minibatches `FACTOR` times slower, and all at a pace, asleep
    idle               gradients are not computed: what is left of a step is the exchange with the shards
    scored THREADS     each checkpoint is scored, at a standstill
    memory             rows of the training set are read once, and kept in memory
    raw BYTES FILE     is idle, then moves as many bytes by raw MPI between the shard and the replica
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dbmpi import train
from dbmpi.run.start import launch

FACTOR = 8
GRADIENT = 1e-3
CHUNKS = {"1 MiB": 1 << 20, "4 MiB": 4 << 20, "16 MiB": 16 << 20, "64 MiB": 64 << 20, "whole": 1 << 40}
WARM = 3  # steps that do not count: they touch the memory


def program(change: str, *values: object) -> list[str]:
    """Return the words after `python` that start a changed rank; arguments of dbmpi.train follow."""
    return [str(Path(__file__).resolve()), change, *map(str, values), "--"]


def main(words: Sequence[str]) -> int:
    """Change the program, and be a rank of it; return its status."""
    split = list(words).index("--")
    change, *values = words[:split]
    return CHANGES[change](words[split + 1 :], *values)


def slow(arguments: Sequence[str], slow_rank: str, pace_s: str) -> int:
    """Let one rank compute slowly."""
    os.environ.update(launch.thread_environment(1))  # before the libraries load, as the program does
    from dbmpi.model.partition import PartitionModel

    factor = FACTOR if launch.env_rank(os.environ) == int(slow_rank) else 1
    compute = slowed(PartitionModel.differentiate, factor, float(pace_s))
    PartitionModel.differentiate = compute  # type: ignore[method-assign]
    return train.main(arguments)


def slowed(compute: Callable[..., Any], factor: float, pace_s: float) -> Callable[..., Any]:
    """Let every call last `factor` times as long, or as `pace_s` where that is longer, asleep the while."""

    def instead(*arguments: Any) -> Any:
        start = time.monotonic()
        result = compute(*arguments)
        busy = time.monotonic() - start
        time.sleep(max(0.0, factor * max(busy, pace_s) - busy))
        return result

    return instead


def idle(arguments: Sequence[str], stamps: list[float] | None = None) -> int:
    """Compute no gradient: it is the same small number everywhere, written once in each vector.

    `stamps` gets the time at which each minibatch would have been computed.
    """
    os.environ.update(launch.thread_environment(1))
    from dbmpi.model.losses import Score
    from dbmpi.model.partition import PartitionModel

    filled = set[int]()

    def differentiate(self: Any, theta: Any, gradient: Any, width: int, targets: Any) -> Score:
        if id(gradient) not in filled:
            gradient.flat[...] = GRADIENT
            filled.add(id(gradient))
        if stamps is not None:
            stamps.append(time.perf_counter())
        return Score(float(width), 0)

    PartitionModel.differentiate = differentiate  # type: ignore[method-assign]
    return train.main(arguments)


def scored(arguments: Sequence[str], threads: str) -> int:
    """Score each checkpoint, whatever that costs."""
    os.environ.update(launch.thread_environment(int(threads)))  # before the libraries load
    from dbmpi.coordinator.scores import ScoreKeeper

    ScoreKeeper.worthwhile = property(lambda self: True)  # type: ignore[assignment,method-assign]
    return train.main(arguments)


def memory(arguments: Sequence[str]) -> int:
    """Read the training set once, before training; all rows that are asked for are views and copies of it."""
    os.environ.update(launch.thread_environment(1))
    import numpy as np

    from dbmpi.data.split import Split

    read, targets, kept = Split.read, Split.labels_or_targets, dict[int, tuple[Any, Any]]()

    def of(split: Any) -> tuple[Any, Any]:
        if id(split) not in kept:
            everything = [(0, split.rows)]
            kept[id(split)] = read(split, everything), targets(split, everything)
        return kept[id(split)]

    def joined(parts: Sequence[Any]) -> Any:
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def rows(self: Any, ranges: Sequence[tuple[int, int]]) -> Any:
        return joined([of(self)[0][start:stop] for start, stop in ranges])

    def labels(self: Any, ranges: Sequence[tuple[int, int]]) -> Any:
        return joined([of(self)[1][start:stop] for start, stop in ranges])

    Split.read, Split.labels_or_targets = rows, labels  # type: ignore[method-assign]
    return train.main(arguments)


def raw(arguments: Sequence[str], size: str, out: str) -> int:
    """Train without gradients, then move bytes by raw MPI; the replica writes what both took, as JSON."""
    stamps = list[float]()
    status = idle(arguments, stamps)
    from scripts.bench import raw_mpi

    steps = [after - before for before, after in itertools.pairwise(stamps)]
    found = raw_mpi.there_and_back(int(size))
    if found:
        Path(out).write_text(json.dumps({"steps": steps[WARM:], "raw": found}))
    return status


CHANGES: dict[str, Callable[..., int]] = {
    "slow": slow, "idle": idle, "scored": scored, "memory": memory, "raw": raw,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
