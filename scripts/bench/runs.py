"""Whole runs of `python -m dbmpi.train`, as turns: each gives the examples/s of its summary.

Examples are random bytes: they cost what real ones cost. A run's directory is removed when it has ended.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scripts.bench.core import Options
from scripts.launcher import ROOT
from scripts.training_runs import layers, random_data, train

QUIET = ["evaluation.every_epochs=0", "output.progress=none", "checkpoint.every_s=0"]
PROGRAM = ("-m", "dbmpi.train")
ROWS = 30_000
ONE_REPLICA = ["cluster.replicas=1", "cluster.grid=none"]


@dataclass(frozen=True)
class Network:
    """A network, the shape of its examples, and how many make a run of some seconds.

    Attributes
    ----------
    settings, example
        What the command line says of it, after the file of `examples/`, if there is one.
    steps
        Minibatches of a run on one thread; 0: the settings say how long it is.
    """

    name: str
    shape: tuple[int, ...]
    classes: int
    settings: tuple[str, ...]
    steps: int
    example: str = ""
    minibatch: int = 100

    @property
    def program(self) -> list[str]:
        """The words after `python`."""
        return [*PROGRAM, *([str(ROOT / "examples" / self.example)] if self.example else [])]


MNIST = Network("784-512-512-10 B 100", (28, 28), 10, (layers([512, 512], 10),), 1000)
SPEECH = Network("440-2560x4-8192 B 100", (440,), 8192, (layers([2560] * 4, 8192, "sigmoid"),), 25)
IMAGE_28 = Network("image-28.toml B 100", (28, 28), 10, tuple(ONE_REPLICA), 600, "image-28.toml")
IMAGE_32 = Network("image-32.toml B 100", (32, 32, 3), 10, tuple(ONE_REPLICA), 300, "image-32.toml")


@cache
def data(folder: Path, shape: tuple[int, ...], classes: int, rows: int, compressed: bool = False) -> Path:
    """Return a file of random examples."""
    path = folder / f"{'x'.join(map(str, shape))}-{classes}-{rows}{'-gzip' * compressed}.h5"
    random_data(path, rows, shape, classes, compressed)
    return path


def run(
    folder: Path, ranks: int, settings: Sequence[str], program: Sequence[str] = PROGRAM, **more: Any
) -> Any:
    """Train once, and return what `summary.json` says."""
    with tempfile.TemporaryDirectory(dir=folder) as run_dir:
        return train(ranks, Path(run_dir), [*QUIET, *settings], program=program, **more)


def rate(
    options: Options, network: Network, settings: Sequence[str], ranks: int = 1, steps: int | None = None
) -> Callable[[], float]:
    """Return a turn: examples/s of one run of a network, of `steps` minibatches."""
    steps, batch = steps or network.steps, network.minibatch

    def turn() -> float:
        examples = data(options.folder, network.shape, network.classes, min(ROWS, steps * batch or ROWS))
        asked = [
            f"data.path={json.dumps(str(examples))}",
            *network.settings,
            f"train.minibatch={batch}",
            *settings,
        ]
        asked += ["train.epochs=none", f"train.steps={steps}"] if steps else []
        return float(run(options.folder, ranks, asked, network.program)["examples_per_s"])

    return turn
