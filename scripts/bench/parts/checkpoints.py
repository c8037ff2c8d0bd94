"""What checkpoints cost a run of 2 replicas: one every few seconds, beside none.

784-512-512-10 on 1 coordinator + 1 shard + 2 replicas. Beside the examples/s: how long training stood still
for one, how long it took to write meanwhile, and what one a minute would cost: the measured loss, by the
ratio of the intervals.
"""

import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from scripts.bench import runs
from scripts.bench.core import Group, Options, Row
from scripts.training_runs import RANKS, REPLICAS, train

SECONDS, EVERY_S, STOPPED = 12, 3, 85
SETTINGS = ["train.minibatch=100", "cluster.threads=1", "train.epochs=none", f"train.max_time={SECONDS}"]


def groups(options: Options) -> Iterator[Group]:
    """Yield runs with and without checkpoints, in turns."""
    rows = [
        Row(f"a checkpoint every {EVERY_S} s", "with", "examples/s", ("without",)),
        Row("training stands still for one", "stall", "s"),
        Row("written meanwhile in", "write", "s"),
        Row("size of one", "size", "bytes"),
        Row("one a minute would cost", "cost", "%"),
    ]
    yield Group("checkpoints", {"pair": partial(pair, options)}, rows)


def pair(options: Options) -> Mapping[str, float]:
    """Train without checkpoints and with them; return the figures."""
    (off, _), (on, taken) = (run(options, every_s) for every_s in (0, EVERY_S))
    stall, write = (statistics.median(one[key] for one in taken) for key in ("stall_s", "write_s"))
    cost = max(0.0, 1 - on / off) * EVERY_S / 60
    return {
        "without": off,
        "with": on,
        "stall": stall,
        "write": write,
        "cost": 100 * cost,
        "size": taken[0]["bytes"],
    }


def run(options: Options, every_s: float) -> tuple[float, list[dict[str, float]]]:
    """Train once; return the examples/s, and the records of its checkpoints but the last."""
    file = runs.data(options.folder, (28, 28), 10, 30_000)
    asked = [f"data.path={json.dumps(str(file))}", *runs.MNIST.settings, *SETTINGS, *REPLICAS, *runs.QUIET]
    asked.append(f"checkpoint.every_s={every_s}")
    with tempfile.TemporaryDirectory(dir=options.folder) as run_dir:
        rate = float(train(RANKS, Path(run_dir), asked, good=(STOPPED,))["examples_per_s"])
        lines = [json.loads(line) for line in (Path(run_dir) / "metrics.jsonl").read_text().splitlines()]
    return rate, [line for line in lines if line["kind"] == "checkpoint"][:-1]
