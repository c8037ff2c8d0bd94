"""Synchronous training by 2 replicas beside PyTorch's DDP over gloo, and beside serial training.

784-512-512-10 on random examples, minibatch 100 for each replica or process, Adagrad, one thread each.
"""

from collections.abc import Iterator

from scripts.bench import runs, torch_ways
from scripts.bench.core import Aim, Group, Options, Row, Turn
from scripts.training_runs import RANKS, REPLICAS
from scripts.ways import SYNC, rule

STEPS = 2400
DDP = "PyTorch DDP gloo, 2 processes"
SAME = ["cluster.threads=1", *rule("adagrad"), "downpour.learning_rate=0.02"]


def groups(options: Options) -> Iterator[Group]:
    """Yield the three, in turns; Downpour stands beside them without an aim."""
    replicas = [*SAME, *REPLICAS]
    turns: dict[str, Turn] = {
        "serial, 1 thread": runs.rate(options, runs.MNIST, SAME, steps=STEPS),
        "sync": runs.rate(options, runs.MNIST, [*replicas, *SYNC], RANKS, STEPS),
        "Downpour": runs.rate(options, runs.MNIST, replicas, RANKS, STEPS),
        DDP: lambda: ddp_rate(options),
    }
    serial = ("serial, 1 thread",)
    rows = [
        Row("sync, 2 replicas, beside DDP", "sync", "examples/s", (DDP,), Aim(3.3), pair=True),
        Row("sync, 2 replicas, beside serial", "sync", "examples/s", serial, Aim(1.5), pair=True),
        Row("Downpour, 2 replicas, beside serial", "Downpour", "examples/s", serial, pair=True),
    ]
    yield Group("sync", turns, rows)


def ddp_rate(options: Options) -> float:
    """Return the examples/s of two processes of PyTorch."""
    batch = runs.MNIST.minibatch
    data = runs.data(options.folder, runs.MNIST.shape, runs.MNIST.classes, runs.ROWS)
    more = {"examples": STEPS * batch, "every": 0, "until": None}
    (found,) = torch_ways.train(str(data), torch_ways.KINDS[DDP], [("adagrad", 0.02)], options.seed, **more)
    return float(found["examples_per_s"])
