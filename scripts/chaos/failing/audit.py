"""Looks at what a run has left, with a program of its own: nothing of dbmpi is used.

A checkpoint claims to be whole by the name of its directory and by its manifest. The claim is true if the
manifest's seal is right, every file has its size and SHA-256, and the shards' files hold, one after another,
vectors as long as the model.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Vectors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Saved:
    """A checkpoint that is whole: after how many minibatches it was taken, and the vectors of all shards.

    `elapsed_s` are the seconds of training that it holds, `iterations` those of a batch method.
    """

    number: int
    steps: int
    vectors: Vectors
    elapsed_s: float = 0.0
    iterations: int = 0

    @property
    def digest(self) -> str:
        """Return a checksum over all vectors."""
        total = hashlib.sha256()
        for name in sorted(self.vectors):
            total.update(name.encode() + self.vectors[name].tobytes())
        return total.hexdigest()


class Broken(Exception):
    """A claim that is not true; the text says which."""


def checkpoints(run: Path) -> Iterator[tuple[int, Saved | Broken]]:
    """Yield the checkpoints of a run, the newest first."""
    folder = run / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    for number in sorted((int(name) for name in names if name.isdigit()), reverse=True):
        try:
            yield number, read(folder / f"{number:06d}")
        except (Broken, OSError, ValueError, KeyError) as error:
            yield number, Broken(f"checkpoint {number}: {error!r}")


def read(directory: Path) -> Saved:
    """Read a checkpoint. Raises Broken, OSError, ValueError or KeyError where it is not whole."""
    manifest = json.loads((directory / "manifest.json").read_bytes())
    seal = manifest.pop("sha256")
    if seal != hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest():
        raise Broken("the seal of the manifest")
    for name, said in manifest["files"].items():
        content = (directory / name).read_bytes()
        if (len(content), hashlib.sha256(content).hexdigest()) != (said["bytes"], said["sha256"]):
            raise Broken(f"{name} is not as the manifest says")
    vectors, log = _joined(directory, manifest), manifest["state"]["book"]
    elapsed_s, iterations = float(log["elapsed_s"]), int(log["iterations"])
    return Saved(int(manifest["number"]), int(log["step"]), vectors, elapsed_s, iterations)


def _joined(directory: Path, manifest: dict[str, Any]) -> Vectors:
    """Return the vectors of all shards' files, each as one."""
    parts: dict[str, list[np.ndarray]] = {}
    for name in sorted(name for name in manifest["files"] if name.startswith("shard-")):
        with h5py.File(directory / name, "r", locking=False) as file:
            for vector in file:
                parts.setdefault(vector, []).append(file[vector][...])
    size = sum(math.prod(shape) for shape in manifest["model"]["tensors"].values())
    joined = {name: np.concatenate(found) for name, found in parts.items() if name != "updates"}
    for name, values in joined.items():
        if len(values) != size or not np.isfinite(values).all():
            raise Broken(f"{name} has {len(values)} of {size} elements, or some that are not finite")
    return joined


def tensors(directory: Path) -> Vectors:
    """Return the parameters of a checkpoint, whose files are whole, by name."""
    with h5py.File(directory / "index.h5", "r", locking=False) as file:
        return {name: values[...] for name, values in file["parameters"].items()}


def model_tensors(path: Path) -> Vectors:
    """Return the parameters of a model.h5 by name."""
    with h5py.File(path, "r", locking=False) as file:
        return {name: file[name][...] for name in file if name.startswith("layers.")}


def same(one: Vectors, other: Vectors) -> bool:
    """Return whether two sets of tensors are the same, bit for bit."""
    return set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)


def model(path: Path) -> np.ndarray:
    """Return the parameters of a model.h5 as one vector, layer by layer: weight, then bias."""
    with h5py.File(path, "r", locking=False) as file:
        names = [name for name in file if name.startswith("layers.")]
        return np.concatenate([file[name][...].ravel() for name in sorted(names, key=_place)])


def _place(name: str) -> tuple[int, bool]:
    _, layer, kind = name.split(".")
    return int(layer), kind == "bias"


def broken_lines(run: Path) -> int:
    """Return how many lines of metrics.jsonl are no record, but for the last, which may be half a one."""
    path = run / "metrics.jsonl"
    bad = 0
    for line in path.read_text().splitlines()[:-1] if path.exists() else []:
        try:
            json.loads(line)
        except ValueError:
            bad += 1
    return bad


def litter(run: Path) -> list[str]:
    """Return what should not be left in a run directory once the run has ended well."""
    forms = ("**/.*.tmp", "**/*.part", ".owner/.*", ".owner/*/.gone-*")
    return sorted(str(path.relative_to(run)) for form in forms for path in run.glob(form))
