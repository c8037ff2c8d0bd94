"""Small data files of every layout, and the case that a number stands for: a file spoilt in one way.

A case is a pure function of the seed and its number, so that one that fails can be made again.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.system.damage import spoil_bytes, spoil_content

Rng = np.random.Generator
TRAIN, TEST, FEATURES, CLASSES = 48, 16, 6, 4
SHAPES = ((FEATURES,), (3, 2), (3, 2, 1))
TYPES = ("u1", "f2", "f4", "f8", ">f4")
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"chunks": True},
    {"chunks": True, "compression": "gzip"},
    {"chunks": True, "compression": "gzip", "shuffle": True},
    {"chunks": True, "compression": "lzf"},
    {"chunks": True, "fletcher32": True},
)


@dataclass(frozen=True)
class Case:
    """One spoilt file.

    `labels`: integer labels, not float targets. `must`: "refuse", "accept", or "" where both may be right.
    `original`: where every byte that means anything has a checksum, the file that it must equal if accepted.
    """

    number: int
    path: str
    labels: bool
    what: str
    must: str = ""
    original: str = ""

    def plain(self) -> dict[str, Any]:
        """Return the case as JSON takes it."""
        return asdict(self)


def examples(rng: Rng, rows: int, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Return inputs of a type, of moderate size."""
    values = rng.integers(0, 256, (rows, *shape)) if kind == "u1" else rng.normal(size=(rows, *shape))
    return values.astype(kind)


def write_valid(path: Path, rng: Rng) -> tuple[bool, bool]:
    """Write a valid file of a layout that is drawn; return whether it has labels, and all its checksums."""
    labels, latest = bool(rng.integers(2)), bool(rng.integers(2))
    shape, kind = SHAPES[rng.integers(len(SHAPES))], TYPES[rng.integers(len(TYPES))]
    layout = dict(FILTERS[rng.integers(len(FILTERS))])
    attributes = {"scale": 0.5, "offset": -0.25} if rng.integers(2) else {}
    with h5py.File(path, "w", libver="latest" if latest else "earliest") as file:
        for name, rows in (("train", TRAIN), ("test", TEST)):
            if layout:
                layout["chunks"] = (int(rng.integers(4, TEST)), *shape)
            x = file.create_dataset(f"{name}/x", data=examples(rng, rows, shape, kind), **layout)
            x.attrs.update(attributes)
            y = rng.integers(0, CLASSES, rows) if labels else rng.normal(size=(rows, CLASSES)).astype("f4")
            chunks = {**layout, "chunks": (7, *y.shape[1:])} if layout else {}
            file.create_dataset(f"{name}/y", data=y, **chunks)
    return labels, latest and "fletcher32" in layout


def make(seed: int, number: int, directory: Path) -> Case:
    """Write the file of case `number`, and say what it is."""
    rng = np.random.default_rng([seed, number])
    path, original = directory / f"case{number}.h5", ""
    labels, checksummed = write_valid(path, rng)
    # Half of the cases each.
    must, spoilers = ("", spoil_bytes.SPOILERS) if number % 2 else spoil_content.pick(rng)
    if number % 2 and checksummed:
        original = str(shutil.copy(path, directory / f"original{number}.h5"))
    spoiler = spoilers[rng.integers(len(spoilers))]
    detail = spoiler(path, rng)
    return Case(number, str(path), labels, f"{spoiler.__name__} {detail}".strip(), must, original)
