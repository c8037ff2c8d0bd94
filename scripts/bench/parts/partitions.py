"""One replica of two partitions beside serial training on one thread, on the speech network.

1 coordinator + 1 shard + 1 replica of 2 partitions, a thread each; with n = n_fetch = n_push = 1 and 20.
"""

from collections.abc import Iterator

from scripts.bench.core import Aim, Group, Options, Row
from scripts.bench.runs import MNIST, SPEECH, rate

ONE_THREAD = "cluster.threads=1"
SPLIT = [ONE_THREAD, "cluster.shards=1", "cluster.replicas=1", "cluster.partitions=2"]
RANKS = 4


def groups(options: Options) -> Iterator[Group]:
    """Yield serial training and both ways to split it, in turns; the small network without an aim."""
    for network, aims, steps in ((SPEECH, {1: 1.3, 20: 1.7}, 60), (MNIST, {1: None, 20: None}, 1500)):
        turns = {"serial": rate(options, network, [ONE_THREAD], steps=steps)}
        rows = []
        for n, aim in aims.items():
            every = [f"downpour.n_fetch={n}", f"downpour.n_push={n}"]
            turns[f"n = {n}"] = rate(options, network, [*SPLIT, *every], RANKS, steps)
            title = f"{network.name}, 2 partitions, n = {n}"
            rows.append(Row(title, f"n = {n}", "examples/s", ("serial",), Aim(aim) if aim else None))
        yield Group(network.name, turns, rows)
