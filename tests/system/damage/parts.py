"""What the ways to spoil a data file share: one of its data sets, drawn, read or replaced."""

from pathlib import Path

import h5py
import numpy as np

Rng = np.random.Generator
SPLITS, KEYS = ("train", "test"), ("x", "y")


def draw(rng: Rng) -> tuple[str, str]:
    """Draw a data set."""
    return SPLITS[rng.integers(2)], KEYS[rng.integers(2)]


def replace(path: Path, name: str, value: object, **more: object) -> None:
    """Put other values in the place of a data set, with its attributes."""
    with h5py.File(path, "r+") as file:
        attributes = dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, data=value, **more).attrs.update(attributes)


def values_of(path: Path, name: str) -> np.ndarray:
    """Return the values of a data set."""
    with h5py.File(path, "r") as file:
        return file[name][...]
