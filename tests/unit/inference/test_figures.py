"""Figures and outputs of a model on rows in memory and in a file: those of the run, and of plain numpy."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from dbmpi import predict, train
from dbmpi.data import digits
from dbmpi.errors import UserError
from dbmpi.inference.evaluation import evaluate_arrays
from dbmpi.inference.prediction import outputs
from dbmpi.trained import answers
from dbmpi.trained.forward import Forward
from dbmpi.trained.opening import open_model

RNG = np.random.default_rng(1)


def trained_on(folder: Path, *settings: str) -> Path:
    """Train a little; return the run directory."""
    words = ["train.epochs=3", "output.progress=none", *settings]
    assert train.main(["--set", *words, "--run-dir", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def of_digits(tmp_path_factory) -> Path:
    return trained_on(tmp_path_factory.mktemp("digits"))


def task(folder: Path, kind: str) -> Path:
    """Write a small data file of labels or targets."""
    x = RNG.normal(size=(400, 5)).astype(np.float32)
    y = x @ RNG.normal(size=(5, 3)).astype(np.float32) * [1, 10, 100] + [0, 1000, 5]
    with h5py.File(folder / "data.h5", "w") as file:
        for split, rows in (("train", slice(300)), ("test", slice(300, 400))):
            file[f"{split}/x"] = x[rows]
            file[f"{split}/y"] = (y[rows] > y.mean(axis=0)).astype(np.int8) if kind == "labels" else y[rows]
    return folder / "data.h5"


def test_figures_are_those_of_the_run_and_of_the_confusion_matrix(of_digits):
    with h5py.File(digits.path()) as file:
        x, y = file["test/x"][:], file["test/y"][:]
    said = json.loads((of_digits / "summary.json").read_text())
    with open_model(of_digits) as trained:
        found = evaluate_arrays(trained, x, y)
        z = outputs(trained, x)
    for name in ("accuracy", "loss", "balanced_accuracy", "top5_accuracy"):
        assert found[name] == pytest.approx(said[f"test_{name}"], rel=1e-6), name
    assert [one["recall"] for one in found["classes"]] == pytest.approx(said["test_recall"])
    matrix = np.zeros((10, 10), int)
    np.add.at(matrix, (y, answers.classes(z)), 1)
    assert found["confusion"] == matrix.tolist() and found["rows"] == len(y)
    assert found["classes"][3]["precision"] == pytest.approx(matrix[3, 3] / matrix[:, 3].sum())


@pytest.mark.parametrize("kind", ["labels", "targets"])
@pytest.mark.parametrize("scaling", ["none", "columns"])
def test_figures_of_labels_and_targets_are_those_of_the_run(tmp_path, kind, scaling):
    path = task(tmp_path, kind)
    run = trained_on(tmp_path, f"data.path={json.dumps(str(path))}", f'data.scaling="{scaling}"')
    said = json.loads((run / "summary.json").read_text())
    with h5py.File(path) as file, open_model(run) as trained:
        found = evaluate_arrays(trained, file["test/x"][:], file["test/y"][:])
    names = ["loss", "accuracy", "macro_f1", "micro_f1"]
    if kind == "targets":
        names = ["loss", "r2", "mean_absolute_error", "mean_squared_error"]
    for name in names:
        assert found[name] == pytest.approx(said[f"test_{name}"], rel=1e-5), name
    assert len(found[kind]) == 3


def test_outputs_do_not_depend_on_shape_type_or_blocks(of_digits, monkeypatch):
    with h5py.File(digits.path()) as file:
        x = file["test/x"][:]
    with open_model(of_digits) as trained:
        forward = Forward(trained)
        expected = forward.outputs(x)
        for other in (x, x.reshape(len(x), -1), x.astype(np.float64), x[..., None].astype(int)):
            np.testing.assert_allclose(outputs(trained, other, forward), expected, atol=1e-5)
        monkeypatch.setattr("dbmpi.inference.sizes.MOST_ROWS", 7)
        np.testing.assert_allclose(outputs(trained, x, forward), expected, atol=1e-5)
        assert outputs(trained, x[:0], forward).shape == (0, 10)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x: x[:, :7], "has shape"),
        (lambda x: x.astype(str), "has type"),
        (lambda x: np.where(np.arange(len(x))[:, None, None] == 11, np.nan, x), "row 11"),
        (lambda x: x / 16.0, "whole numbers"),
        (lambda x: x.astype(int) - 1, "whole numbers"),
    ],
)
def test_what_is_no_input_is_one_message(of_digits, change, text):
    with h5py.File(digits.path()) as file:
        x = file["test/x"][:]
    with open_model(of_digits) as trained, pytest.raises(UserError, match=text) as raised:
        outputs(trained, change(x))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("y", "text"),
    [
        (lambda y: y + 1, "the label 10"),
        (lambda y: y.astype(int) - 1, "the label -1"),
        (lambda y: y[:-1], "has shape"),
        (lambda y: np.eye(10)[y] * 2, "not one-hot"),
        (lambda y: y.astype(float), "has type float64"),
        (lambda y: y.astype(complex), "has type complex128"),
        (lambda y: np.zeros((len(y), 0)), "has shape"),
    ],
)
def test_labels_that_the_model_has_not_are_refused_before_a_kernel_sees_them(of_digits, y, text):
    with h5py.File(digits.path()) as file, open_model(of_digits) as trained:
        x, true = file["test/x"][:], file["test/y"][:]
        with pytest.raises(UserError, match=text):
            evaluate_arrays(trained, x, y(true))
        assert evaluate_arrays(trained, x, true[:, None]) == evaluate_arrays(trained, x, true)


@pytest.mark.parametrize(("kind", "value"), [("labels", 2), ("labels", np.nan), ("targets", np.nan)])
def test_targets_that_are_none_are_refused(tmp_path, kind, value):
    path = task(tmp_path, kind)
    run = trained_on(tmp_path, f"data.path={json.dumps(str(path))}", "train.epochs=1")
    with h5py.File(path) as file, open_model(run) as trained:
        x, y = file["test/x"][:], file["test/y"][:].astype(float)
        assert evaluate_arrays(trained, x, y.astype(">f8")) == evaluate_arrays(trained, x, y)
        with pytest.raises(UserError, match="has shape"):
            evaluate_arrays(trained, x, y[:, :2])
        y[3, 1] = value
        with pytest.raises(UserError, match="y"):
            evaluate_arrays(trained, x, y)


def test_columns_of_very_different_units_are_each_bounded_by_their_own(tmp_path):
    x = RNG.normal(size=(400, 2)) * [1e-12, 1e9]
    scale = 1 / x.std(axis=0)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        for split, rows in (("train", slice(300)), ("test", slice(300, 400))):
            file[f"{split}/x"], file[f"{split}/y"] = x[rows], (x[rows, 0] > 0).astype(int)
            file[f"{split}/x"].attrs["scale"] = scale
    run = trained_on(tmp_path, f"data.path={json.dumps(str(tmp_path / 'data.h5'))}")
    with open_model(run) as trained:
        assert np.isfinite(outputs(trained, x)).all()
        with pytest.raises(UserError, match="row 0, column 1"):
            outputs(trained, x * [1, 1e20])


@pytest.fixture(scope="module")
def channels_first(tmp_path_factory) -> Path:
    """A run of images of 3 channels that its file has first; rows and channels differ."""
    folder = tmp_path_factory.mktemp("first")
    rng = np.random.default_rng(2)
    y = np.arange(200) % 2
    with h5py.File(folder / "data.h5", "w") as file:
        x = rng.normal(size=(200, 3, 4, 5)).astype(np.float32)
        x[:, 0, :2] += 3 * y[:, None, None]
        for split, rows in (("train", slice(150)), ("test", slice(150, 200))):
            file[f"{split}/x"], file[f"{split}/y"] = x[rows], y[rows]
    path = json.dumps(str(folder / "data.h5"))
    return trained_on(folder, f"data.path={path}", "data.layout=channels_first", "train.epochs=10")


def test_images_come_as_the_file_has_them(channels_first, tmp_path):
    said = json.loads((channels_first / "summary.json").read_text())["test_accuracy"]
    with h5py.File(channels_first.parent / "data.h5") as file:
        x, y = file["test/x"][:], file["test/y"][:]
    np.savez(tmp_path / "x.npz", x=x)
    np.savetxt(tmp_path / "x.csv", x.reshape(50, -1), delimiter=",", fmt="%.9g")
    for place, more in ((channels_first.parent / "data.h5", ()), ("x.npz", ()), ("x.csv", ("--no-header",))):
        words = [channels_first, tmp_path / place, tmp_path / "out.npz", *more]
        assert predict.main([*map(str, words)]) == 0
        assert np.mean(np.load(tmp_path / "out.npz")["class"] == y) == pytest.approx(said)
    with open_model(channels_first) as trained:
        assert said > 0.9 and evaluate_arrays(trained, x, y)["accuracy"] == pytest.approx(said)
        with pytest.raises(UserError, match=r"reads \(N, 3, 4, 5\)"):
            outputs(trained, x.transpose(0, 2, 3, 1))


def test_outputs_that_are_no_numbers_are_no_answers(of_digits, tmp_path):
    shutil.copy(of_digits / "model.h5", tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "a") as file:
        for name in ("layers.0.weight", "layers.1.weight"):
            file[name][...] = np.sign(file[name][...]) * np.float32(1e30)
    with h5py.File(digits.path()) as file, open_model(tmp_path / "model.h5") as trained:
        with pytest.raises(UserError, match="no finite number"):
            outputs(trained, file["test/x"][:])
