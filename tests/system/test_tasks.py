"""Runs on data of each kind, by a configuration that names the file alone: what is learned and said."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dbmpi.checkpoint import manifest
from dbmpi.config.load import load
from dbmpi.data.describe import describe
from dbmpi.data.fields import fields_of
from tests.system.conftest import Launch
from tests.system.reading import QUIET, messages, one_message, outputs, records, summary

RNG = np.random.default_rng(4)
ROWS, TEST, COLUMNS = 600, 150, 6
SIZES = np.array([1, 1e3, 0.01, 5, 1, 1e-3])  # of columns that are far apart
X = RNG.normal(size=(ROWS + TEST, COLUMNS)) @ RNG.normal(size=(COLUMNS, COLUMNS)) * SIZES + 3 * SIZES
HIDDEN = np.tanh((X / SIZES - 3) @ RNG.normal(size=(COLUMNS, 4)))
RELU = ["relu", "identity"]
SHORT = (*QUIET, "train.epochs=6")


def written(path: Path, y: Any, weights: Any = None) -> Path:
    """Write a data file."""
    with h5py.File(path, "w") as file:
        for name, rows in (("train", slice(0, ROWS)), ("test", slice(ROWS, None))):
            file[f"{name}/x"], file[f"{name}/y"] = X[rows], y[rows]
        if weights is not None:
            file["train/w"] = weights[:ROWS]
    return path


def answers(run: Path) -> Any:
    """Return what numpy gets of the test set from a saved model, as the model's attributes say: (N, O)."""
    with h5py.File(run / "model.h5") as file:
        x = X[ROWS:] * file.attrs["scale"] + file.attrs["offset"]
    return outputs(run, x.astype(np.float32), RELU)


def test_amounts(launch: Launch, tmp_path: Path) -> None:
    y = np.stack([5e4 + 1e4 * HIDDEN[:, 0], 0.01 * HIDDEN[:, 1]], axis=1)
    done = launch(0, *SHORT, f"data.path={written(tmp_path / 'a.h5', y)}", "--run-dir", "run")
    run, true = tmp_path / "run", y[ROWS:]
    assert done.status == 0 and messages(done) == [] and "model.loss = squared" in done.out
    assert "model.layers.1.units = 2" in done.out and "R2 0." in done.out
    with h5py.File(run / "model.h5") as file:
        scale, offset = file.attrs["target_scale"], file.attrs["target_offset"]
        np.testing.assert_allclose(file.attrs["scale"], 1 / X[:ROWS].std(axis=0), rtol=1e-9)
    z = answers(run)
    error = (z - offset) / scale - true
    r2 = 1 - (error**2).sum(axis=0) / ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    said = summary(run)
    assert said["test_r2"] == pytest.approx(r2.mean(), abs=1e-4) and r2.min() > 0.5
    assert said["test_mean_absolute_error"] == pytest.approx(np.abs(error).mean(), rel=1e-3)
    assert said["test_mean_squared_error"] == pytest.approx((error**2).mean(), rel=1e-3)
    loss = 0.5 * ((z - true * scale - offset) ** 2).sum(axis=1).mean()
    assert said["test_loss"] == pytest.approx(loss, rel=1e-3) and said["test_accuracy"] is None
    assert said["chance_loss"] == pytest.approx(1.0)


def test_several_labels_on_partitions(launch: Launch, tmp_path: Path) -> None:
    y = HIDDEN[:, :3] > 0.2
    done = launch(
        5, *SHORT, "cluster.partitions=3", f"data.path={written(tmp_path / 'a.h5', y)}", "--run-dir", "run"
    )
    run, true = tmp_path / "run", y[ROWS:]
    assert done.status == 0 and "model.loss = logistic" in done.out
    z = answers(run)
    said, right = summary(run), z > 0
    assert said["test_accuracy"] == pytest.approx((right == true).mean(), abs=2e-3)
    f1 = [2 * (right & true)[:, k].sum() / (right[:, k].sum() + true[:, k].sum()) for k in range(3)]
    assert said["test_macro_f1"] == pytest.approx(np.mean(f1), abs=5e-3)
    loss = (np.logaddexp(0, z) - z * true).sum(axis=1).mean()
    assert said["test_loss"] == pytest.approx(loss, rel=1e-3)


