"""Measure what checkpoints cost: `checkpoints [--rounds 3] [--seconds 60] [--every 5]`.

Runs of 1 coordinator + 1 shard + 2 replicas without checkpoints, and with one every few seconds, in turns.
The table gives the median examples/s of each, how long training stood still for a checkpoint, how long one
took to write, and what one a minute would cost: the measured loss, by the ratio of the intervals. Wants two
cores.
"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from scripts import dispatch
from scripts.training_runs import RANKS, REPLICAS, layers, random_data, train

ROWS, STOPPED = 30_000, 85
SETTINGS = ["train.minibatch=100", "cluster.threads=1", "evaluation.every_epochs=0", "output.progress=none"]


def measure(folder: Path, settings: list[str]) -> tuple[float, list[dict[str, Any]]]:
    """Train once; return the examples per second, and the records of its checkpoints but the last."""
    run_dir = Path(tempfile.mkdtemp(dir=folder))
    rate = float(train(RANKS, run_dir, settings, good=(STOPPED,))["examples_per_s"])
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return rate, [line for line in lines if line["kind"] == "checkpoint"][:-1]


def main(arguments: list[str]) -> None:
    """Read the command line, and print the table."""
    parser = dispatch.parser(__name__, __doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default 3)")
    parser.add_argument("--seconds", type=float, default=60, help="length of each run (default 60)")
    parser.add_argument("--every", type=float, default=5, help="seconds between checkpoints (default 5)")
    parser.add_argument("--hidden", type=int, nargs="+", default=[512, 512], help="hidden layers")
    given = parser.parse_args(arguments)
    rates: dict[float, list[float]] = {0.0: [], given.every: []}
    taken: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_data(folder / "random.h5", ROWS)
        limits = ["train.epochs=none", f"train.max_time={given.seconds}"]
        settings = [f'data.path="{folder / "random.h5"}"', layers(given.hidden, 10), *limits]
        for _ in range(given.rounds):
            for every in rates:
                asked = [*settings, *SETTINGS, *REPLICAS, f"checkpoint.every_s={every}"]
                rate, checkpoints = measure(folder, asked)
                rates[every].append(rate)
                taken += checkpoints
    report(rates, taken, given.every)


def report(rates: dict[float, list[float]], taken: list[dict[str, Any]], every: float) -> None:
    """Print the table."""
    off, on = (statistics.median(seen) for seen in rates.values())
    stall, write = (statistics.median(one[key] for one in taken) for key in ("stall_s", "write_s"))
    print(f"{len(taken)} checkpoints of {taken[0]['bytes'] / 1e6:.1f} MB")
    print(f"without                {off:10,.0f} examples/s")
    print(f"one every {every:4g} s       {on:10,.0f} examples/s   {on / off:6.3f}")
    print(f"copied in {stall * 1e3:.1f} ms, written in {write * 1e3:.0f} ms meanwhile (medians)")
    print(f"one a minute would cost {max(0.0, 1 - on / off) * every / 60:.2%}")
