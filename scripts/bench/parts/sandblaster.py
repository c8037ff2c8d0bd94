"""Passes of Sandblaster: the coordinator's share of an iteration, and backup copies for a slow replica.

784-512-512-10, minibatch 250, 1 shard, one thread a rank.

1. Vector operations on the shard and bookkeeping of the coordinator, once the history is full: 2 replicas, on
60,000 random examples, or those of --data.
2. Passes of 4 replicas of which one is 8 times slower, with and without backup copies, beside passes of 3
equal replicas: as the cores of this machine allow, on 12,000 random examples, and paced, on 60,000: every
minibatch is made to last 20 ms, asleep. A pass that is not much longer than a minibatch of the slow replica,
which nothing interrupts, would show nothing.
"""

import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from scripts.bench import rank, runs
from scripts.bench.core import Group, Options, Row
from scripts.training_runs import train

HISTORY, ITERATIONS, MINIBATCH = 10, 13, 250
NOBODY = -1
PACE_S = 0.02
SETTINGS = [
    *runs.MNIST.settings,
    *runs.QUIET,
    'train.algorithm="sandblaster"',
    f"train.minibatch={MINIBATCH}",
    "cluster.shards=1",
    "cluster.partitions=1",
    "cluster.threads=1",
    f"sandblaster.history={HISTORY}",
    f"sandblaster.iterations={ITERATIONS}",
    "sandblaster.gradient_tolerance=0",
    "sandblaster.decrease_tolerance=0",
]
CASES: dict[str, tuple[int, bool, list[str]]] = {  # replicas, whether the last is slow, settings
    "3 replicas": (3, False, []),
    "4 replicas": (4, False, []),
    "4, one slow, backup copies": (4, True, []),
    "4, one slow, no copies": (4, True, ["sandblaster.backup=false"]),
}
PARTS = {"passes_s": "pass", "commands_s": "vector operations", "bookkeeping_s": "bookkeeping"}


def groups(options: Options) -> Iterator[Group]:
    """Yield the share of the coordinator, and the replicas as fast as they can and paced."""
    rows = [Row(f"of an iteration: {name}", name, "s") for name in PARTS.values()]
    rows += [Row(f"share of {name}", f"{name} %", "%") for name in PARTS.values()]
    yield Group("share", {"run": partial(share, options)}, rows)
    for pace_s, name in ((0.0, "as fast as can be"), (PACE_S, f"paced to {PACE_S * 1000:g} ms")):
        turns = {case: partial(pass_of, options, case, pace_s) for case in CASES}
        beside = ("3 replicas",)
        rows = [
            Row(f"pass {name}, {case}", case, "s", beside, lower=True) for case in CASES if case not in beside
        ]
        yield Group(f"backup {name}", turns, rows)


def share(options: Options) -> Mapping[str, float]:
    """Return the seconds, and the share, of each part of an iteration with a full history."""
    records = [
        one for one in iterations(options, options.data, 2, [], NOBODY, 0.0) if one["iteration"] > HISTORY
    ]
    sums = {name: sum(record[key] for record in records) for key, name in PARTS.items()}
    whole = sum(sums.values())
    seconds = {name: taken / len(records) for name, taken in sums.items()}
    return seconds | {f"{name} %": 100 * taken / whole for name, taken in sums.items()}


def pass_of(options: Options, case: str, pace_s: float) -> float:
    """Return the median seconds of a pass."""
    replicas, slow, more = CASES[case]
    data, asked = (None, [*more, "sandblaster.iterations=4"]) if pace_s else (small(options), more)
    records = iterations(options, data, replicas, asked, 1 + replicas if slow else NOBODY, pace_s)
    return statistics.median(record["passes_s"] / record["evaluations"] for record in records)


def small(options: Options) -> Path:
    """Return the examples of short passes."""
    return runs.data(options.folder, (28, 28), 10, 12_000)


def iterations(
    options: Options, data: Path | None, replicas: int, more: list[str], slow_rank: int, pace_s: float
) -> list[dict[str, Any]]:
    """Train once; return the records of the iterations after the first passes, which read the data."""
    file = data or runs.data(options.folder, (28, 28), 10, 60_000)
    settings = [f"data.path={json.dumps(str(file))}", *SETTINGS, f"cluster.replicas={replicas}", *more]
    program = rank.program("slow", slow_rank, pace_s)
    with tempfile.TemporaryDirectory(dir=options.folder) as run_dir:
        train(2 + replicas, Path(run_dir), settings, program=program)
        lines = [json.loads(line) for line in (Path(run_dir) / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "iteration" and line["iteration"] > 1]
