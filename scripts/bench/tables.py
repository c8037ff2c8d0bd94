"""Small tables to learn from, split by a seed: what they hold, and the networks and epochs that fit them.

Of scikit-learn, and of two other packages, plotnine and statsmodels; images as they are, inputs and float
targets of the others standardized by what is learned from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from scripts.bench.core import Options, require, require_data
from scripts.launcher import ROOT
from scripts.training_runs import layers

DIGITS = ROOT / "dbmpi" / "data" / "digits.h5"
TESTED = 4  # one row of so many is tested with
MOST = 15_000  # rows
LOCAL = (
    'model.layers=[{type="local", filters=8, size=7, activation="relu"}, '
    '{type="pool", kind="l2", size=2, stride=2}, {type="dense", units=128, activation="relu"}, '
    '{type="dense", units=10}]'
)


@dataclass(frozen=True)
class Table:
    """A table: `load` returns inputs (rows, ...), bytes or floats, and targets, labels (rows,) or floats."""

    name: str
    load: Callable[[Options], tuple[Any, Any]]
    settings: tuple[str, ...]
    epochs: float
    labels: bool = True


def write(table: Table, options: Options, seed: int) -> Path:
    """Write the split of a seed as HDF5, unless it is there; return the file."""
    path = options.folder / f"{table.name.replace(' ', '-')}-{seed}.h5"
    if path.exists():
        return path
    x, y = table.load(options)
    order = np.random.default_rng(seed).permutation(len(y))[:MOST]
    tested, learned = np.split(order, [len(order) // TESTED])
    if x.dtype != np.uint8:
        x = standardized(x, learned)
    if not table.labels:
        y = standardized(y.reshape(len(y), -1), learned)
    with h5py.File(path, "w") as file:
        for name, rows in (("train", learned), ("test", tested)):
            file[f"{name}/x"], file[f"{name}/y"] = x[rows], y[rows]
            if x.dtype == np.uint8:
                file[f"{name}/x"].attrs["scale"] = 1 / int(x.max())
    return path


def standardized(values: Any, learned: Any) -> Any:
    """Return columns of mean 0 and deviation 1 on the rows that are learned from, as float32."""
    of = values[learned].astype(np.float64)
    deviation = of.std(0)
    return ((values - of.mean(0)) / np.where(deviation > 0, deviation, 1)).astype(np.float32)


def images(path: Path) -> tuple[Any, Any]:
    """Return all images of a file, and their labels."""
    with h5py.File(path) as file:
        x, y = (np.concatenate([file[part][what][:] for part in ("train", "test")]) for what in "xy")
    return x, y.astype(np.int64)


def of_sklearn(name: str) -> Callable[[Options], tuple[Any, Any]]:
    """Return what loads a table of scikit-learn."""

    def load(options: Options) -> tuple[Any, Any]:
        require("sklearn", "scikit-learn")
        from sklearn import datasets

        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return x, y

    return load


def diamonds(options: Options) -> tuple[Any, Any]:
    """Return the features of diamonds, grades as numbers, and the logarithm of their prices."""
    require("plotnine")
    from plotnine.data import diamonds as table

    grades = {name: table[name].cat.codes for name in ("cut", "color", "clarity")}
    x = table.assign(**grades)
    return x.drop(columns="price").to_numpy(np.float64), np.log(x["price"].to_numpy(np.float64))


def elections(options: Options) -> tuple[Any, Any]:
    """Return what voters of 1996 said of themselves and the parties, and to which they belong, in 7 steps."""
    require("statsmodels")
    from statsmodels.datasets import anes96

    table = anes96.load_pandas().data
    return table.drop(columns=["PID", "vote"]).to_numpy(np.float64), table["PID"].to_numpy(np.int64)


def dense(hidden: list[int], outputs: int) -> tuple[str, ...]:
    """Return the settings of a dense network."""
    return (layers(hidden, outputs),)


TABLES = [
    Table("digits", lambda options: images(DIGITS), dense([128], 10), 40),
    Table("wine", of_sklearn("wine"), dense([128], 3), 40),
    Table("breast cancer", of_sklearn("breast_cancer"), dense([128], 2), 40),
    Table("elections", elections, dense([128], 7), 40),
    Table("diabetes", of_sklearn("diabetes"), (*dense([128], 1), "model.loss=squared"), 40, labels=False),
    Table("diamonds", diamonds, (*dense([128], 1), "model.loss=squared"), 8, labels=False),
    Table("MNIST dense", lambda options: images(require_data(options)), dense([512, 512], 10), 4),
    Table("MNIST local", lambda options: images(require_data(options)), (LOCAL,), 4),
]
