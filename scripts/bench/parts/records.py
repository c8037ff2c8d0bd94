"""Training with records, with a trace and with TensorBoard files beside training without, by examples/s.

Without: hardly any record. With: as by default, about 200 train records a run; and the same with a trace of
every rank, or with TensorBoard files. Serially, and with 1 replica on 3 ranks; the network for MNIST, and a
small one with small minibatches, which is the worst case. A record costs the same in runs of any length.
"""

from collections.abc import Iterator
from dataclasses import replace

from scripts.bench.core import Aim, Group, Options, Row
from scripts.bench.runs import MNIST, ONE_REPLICA, Network, rate
from scripts.training_runs import layers

ROUNDS = 10
AIM = Aim(0.98)
SMALL = Network("784-64-10 B 20", (28, 28), 10, (layers([64], 10),), 40_000, minibatch=20)
SELDOM = ["output.every_examples=0", "output.every_s=3600", "output.shard_every_s=3600"]
WAYS = {"records": [], "trace": ["output.trace=true"], "tensorboard": ["output.tensorboard=true"]}


def groups(options: Options) -> Iterator[Group]:
    """Yield a group for each network and number of ranks: all ways in turns, each beside training without."""
    for network in (replace(MNIST, steps=2 * MNIST.steps), SMALL):
        for ranks in (1, 3):
            common = ["cluster.threads=1", *(ONE_REPLICA if ranks > 1 else [])]
            turns = {"without": rate(options, network, [*common, *SELDOM], ranks)}
            turns |= {way: rate(options, network, [*common, *asked], ranks) for way, asked in WAYS.items()}
            title = f"{network.name}, {ranks} rank{'s' if ranks > 1 else ''}"
            rows = [Row(f"{title}, {way}", way, "examples/s", ("without",), AIM) for way in WAYS]
            yield Group(title, turns, rows)
