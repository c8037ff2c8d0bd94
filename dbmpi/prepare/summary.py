"""What a data file holds, in a few lines."""

import shlex
from pathlib import Path

import h5py
import numpy as np

from dbmpi.text import several

MOST_CLASSES = 10  # that are named


def summary(path: Path) -> str:
    """Describe a data file that was just written."""
    with h5py.File(path, "r") as file:
        x, y = file["train/x"], file["train/y"]
        rows = ", ".join(f"{name} {tuple(group['x'].shape)}" for name, group in file.items())
        lines = [f"{path}: {rows}, {x.dtype}, {path.stat().st_size / 1e6:.1f} MB"]
        lines.append(f"  {_targets(y)}")
        floats = x.dtype.kind == "f" and not np.ndim(x.attrs["scale"]) and x.attrs["scale"] == 1
        whole = "test" in file
        if "left_out" in file.attrs:
            lines.append(f"  left out: {file.attrs['left_out']}")
    scaling = (" data.scaling=columns" if floats else "") + ("" if whole else " data.test_fraction=0.1")
    lines.append(f"  train: python -m dbmpi.train --set data.path={shlex.quote(str(path))}{scaling}")
    return "\n".join(lines)


def _targets(y: h5py.Dataset) -> str:
    if "class_names" not in y.attrs:
        return "labels" if y.dtype.kind in "iu" else several(int(np.prod(y.shape[1:], dtype=int)), "target")
    names = [str(name) for name in y.attrs["class_names"]]
    shown = ", ".join(names[:MOST_CLASSES]) + (", ..." if len(names) > MOST_CLASSES else "")
    return f"{several(len(names), 'class', 'classes')}: {shown}"
