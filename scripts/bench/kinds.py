"""Data sets of other packages, one or two of each kind, as a user brings them: through `dbmpi.prepare`.

Of scikit-learn, plotnine and statsmodels, and made by scikit-learn where they have none of a kind. Nothing is
scaled. Each is split anew by a seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dbmpi.prepare import command
from scripts.bench.core import Options, require, require_data
from scripts.bench.tables import elections, images, of_sklearn

TESTED = 4  # one row of so many is tested with
MILLION, MOST_TESTED = 1_000_000, 100_000
SPLIT = "split"  # the column that says which one a row of a table is of


@dataclass(frozen=True)
class Kind:
    """A data set: `write` returns the prepared file of a seed; `scores` are of dbmpi's summary.

    `epochs` is what is asked for beside the path: None for a configuration of two lines.
    """

    name: str
    write: Callable[[Options, int, Path], Path]
    scores: tuple[str, ...]
    epochs: float | None = None


def of_arrays(
    load: Callable[[Options], tuple[Any, Any]], most: int | None = None
) -> Callable[[Options, int, Path], Path]:
    """Return what writes inputs and targets as a npz file, and prepares that."""

    def write(options: Options, seed: int, folder: Path) -> Path:
        x, y = load(options)
        order = np.random.default_rng(seed).permutation(len(y))[:most]
        tested, learned = np.split(order, [min(len(order) // TESTED, MOST_TESTED)])
        arrays = {f"{what}_{part}": values[rows] for what, values in (("x", x), ("y", y))
                  for part, rows in (("train", learned), ("test", tested))}  # fmt: skip
        np.savez(folder / "rows.npz", **arrays)
        return prepared(folder, "npz", str(folder / "rows.npz"))

    return write


def of_diamonds(target: str, most: int) -> Callable[[Options, int, Path], Path]:
    """Return what writes diamonds as a CSV, texts included, and prepares it with a column as the target."""

    def write(options: Options, seed: int, folder: Path) -> Path:
        require("plotnine")
        from plotnine.data import diamonds

        rows = diamonds.sample(most, random_state=seed)
        rows["flawed"] = np.where(rows["clarity"] == "I1", "yes", "no")
        rows[SPLIT] = np.where(np.arange(most) < most // TESTED, "test", "train")
        unused = "clarity" if target == "flawed" else "flawed"
        rows.drop(columns=unused).to_csv(folder / "rows.csv", index=False)
        how = ["--target", target, "--split", SPLIT, "--jobs", "1"]
        return prepared(folder, "table", str(folder / "rows.csv"), *how)

    return write


def prepared(folder: Path, kind: str, source: str, *options: str) -> Path:
    """Run `python -m dbmpi.prepare`, and return the data file."""
    out = folder / "rows.h5"
    if status := command.main([kind, source, str(out), *options]):
        raise RuntimeError(f"dbmpi.prepare {kind} ended with status {status}")
    return out


def made(generator: str, **how: Any) -> Callable[[Options], tuple[Any, Any]]:
    """Return what makes rows by a generator of scikit-learn, the same for all seeds."""

    def load(options: Options) -> tuple[Any, Any]:
        require("sklearn", "scikit-learn")
        from sklearn import datasets

        x, y = getattr(datasets, f"make_{generator}")(random_state=1, **how)
        return x.astype(np.float32), y

    return load


def digits(options: Options) -> tuple[Any, Any]:
    """Return the digits of scikit-learn as images of floats from 0 to 16, and their labels."""
    x, y = of_sklearn("digits")(options)
    return x.reshape(-1, 8, 8), y


def mnist(options: Options) -> tuple[Any, Any]:
    """Return the images of --data, and their labels."""
    return images(require_data(options))


CLASSES = ("accuracy",)
SEVERAL = made("multilabel_classification", n_samples=4000, n_features=30, n_classes=8)
WIDE = made("classification", n_samples=800, n_features=5000, n_informative=40)
MANY = made(
    "classification",
    n_samples=MILLION + MOST_TESTED,
    n_features=20,
    n_informative=10,
    n_clusters_per_class=4,
)
KINDS: Sequence[Kind] = (
    Kind("binary: breast cancer", of_arrays(of_sklearn("breast_cancer")), CLASSES),
    Kind("3 classes: wine", of_arrays(of_sklearn("wine")), CLASSES),
    Kind("7 classes: elections", of_arrays(elections), CLASSES),
    Kind("multi-label", of_arrays(SEVERAL), ("macro_f1", "accuracy")),
    Kind("regression: diabetes", of_arrays(of_sklearn("diabetes")), ("r2",)),
    Kind("regression: diamonds", of_diamonds("price", 12_000), ("r2",)),
    Kind("imbalanced: diamonds", of_diamonds("flawed", 12_000), ("balanced_accuracy", "accuracy")),
    Kind("wide", of_arrays(WIDE), CLASSES),
    Kind("1,000,000 rows", of_arrays(MANY), CLASSES, epochs=1),
    Kind("images: digits", of_arrays(digits), CLASSES),
    Kind("images: MNIST", of_arrays(mnist, 12_000), CLASSES, epochs=10),
)
