"""The arrays of a fit as a data file. Letters: N rows, T targets."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from dbmpi.arrays import Array
from dbmpi.checkpoint.hdf5_file import creating
from dbmpi.checkpoint.model_file import LONG_ATTRIBUTES

STORED = "uint8", "float32", "float64"  # inputs that are stored as they are
AT_ONCE = 1 << 24  # bytes of inputs that are put in their new order at a time
WEIGHTS = "weights"


@dataclass(frozen=True)
class Examples:
    """What there is to learn from.

    Attributes
    ----------
    inputs
        `(N, features)`, `(N, H, W)` or `(N, H, W, C)`.
    targets
        `(N,)` integers, the labels; `(N, T)` of 0 and 1; or `(N,)` or `(N, T)` floats.
    weights
        `(N,)`, or None.
    names
        Of the classes.
    """

    inputs: Array
    targets: Array
    weights: Array | None = None
    names: tuple[str, ...] = ()


def write(path: Path, examples: Examples, seed: int) -> None:
    """Write the rows in a random order: every replica learns from one stretch of the file.

    The test set that a data file has is here the training set itself, so that the last figures are of it.
    """
    rows = len(examples.inputs)
    order = np.random.default_rng(seed).permutation(rows)
    with creating(path, LONG_ATTRIBUTES) as file:
        train = file.create_group("train")
        _write_inputs(train, examples.inputs, order)
        train["y"] = examples.targets[order]
        if examples.names:
            train["y"].attrs["class_names"] = list(examples.names)
        if examples.weights is not None:
            train[WEIGHTS] = examples.weights[order]
        file["test"] = train


def _write_inputs(train: h5py.Group, inputs: Array, order: Array) -> None:
    """Write inputs a part at a time: of all in the new order there would be a second copy."""
    stored = train.create_dataset("x", inputs.shape, kept_as(inputs.dtype))
    step = max(1, AT_ONCE // max(1, inputs[:1].nbytes))
    for start in range(0, len(order), step):
        stored[start : start + step] = inputs[order[start : start + step]]


def kept_as(dtype: "np.dtype[np.generic]") -> str:
    """Return as which type inputs are stored, of those that a data file may have."""
    return dtype.name if dtype.name in STORED else "float32" if dtype == np.float16 else "float64"
