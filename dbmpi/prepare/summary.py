"""What a data file holds, in a few lines."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from dbmpi.arrays import Array
from dbmpi.text import several

MOST_CLASSES = 10  # that are named
MOST_LEFT_OUT = 200  # characters
MANY_CLASSES = 20  # whole numbers of so many values may be amounts
IMBALANCE = 5  # rows of the largest class for one of the smallest


def summary(path: Path) -> str:
    """Describe a data file that was just written."""
    with h5py.File(path, "r") as file:
        x, y = file["train/x"], file["train/y"]
        splits = [name for name in ("train", "validation", "test") if name in file]
        rows = ", ".join(f"{name} {tuple(file[name]['x'].shape)}" for name in splits)
        lines = [f"{path}: {rows}, {x.dtype}, {path.stat().st_size / 1e6:.1f} MB"]
        lines += [f"  {name}: {_said(file, name)}" for name in ("inputs", "arrays") if name in file.attrs]
        lines += [f"  {line}" for line in _targets(y)]
        cut = "" if "test" in file else " data.test_fraction=0.1"
        if "left_out" in file.attrs:
            text = str(file.attrs["left_out"])
            lines.append(f"  left out: {text[:MOST_LEFT_OUT]}{'...' if len(text) > MOST_LEFT_OUT else ''}")
    lines.append(f"  train: python -m dbmpi.train --set data.path={shlex.quote(str(path))}{cut}")
    return "\n".join(lines)


def _said(file: h5py.File, name: str) -> str:
    """Return what an attribute says, a text or several."""
    return "; ".join(map(str, np.atleast_1d(file.attrs[name])))


def _targets(y: h5py.Dataset) -> Iterator[str]:
    width = int(np.prod(y.shape[1:], dtype=int))
    if y.dtype.kind == "f":
        yield from _numbers(y[()], width)
    elif width > 1:
        names = [*map(str, y.attrs.get("class_names", range(width)))]
        shares = [f"{name} {share:.0%}" for name, share in zip(names, y[()].mean(axis=0), strict=True)]
        yield f"targets: {several(width, 'label')} of each row, with their shares: {_some(shares)}"
    else:
        yield from _classes(np.bincount(y[()]), [*map(str, y.attrs.get("class_names", ()))])


def _numbers(y: Array, width: int) -> Iterator[str]:
    yield f"targets: {several(width, 'number')} of each row, {y.min():.4g} to {y.max():.4g}"
    distinct = len(np.unique(y[:1000]))
    if width == 1 and distinct <= MANY_CLASSES and (y % 1 == 0).all():
        yield f"they are {distinct} whole numbers: if they are classes, add --task classes"


def _classes(counts: Array, names: list[str]) -> Iterator[str]:
    names = names or [*map(str, range(len(counts)))]
    counts = np.pad(counts, (0, len(names) - len(counts)))
    rows = [f"{name} {count:,}" for name, count in zip(names, counts, strict=True)]
    yield f"targets: {several(len(names), 'class', 'classes')}, with their rows for train: {_some(rows)}"
    if len(names) > MANY_CLASSES and all(name.lstrip("-").isdigit() for name in names):
        yield "they are whole numbers: if they are amounts, add --task numbers"
    there = counts[counts > 0]
    if len(there) > 1 and there.max() >= IMBALANCE * there.min():
        yield (
            f"always the largest class would be right in {there.max() / there.sum():.1%}: look at "
            "balanced_accuracy of summary.json, and at train.class_weights=balanced"
        )


def _some(texts: list[str]) -> str:
    return ", ".join(texts[:MOST_CLASSES]) + (", ..." if len(texts) > MOST_CLASSES else "")