def test_classes_with_weights_go_on_with_the_scaling_of_the_checkpoint(
    launch: Launch, tmp_path: Path
) -> None:
    """On another shape, and the training set being another by then: its columns are not looked at."""
    labels = np.digitize(HIDDEN[:, 0], [-0.9, 0.0])
    path = written(tmp_path / "a.h5", labels, np.linspace(0.5, 1.5, ROWS + TEST))
    settings = (
        *SHORT,
        f"data.path={path}",
        "data.weights=w",
        "train.class_weights=balanced",
        "evaluation.top=2",
    )
    first = ("cluster.partitions=2", "train.steps=40", "model.layers.1.units=5")  # not "auto": 3
    done = launch(5, *settings, *first, "--run-dir", "run")
    assert done.status == 0 and messages(done) == []
    run = tmp_path / "run"
    before = manifest.read(max((run / "checkpoints").iterdir()))
    counts = np.bincount(labels[:ROWS])
    weights_saved = load(run / "config.toml").train.class_weights
    np.testing.assert_allclose(weights_saved, [*(ROWS / (3 * counts)), 1, 1])

    with h5py.File(path, "r+") as file:
        file["train/x"][...] = 2 * X[:ROWS]
    done = launch(0, *settings, "--run-dir", "run")
    assert done.status == 0 and "goes on from checkpoint" in done.out
    last = manifest.read(max((run / "checkpoints").iterdir()))
    assert last.scaling == before.scaling is not None
    z, true, said = answers(run), labels[ROWS:], summary(run)
    recall = [(z.argmax(axis=1) == k)[true == k].mean() for k in range(3)]
    assert said["test_recall"][:3] == pytest.approx(recall, abs=1e-9) and z.shape[1] == 5
    assert said["test_recall"][3:] == [None, None]
    assert said["test_balanced_accuracy"] == pytest.approx(np.mean(recall))
    best = np.argsort(-z, axis=1)[:, :2]
    assert said["test_top2_accuracy"] == pytest.approx((best == true[:, None]).any(axis=1).mean())
    assert records(run, "eval")[-1]["recall"] == said["test_recall"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["data.path=a.h5"], "are of images"),
        (["train.algorithm=sandblaster"], "another loss in each pass"),
    ],
)
def test_what_cannot_be_moved_is_told(launch: Launch, tmp_path: Path, settings: list[str], said: str) -> None:
    written(tmp_path / "a.h5", HIDDEN[:, 0])
    done = launch(0, "--set", "train.flip=true", *settings, "--dry-run")
    assert done.status == 2 and said in one_message(done)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.arange(ROWS + TEST) % 2 * 10**6, "most units would have no example"),
        (np.arange(2 * (ROWS + TEST)).reshape(-1, 2), "if they are amounts, store y.astype('float32')"),
    ],
)
def test_what_auto_would_have_to_guess_is_asked(launch: Launch, tmp_path: Path, y: Any, said: str) -> None:
    keys = f"data.path={written(tmp_path / 'a.h5', y)}", "data.labels=stored"
    done = launch(0, "--set", *keys, "--dry-run")
    assert done.status == 2 and said in one_message(done)


@pytest.mark.parametrize("ranks", [0, 5])
def test_scaling_weights_and_figures_are_of_the_rows_that_a_cut_leaves(
    launch: Launch, tmp_path: Path, ranks: int
) -> None:
    """Rows for validation and test are far away, and have no weights that would be taken."""
    path, y, far = tmp_path / "a.h5", 5e4 + 1e4 * HIDDEN[:, :2], np.ones(len(X))
    keys = (f"data.path={path}", "data.validation_fraction=0.2", "data.weights=w")
    with h5py.File(path, "w") as file:
        file["x"], file["y"], file["w"] = X, y, np.ones(len(X))
    data = describe(path, False, fields_of(load(None, keys)))
    rows = {name: view.rows for name, view in data.views.items()}
    at = {name: np.r_[tuple(slice(*one) for one in some.places(0, some.rows))] for name, some in rows.items()}
    for name in ("validation", "test"):
        far[at[name]] = np.nan
    with h5py.File(path, "r+") as file:
        file["w"][...] = far
        for name in ("validation", "test"):
            file["x"][at[name]] = 3 * X[at[name]]

    shape = ("cluster.partitions=2",) if ranks else ()
    done = launch(ranks, *SHORT, *keys, *shape, "--run-dir", "run")
    assert done.status == 0 and messages(done) == []
    run = tmp_path / "run"
    said, last = summary(run), [one for one in records(run, "eval") if one["final"]]
    with h5py.File(run / "model.h5") as file:
        attributes = dict(file.attrs)
    np.testing.assert_allclose(attributes["scale"], 1 / X[at["train"]].std(axis=0), rtol=1e-9)
    np.testing.assert_allclose(attributes["target_scale"], 1 / y[at["train"]].std(axis=0), rtol=1e-9)
    for name, record in zip(("validation", "test"), last, strict=True):
        x, true = 3 * X[at[name]] * attributes["scale"] + attributes["offset"], y[at[name]]
        z = outputs(run, x.astype(np.float32), RELU)
        error = (z - attributes["target_offset"]) / attributes["target_scale"] - true
        r2 = 1 - (error**2).sum(axis=0) / ((true - true.mean(axis=0)) ** 2).sum(axis=0)
        assert (record["split"], record["rows"]) == (name, len(true))
        assert said[f"{name}_r2"] == record["r2"] == pytest.approx(r2.mean(), rel=1e-3)
        assert said[f"{name}_mean_absolute_error"] == pytest.approx(np.abs(error).mean(), rel=1e-3)
