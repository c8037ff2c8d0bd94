"""Accuracy of asynchronous replicas after 8 epochs of MNIST, in points below serial training.

Defaults, 784-512-512-10: 2, 4, 6 and 28 replicas and a shard, beside one process, which learns from as many
examples. Means over the rounds, each of which has a seed of its own. --load adds busy processes.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial

from scripts.bench import runs
from scripts.bench.core import Aim, Group, Options, Row, require_data, seeded

EPOCHS, ROUNDS = 8, 5
AIMS = {2: 0.3, 4: 0.3, 6: 0.3, 28: 1.5}  # replicas -> points


def groups(options: Options) -> Iterator[Group]:
    """Yield each number of replicas; serial training is run once a seed, for all of them."""
    serial = cache(partial(trained, options, 0))
    for replicas, points in AIMS.items():
        name = f"{replicas} replicas"
        turn = seeded(options, partial(lost, options, replicas, serial))
        rows = [
            Row(f"{name}, below serial", f"{name} lost", "points", aim=Aim(at_most=points), by="mean"),
            Row(f"{name}, accuracy", f"{name} accuracy", "%", by="mean"),
            Row("serial, accuracy", f"{name} serial", "%", by="mean"),
            Row(f"{name}, examples/s", f"{name} rate", "examples/s"),
            Row(f"{name}, mean staleness", f"{name} staleness", "updates"),
        ]
        yield Group(name, {name: turn}, rows)


def lost(
    options: Options, replicas: int, serial: Callable[[int], dict[str, float]], seed: int
) -> Mapping[str, float]:
    """Train by replicas, and serially if that has not been done; return the figures."""
    name = f"{replicas} replicas"
    alone, found = serial(seed), trained(options, replicas, seed)
    own, other = (100 * float(one["test_accuracy"]) for one in (found, alone))
    return {
        f"{name} lost": other - own,
        f"{name} accuracy": own,
        f"{name} serial": other,
        f"{name} rate": found["examples_per_s"],
        f"{name} staleness": found["staleness_mean"],
    }


def trained(options: Options, replicas: int, seed: int) -> dict[str, float]:
    """Train once with so many replicas, 0 for one process; return what summary.json says."""
    data = json.dumps(str(require_data(options)))
    settings = [f"data.path={data}", *runs.MNIST.settings, f"train.epochs={EPOCHS}", f"train.seed={seed}"]
    if replicas:
        settings += ["cluster.shards=1", f"cluster.replicas={replicas}", "cluster.partitions=1"]
    found: dict[str, float] = runs.run(options.folder, replicas + 2 if replicas else 1, settings)
    return found
