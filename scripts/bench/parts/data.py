"""Training from a file beside training on the same data in memory: serial runs on one thread.

In memory the program's own reader is asked for rows, and gives them from arrays (`scripts.bench.rank`,
memory). The file is as numpy's writers leave it, or in compressed chunks.
"""

import json
from collections.abc import Callable, Iterator

from scripts.bench import rank, runs
from scripts.bench.core import Aim, Group, Options, Row

AIM = Aim(0.95)
ROWS, STEPS = 30_000, 1200
SETTINGS = ["cluster.threads=1", "train.minibatch=100", "train.epochs=none", f"train.steps={STEPS}"]


def groups(options: Options) -> Iterator[Group]:
    """Yield the file and the memory, in turns, of a plain file and of a compressed one."""
    for kind, compressed in (("plain", False), ("compressed chunks", True)):
        turns = {
            "file": rate(options, compressed, list(runs.PROGRAM)),
            "memory": rate(options, compressed, rank.program("memory")),
        }
        row = Row(f"784-512-512-10 B 100, {kind} file", "file", "examples/s", ("memory",), AIM)
        yield Group(f"data {kind}", turns, [row])


def rate(options: Options, compressed: bool, program: list[str]) -> Callable[[], float]:
    """Return a turn: examples/s of one run."""

    def turn() -> float:
        file = runs.data(options.folder, (28, 28), 10, ROWS, compressed)
        settings = [f"data.path={json.dumps(str(file))}", *runs.MNIST.settings, *SETTINGS]
        return float(runs.run(options.folder, 1, settings, program)["examples_per_s"])

    return turn
