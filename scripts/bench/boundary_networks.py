"""The networks whose boundary is measured, cut into two partitions. Pure."""

from dataclasses import dataclass
from pathlib import Path

from scripts.launcher import ROOT
from scripts.training_runs import layers

BATCH = 100


@dataclass(frozen=True)
class Shape:
    """A configuration, and the shape of an example."""

    inputs: tuple[int, ...]
    settings: tuple[str, ...] = ()
    file: Path | None = None


NETWORKS = {
    "784-512-512-10": Shape((784,), (layers([512, 512], 10),)),
    "440-2560x4-8192": Shape((440,), (layers([2560] * 4, 8192, "sigmoid"),)),
    "image-28.toml": Shape((28, 28, 1), file=ROOT / "examples" / "image-28.toml"),
}
