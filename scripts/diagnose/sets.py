"""Examples that can be learned: images of classes, a table of numbers, and rows that cost much to read."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

CLASSES = 10
TEST_ROWS = 1000

Array = NDArray[np.generic]


def images(path: Path, rows: int = 20_000, side: int = 28) -> None:
    """Write gray images: a smooth pattern for each class, moved, under noise."""
    rng = np.random.default_rng(1)
    coarse = rng.normal(size=(CLASSES, 7, 7))
    patterns = np.kron(coarse, np.ones((side // 7, side // 7)))

    def draw(count: int) -> tuple[Array, Array]:
        labels = np.arange(count) % CLASSES
        rng.shuffle(labels)
        shifts = rng.integers(-3, 4, count)
        moved = np.stack([np.roll(patterns[k], shift, 1) for k, shift in zip(labels, shifts, strict=True)])
        noisy = 128 + 40 * moved + 150 * rng.normal(size=moved.shape)
        return noisy.clip(0, 255).astype(np.uint8), labels

    _write(path, draw, rows)


def table(path: Path, rows: int = 20_000, columns: int = 40) -> None:
    """Write a table of numbers, and a target that is a smooth function of some of them, and noise."""
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(columns, 8)) / np.sqrt(columns)

    def draw(count: int) -> tuple[Array, Array]:
        x = rng.normal(size=(count, columns)).astype(np.float32)
        y = np.tanh(x @ weights).sum(axis=1) + 0.1 * rng.normal(size=count)
        return x, y.astype(np.float32)

    _write(path, draw, rows)


def costly(path: Path, rows: int = 4_000, columns: int = 8_192) -> None:
    """Write rows that cost much to read: wide, in float64, compressed, in chunks that cut across rows."""
    rng = np.random.default_rng(3)
    means = rng.normal(size=(CLASSES, columns))

    def draw(count: int) -> tuple[Array, Array]:
        labels = rng.permutation(np.arange(count) % CLASSES)
        return means[labels] + rng.normal(size=(count, columns)), labels

    _write(path, draw, rows, chunks=(64, 256), compression="gzip")


def _write(path: Path, draw: Callable[[int], tuple[Array, Array]], rows: int, **storage: object) -> None:
    with h5py.File(path, "w") as out:
        for name, count in (("train", rows), ("test", TEST_ROWS)):
            x, y = draw(count)
            out.create_dataset(f"{name}/x", data=x, **storage)
            out.create_dataset(f"{name}/y", data=y)


MAKERS = {"images": images, "table": table, "costly": costly}
