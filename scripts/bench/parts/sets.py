"""A first configuration of two lines beside scikit-learn's MLP of as many units and epochs, by kinds of data.

Ten splits of each data set. dbmpi is given `[data]` and `path`, and of the largest sets the epochs; and
scikit-learn the same rows, inputs and amounts standardized by those that are learned from, as dbmpi does by
itself, and the rest by its defaults (Adam). "Behind" is the mean over the splits of what dbmpi has less, in
points (hundredths of F1 and R2), "allowed" two standard errors of it. dbmpi runs serially, on one thread as
scikit-learn, in this process; and two sets on 4 ranks: 2 replicas and a shard. Nothing depends on time.
"""

import contextlib
import io
import json
import math
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dbmpi import train
from dbmpi.config.layers import Dense
from dbmpi.config.load import load
from dbmpi.config.sections import Config
from scripts import training_runs
from scripts.bench import kinds, runs
from scripts.bench.core import Aim, Group, Options, Row, require

ROUNDS = 1
SEEDS = range(1, 11)  # of splits, and of both sides
ERRORS = 2.0
LEAST_ALLOWED = 1e-9  # where all splits differ by the same
ON_RANKS = ("binary: breast cancer", "images: digits")
Scores = Mapping[str, float]


def groups(options: Options) -> Iterator[Group]:
    """Yield each data set, and those that are also learned by several ranks."""
    for kind in kinds.KINDS:
        yield group(options, kind, 1)
    for kind in kinds.KINDS:
        if kind.name in ON_RANKS:
            yield group(options, kind, training_runs.RANKS)


def group(options: Options, kind: kinds.Kind, ranks: int) -> Group:
    """Return a data set; `behind` is negative where dbmpi is better."""
    name, rows = kind.name if ranks == 1 else f"{kind.name}, {ranks} ranks", []
    for score in kind.scores:
        said, aim = f"{name}, {score}", Aim(at_most=1)
        rows += [
            Row(f"{said} behind", f"{score} behind", "points", (f"{score} allowed",), aim, lower=True),
            Row(f"{said}, dbmpi", f"{score} of dbmpi", "%"),
            Row(f"{said}, scikit-learn", f"{score} of scikit-learn", "%"),
        ]
    return Group(name, {name: partial(compared, options, kind, ranks)}, rows)


def compared(options: Options, kind: kinds.Kind, ranks: int) -> Mapping[str, float]:
    """Train both on each split; return means, how far dbmpi is behind, and what is allowed."""
    require("sklearn", "scikit-learn")
    pairs, found = [split(options, kind, ranks, seed) for seed in SEEDS], dict[str, float]()
    for score in kind.scores:
        ours, theirs = ([100 * side[score] for side in sides] for sides in zip(*pairs, strict=True))
        behind = [b - a for a, b in zip(ours, theirs, strict=True)]
        error = statistics.stdev(behind) / math.sqrt(len(behind))
        found |= {
            f"{score} behind": statistics.fmean(behind),
            f"{score} allowed": max(ERRORS * error, LEAST_ALLOWED),
            f"{score} of dbmpi": statistics.fmean(ours),
            f"{score} of scikit-learn": statistics.fmean(theirs),
        }
    return found


def split(options: Options, kind: kinds.Kind, ranks: int, seed: int) -> tuple[Scores, Scores]:
    """Train both on one split; return the scores of dbmpi and of scikit-learn."""
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder, said = Path(name), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            data = kind.write(options, seed, folder)
        config = folder / "run.toml"
        config.write_text(f"[data]\npath = {json.dumps(str(data))}\n")
        settings = [*runs.QUIET, "cluster.threads=1", f"train.seed={seed}"]
        settings += [f"train.epochs={kind.epochs}"] if kind.epochs else []
        ours = (alone if ranks == 1 else partial(together, ranks))(config, folder / "run", settings)
        theirs = of_sklearn(data, load(folder / "run" / "config.toml"), seed)
        return {score: ours[f"test_{score}"] for score in kind.scores}, theirs


def alone(config: Path, folder: Path, settings: list[str]) -> dict[str, Any]:
    """Train in this process; return what summary.json says."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = train.main([str(config), "--run-dir", str(folder), "--set", *settings])
    if status:
        raise RuntimeError(f"status {status}: {said.getvalue()}")
    return json.loads((folder / "summary.json").read_text())


def together(ranks: int, config: Path, folder: Path, settings: list[str]) -> dict[str, Any]:
    """Train on some ranks; return what summary.json says."""
    return training_runs.train(ranks, folder, settings, program=("-m", "dbmpi.train", str(config)))


def of_sklearn(data: Path, config: Config, seed: int) -> Scores:
    """Train scikit-learn's MLP on a data file, with the network and the epochs of a configuration."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    with h5py.File(data) as file:
        x, y, x_test, y_test = (file[f"{part}/{what}"][:] for part in ("train", "test") for what in "xy")
    amounts, epochs = y.dtype.kind == "f", round(config.train.epochs or 0)
    hidden = [layer for layer in config.model.layers[:-1] if isinstance(layer, Dense)]
    how: dict[str, Any] = {"max_iter": epochs, "n_iter_no_change": epochs, "random_state": seed}
    how |= {"hidden_layer_sizes": [layer.units for layer in hidden], "activation": hidden[0].activation}
    network = (MLPRegressor if amounts else MLPClassifier)(**how)
    x, x_test = standardized(x, x_test)
    y, y_test = standardized(y, y_test) if amounts else (y, y_test)
    network.fit(x, y.ravel() if amounts else y)
    answers = network.predict(x_test)
    return scored(y_test, answers.reshape(y_test.shape), amounts)


def standardized(learned: Any, tested: Any) -> tuple[Any, Any]:
    """Return rows as float32, their columns of mean 0 and deviation 1 in those that are learned from."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    learned, tested = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (learned, tested))
    learned = scaler.fit_transform(learned)
    return learned.astype(np.float32), scaler.transform(tested).astype(np.float32)


def scored(true: Any, answers: Any, amounts: bool) -> Scores:
    """Return the scores that dbmpi's summary has too, by scikit-learn."""
    from sklearn import metrics

    if amounts:
        return {"r2": metrics.r2_score(true, answers)}
    if true.ndim > 1:
        f1 = metrics.f1_score(true, answers, average="macro", zero_division=0)
        return {"accuracy": float(np.mean(true == answers)), "macro_f1": f1}
    balanced = metrics.balanced_accuracy_score(true, answers)
    return {"accuracy": metrics.accuracy_score(true, answers), "balanced_accuracy": balanced}
