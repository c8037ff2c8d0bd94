"""Seconds to an accuracy, dbmpi with its defaults beside PyTorch: 784-512-512-10, both cores.

With --data, as MNIST in HDF5; without, the embedded digits, whose network is 64-512-512-10. PyTorch: one
process with 2 threads, and DDP over gloo with two; each by SGD with momentum, Adagrad and Adam with the best
of three rates, which the part `rates` found on MNIST; evaluated every 6,000 examples, the clock stopped
meanwhile, until the accuracy is there. dbmpi trains twice: once without evaluations, which gives examples/s
and the accuracy at the end; and once so that it stands still every 6,000 examples, as soon as the minibatches
in flight are done, and is evaluated, which gives the examples to the accuracy. The seconds are the examples
by the examples/s: evaluations change neither the clock nor the course of asynchronous replicas. Each round
has a seed of its own, for all.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import h5py

from scripts.bench import rank, runs, torch_ways
from scripts.bench.core import Aim, Group, Options, Row, Turn, seeded
from scripts.launcher import ROOT
from scripts.training_runs import RANKS, REPLICAS, train
from scripts.ways import SYNC

EVERY, LIMIT_S = 6000, 200
AIM = Aim(at_most=0.5)
DIGITS = ROOT / "dbmpi" / "data" / "digits.h5"
STANDS_STILL = [
    f"checkpoint.every_examples={EVERY}",
    "checkpoint.keep=1",
    "evaluation.every_epochs=1e6",  # at checkpoints alone
    "train.portion=5",  # minibatches: few are in flight
    "train.divergence_factor=1e9",  # the first of so short portions may have any loss
]
PARTITIONS = ["cluster.shards=1", "cluster.replicas=1", "cluster.partitions=2"]
OURS: dict[str, tuple[int, int, list[str]]] = {  # ranks, threads, settings
    "serial, 2 threads": (1, 2, []),
    "sync, 2 replicas": (RANKS, 1, [*REPLICAS, *SYNC]),
    "Downpour, 2 replicas": (RANKS, 1, REPLICAS),
    "1 replica x 2 partitions": (4, 1, PARTITIONS),
}
CHOSEN: dict[str, list[torch_ways.Way]] = {  # by the part `rates`
    kind: [("momentum", 0.1), ("adagrad", 0.02), ("adam", 0.001)] for kind in torch_ways.KINDS
}


def groups(options: Options) -> Iterator[Group]:
    """Yield all ways, in turns; the best of ours is compared with the best of PyTorch."""
    turns: dict[str, Turn] = {name: seeded(options, partial(ours, options, name)) for name in OURS}
    turns |= {kind: seeded(options, partial(theirs, options, kind)) for kind in CHOSEN}
    rivals = tuple(f"{kind} {rule}" for kind, ways in CHOSEN.items() for rule, _ in ways)
    to = f"to {options.target:.1%}"
    rows = [Row(f"the best {to}: {{best}}", tuple(OURS), "s", rivals, AIM, lower=True, pair=True)]
    rows += [Row(f"{name} {to}", name, "s", rivals, lower=True) for name in OURS]
    rows += [Row(f"{name} {to}", name, "s", lower=True) for name in rivals]
    for kind, unit in (("examples", "examples"), ("rate", "examples/s")):
        rows += [Row(f"{name}, {kind}", f"{name} {kind}", unit) for name in (*OURS, *rivals)]
    rows += [Row(f"{name}, at the end", f"{name} accuracy", "%", by="mean") for name in OURS]
    yield Group("accuracy", turns, rows)


def figures(name: str, examples: float, rate: float) -> dict[str, float]:
    """Return the figures of one way, by the examples to the accuracy, infinity for never, and examples/s."""
    return {name: examples / rate, f"{name} rate": rate, f"{name} examples": examples}


def ours(options: Options, name: str, seed: int) -> Mapping[str, float]:
    """Train with dbmpi, twice."""
    ranks, threads, own = OURS[name]
    data = options.data or DIGITS
    settings = [f"data.path={json.dumps(str(data))}", *runs.MNIST.settings, *own, *runs.QUIET]
    settings += [f"train.epochs={options.examples / rows(data)}", f"cluster.threads={threads}"]
    settings.append(f"train.seed={seed}")
    whole = runs.run(options.folder, ranks, settings)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        asked = [*settings, *STANDS_STILL, f"train.target.accuracy={options.target}"]
        train(ranks, Path(folder), asked, LIMIT_S, program=rank.program("scored", threads))
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    scores = [line for line in lines if line["kind"] == "eval" and line["accuracy"] >= options.target]
    examples = float(scores[0]["examples"]) if scores else float("inf")
    found = figures(name, examples, float(whole["examples_per_s"]))
    return found | {f"{name} accuracy": 100 * float(whole["test_accuracy"])}


def rows(data: Path) -> int:
    """Return the examples of an epoch."""
    with h5py.File(data) as file:
        return len(file["train"]["y"])


def theirs(options: Options, kind: str, seed: int) -> Mapping[str, float]:
    """Train with PyTorch, by each rule."""
    more = {"examples": options.examples, "every": EVERY, "until": options.target}
    data, ways = str(options.data or DIGITS), CHOSEN[kind]
    result = dict[str, float]()
    for (rule, _), found in zip(
        ways, torch_ways.train(data, torch_ways.KINDS[kind], ways, seed, **more), strict=True
    ):
        examples = torch_ways.examples_to(found, options.target)
        result |= figures(f"{kind} {rule}", examples, found["examples_per_s"])
    return result
