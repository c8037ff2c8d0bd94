"""A look ahead, in a process of its own, for it loads the libraries: which groups there are, and the data."""

import importlib
import json
from math import prod
from pathlib import Path
from typing import Any

from scripts.bench import core

INPUTS, CLASSES = 784, 10


def main(asked: str) -> int:
    """Print, as JSON, `groups`, their names; `wanted`, by part; and `data`, what is wrong with the file."""
    given = json.loads(asked)
    every, asked_for = (core.Options(folder=Path("."), only=only) for only in ("", given["only"]))
    groups: list[str] = []
    wanted = {}
    for part in given["parts"]:
        try:
            module = importlib.import_module(f"scripts.bench.parts.{part}")
            names = [group.name for group in module.groups(every)]
        except Exception:  # the part says so itself
            wanted[part] = True
            continue
        groups += names
        wanted[part] = any(map(asked_for.wants, names))
    wrong = complaint(Path(given["data"])) if given["data"] else ""
    print(json.dumps({"groups": groups, "wanted": wanted, "data": wrong}))
    return 0


def complaint(path: Path) -> str:
    """Return what keeps a file from being trained on as MNIST is; "" for nothing."""
    import h5py

    try:
        with h5py.File(path) as file:
            return _complaint(file)
    except OSError as error:
        return f"it cannot be read as HDF5 ({str(error).splitlines()[0]})"


def _complaint(file: Any) -> str:
    for split in ("train", "test"):
        missing = [name for name in (f"{split}/x", f"{split}/y") if name not in file]
        if missing:
            return f"it has no {missing[0]}"
        x, y = file[f"{split}/x"], file[f"{split}/y"]
        if prod(x.shape[1:]) != INPUTS:
            return f"{split}/x has the shape {x.shape}"
        if y.dtype.kind not in "iu" or y.shape != x.shape[:1] or not len(y):
            return f"{split}/y is {y.dtype} of the shape {y.shape}, no label of each image"
        least, classes = int(y[:].min()), int(y[:].max()) + 1
        if least < 0 or (classes != CLASSES if split == "train" else classes > CLASSES):
            return f"{split}/y has labels from {least} to {classes - 1}"
    return ""
