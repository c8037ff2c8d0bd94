"""Serial training with two threads beside one: whole runs of the examples' networks.

Some networks have an aim of their own; none may be slower with threads (0.95). paper-image.toml needs
a cluster, and is no serial run.
"""

from collections.abc import Iterator

from scripts.bench.core import Aim, Group, Options, Row
from scripts.bench.runs import IMAGE_28, IMAGE_32, MNIST, SPEECH, Network, rate

NEVER_SLOWER = 0.95
DIGITS = Network("digits 64-128-10 B 16", (8, 8), 10, (), 12_000, minibatch=16)
LBFGS = ("cluster.replicas=1", "sandblaster.iterations=3", "evaluation.every_epochs=0")
BATCH = Network("mnist-lbfgs.toml B 250", (28, 28), 10, LBFGS, 0, "mnist-lbfgs.toml", 250)
AIMS = [(MNIST, 1.6), (SPEECH, 1.7), (IMAGE_28, 1.5), (IMAGE_32, NEVER_SLOWER), (DIGITS, NEVER_SLOWER)]


def groups(options: Options) -> Iterator[Group]:
    """Yield one and two threads of each network, in turns."""
    for network, aim in [*AIMS, (BATCH, NEVER_SLOWER)]:
        turns = {
            f"{n} thread{'s'[: n - 1]}": rate(options, network, [f"cluster.threads={n}"]) for n in (1, 2)
        }
        row = Row(f"{network.name}, 2 threads", "2 threads", "examples/s", ("1 thread",), Aim(aim))
        yield Group(network.name, turns, [row])
