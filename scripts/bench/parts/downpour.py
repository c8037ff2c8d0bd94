"""Downpour with 2 replicas beside serial training.

784-512-512-10, minibatch 100: 1 coordinator + 1 shard + 2 replicas, a thread each, with n_fetch = n_push = 1
and with 4, and with 1 where each fetch is waited for.
"""

from collections.abc import Iterator

from scripts.bench.core import Group, Options, Row
from scripts.bench.runs import MNIST, rate
from scripts.training_runs import RANKS, REPLICAS

STEPS = 2400
THREAD = "cluster.threads=1"
CASES = {
    "n = 1, overlapping": ["downpour.overlap=true"],
    "n = 1, each fetch awaited": ["downpour.overlap=false"],
    "n = 4, overlapping": ["downpour.overlap=true", "downpour.n_fetch=4", "downpour.n_push=4"],
}


def groups(options: Options) -> Iterator[Group]:
    """Yield serial training and the replicas, in turns."""
    turns = {"serial": rate(options, MNIST, [THREAD], steps=STEPS)}
    for name, settings in CASES.items():
        turns[name] = rate(options, MNIST, [THREAD, *REPLICAS, *settings], RANKS, STEPS)
    rows = [Row(f"2 replicas, {name}", name, "examples/s", ("serial",)) for name in CASES]
    yield Group("downpour", turns, rows)
