"""Time to an accuracy, dbmpi beside PyTorch: 784-512-512-10, minibatch 100, Adagrad 0.02.

With --data, as MNIST in HDF5; without, the embedded digits, whose network is 64-512-512-10. PyTorch is
evaluated every 6,000 examples, the clock stopped meanwhile, from the first minibatch on. dbmpi trains twice:
once without evaluations, which gives examples/s and the accuracy at the end; and once so that it stands still
every 6,000 examples, as soon as the minibatches in flight are done, and is evaluated, which gives the
examples to the accuracy. The seconds are the examples by the examples/s: evaluations change neither the clock
nor the course of asynchronous replicas.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from scripts import processes
from scripts.bench import rank, runs
from scripts.bench.core import Group, Options, Row, Skipped, Turn, require
from scripts.launcher import ROOT
from scripts.training_runs import REPLICAS, train

EVERY, BATCH, LIMIT_S = 6000, 100, 200
DIGITS = ROOT / "dbmpi" / "data" / "digits.h5"
NETWORK = [
    *runs.MNIST.settings,
    "downpour.rule=adagrad",
    "downpour.learning_rate=0.02",
    f"train.minibatch={BATCH}",
]
STANDS_STILL = [
    f"checkpoint.every_examples={EVERY}",
    "checkpoint.keep=1",
    "evaluation.every_epochs=1e6",  # at checkpoints alone
    "train.portion=5",  # minibatches: few are in flight
    "train.divergence_factor=1e9",  # the first of so short portions may have any loss
]
OURS: dict[str, tuple[int, int, list[str]]] = {  # ranks, threads, settings of the cluster
    "serial, 1 thread": (1, 1, []),
    "serial, 2 threads": (1, 2, []),
    "1 replica x 2 partitions": (4, 1, ["cluster.shards=1", "cluster.replicas=1", "cluster.partitions=2"]),
    "2 replicas + shard": (4, 1, REPLICAS),
}
THEIRS = {  # threads, ranks, compiled
    "PyTorch, 1 thread": (1, 1, False),
    "PyTorch, 2 threads": (2, 1, False),
    "PyTorch compiled, 1 thread": (1, 1, True),
    "PyTorch compiled, 2 threads": (2, 1, True),
    "PyTorch DDP gloo, 2 processes": (1, 2, False),
}


def groups(options: Options) -> Iterator[Group]:
    """Yield all ways, in turns; each is compared with the best of PyTorch."""
    turns: dict[str, Turn] = {name: partial(ours, options, name) for name in OURS}
    turns |= {name: partial(theirs, options, name) for name in THEIRS}
    rows = []
    for figure, unit, lower in ((f"to {options.target:.1%}", "s", True), ("rate", "examples/s", False)):
        rivals = tuple(f"{name} {figure}" for name in THEIRS)
        title = "" if figure == "rate" else f" {figure}"
        rows += [Row(f"{name}{title}", f"{name} {figure}", unit, rivals, lower=lower) for name in OURS]
        rows += [Row(f"{name}{title}", f"{name} {figure}", unit, lower=lower) for name in THEIRS]
    rows += [Row(f"{name}, at the end", f"{name} accuracy", "%") for name in (*OURS, *THEIRS)]
    yield Group("accuracy", turns, rows)


def figures(
    name: str, options: Options, rate: float, reached: Sequence[int], accuracy: float
) -> Mapping[str, float]:
    """Return the figures of one way; `reached` begins with the examples to the accuracy, if it was
    reached."""
    seconds = reached[0] / rate if reached else float("inf")
    return {
        f"{name} to {options.target:.1%}": seconds,
        f"{name} rate": rate,
        f"{name} accuracy": 100 * accuracy,
    }


def ours(options: Options, name: str) -> Mapping[str, float]:
    """Train with dbmpi, twice."""
    ranks, threads, cluster = OURS[name]
    settings = [f"data.path={json.dumps(str(options.data or DIGITS))}", *NETWORK, *cluster, *runs.QUIET]
    settings += [
        "train.epochs=none",
        f"cluster.threads={threads}",
        f"train.steps={options.examples // BATCH}",
    ]
    whole = runs.run(options.folder, ranks, settings)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        asked = [*settings, *STANDS_STILL, f"train.target.accuracy={options.target}"]
        train(ranks, Path(folder), asked, LIMIT_S, program=rank.program("scored", threads))
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    scores = [line for line in lines if line["kind"] == "eval"]
    reached = [one["examples"] for one in scores if one["accuracy"] >= options.target]
    return figures(name, options, float(whole["examples_per_s"]), reached, float(whole["test_accuracy"]))


def theirs(options: Options, name: str) -> Mapping[str, float]:
    """Train with PyTorch."""
    require("torch")
    threads, ranks, compiled = THEIRS[name]
    asked: dict[str, Any] = {"data": str(options.data or DIGITS), "threads": threads, "ranks": ranks}
    asked |= {"compiled": compiled, "examples": options.examples, "every": EVERY}
    script = ROOT / "scripts" / "bench" / "torch_run.py"
    done = processes.run([sys.executable, script, json.dumps(asked)], timeout_s=LIMIT_S)
    if done.status != 0:
        last = (done.err.strip().splitlines() or ["timed out"])[-1]
        raise Skipped(f"torch.compile does not work here: {last}") if compiled else RuntimeError(str(done))
    found = json.loads(done.out.splitlines()[-1])
    curve = found["curve"]
    reached = [examples for examples, _, accuracy in curve if accuracy >= options.target]
    return figures(name, options, found["examples_per_s"], reached, curve[-1][2])
