"""Ways to let the rows of a data file lie in other files, where they are or where they are not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests.system.damage.parts import Rng, draw, values_of


def _take(path: Path, name: str, source: str, shape: tuple[int, ...]) -> None:
    """Let a data set take its rows from another of the same name, with its attributes."""
    with h5py.File(path, "r+") as file:
        attributes, kind = dict(file[name].attrs), file[name].dtype
        layout = h5py.VirtualLayout(shape, kind)
        layout[...] = h5py.VirtualSource(source, name, shape)
        del file[name]
        file.create_virtual_dataset(name, layout).attrs.update(attributes)


def _point_to(path: Path, name: str, raw: Path, values: np.ndarray) -> None:
    """Let a data set have its rows in a raw file, with its attributes."""
    with h5py.File(path, "r+") as file:
        attributes = dict(file[name].attrs)
        del file[name]
        place = [(str(raw), 0, values.nbytes)]
        file.create_dataset(name, values.shape, values.dtype, external=place).attrs.update(attributes)


def far_source(path: Path, rng: Rng) -> str:
    """Take rows from elsewhere, where there is nothing, too little, or damage."""
    name = "/".join(draw(rng))
    values, raw, other = values_of(path, name), path.with_suffix(".raw"), path.with_suffix(".other")
    kinds: dict[str, Callable[[], None]] = {
        "virtual": lambda: _take(path, name, "missing.h5", values.shape),
        "virtual circle": lambda: _take(path, name, ".", values.shape),
        "short virtual": lambda: _take(path, name, other.name, values.shape),
        "cut virtual": lambda: _take(path, name, other.name, values.shape),
        "external": lambda: _point_to(path, name, raw, values),
        "short external": lambda: _point_to(path, name, raw, values),
    }
    kind = list(kinds)[rng.integers(len(kinds))]
    if kind == "short virtual":
        with h5py.File(other, "w") as file:
            file[name] = values[:-1]
    elif kind == "cut virtual":
        other.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "short external":
        raw.write_bytes(values.tobytes()[: values.nbytes // 2])
    kinds[kind]()
    return f"{name}: {kind}"


def rows_elsewhere(path: Path, rng: Rng) -> str:
    """Take rows from another file, in which they are all there."""
    split, key = draw(rng)
    name, other = f"{split}/{key}", path.with_suffix(".other")
    values, raw = values_of(path, name), path.with_suffix(".raw")
    raw.write_bytes(values.tobytes())
    shutil.copy(path, other)
    kind = ("virtual", "external", "link")[rng.integers(3)]
    if kind == "virtual":
        _take(path, name, other.name, values.shape)
    elif kind == "external":
        _point_to(path, name, raw, values)
    else:
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = h5py.ExternalLink(other.name, name)
    return f"{name}: {kind}"
