"""What an evaluation of rows in memory is told to be right: as the data file has it, or classes by name."""

from pathlib import Path

import h5py
import numpy as np
import pytest

import dbmpi
from dbmpi import train
from dbmpi.api.model import Model

RNG = np.random.default_rng(3)
X = RNG.normal(size=(300, 4)).astype(np.float32)
PLACE = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def model_of(folder: Path, y: np.ndarray) -> Model:
    with h5py.File(folder / "data.h5", "w") as file:
        for split in ("train", "test"):
            file[f"{split}/x"], file[f"{split}/y"] = X, y
    words = ["train.epochs=5", "output.progress=none", f'data.path="{folder / "data.h5"}"']
    assert train.main(["--set", *words, "--run-dir", str(folder / "run")]) == 0
    return dbmpi.load(folder / "run")


@pytest.mark.parametrize("stored", [[0, 1, 2], [3, 5, 9], [1, 2, 3], [b"a", b"b", b"\xc3\xa4"]])
def test_classes_come_as_the_file_has_them_or_by_name(tmp_path, stored):
    y = np.array(stored)[PLACE]
    model = model_of(tmp_path, y)
    right = np.mean(model.predict_proba(X).argmax(axis=1) == PLACE)
    texts = [one.decode() if isinstance(one, bytes) else str(one) for one in stored]
    forms = [y, y.reshape(-1, 1), np.eye(3)[PLACE], y.astype(object)]
    if model.classes != [0, 1, 2]:
        assert model.classes == texts and set(model.predict(X)) == set(texts)
        forms += [np.array(texts)[PLACE], np.array(texts, object)[PLACE]]
    for form in forms:
        assert model.evaluate(X, form)["accuracy"] == pytest.approx(right), form.dtype
    assert model.evaluate()["accuracy"] == pytest.approx(right)


@pytest.mark.parametrize(
    ("y", "text"),
    [
        (None, "has shape"),
        (PLACE[:-1], "300 examples"),
        (PLACE + 1, "label 3"),
        (PLACE - 1, "label -1"),
        (PLACE.astype(str), "no names"),
    ],
)
def test_what_is_no_class_of_the_model_is_one_exception(tmp_path_factory, y, text):
    model = model_of(tmp_path_factory.mktemp("classes"), PLACE)
    with pytest.raises(ValueError, match=text):
        model.evaluate(X, y)


def test_amounts_and_labels_are_as_many_as_the_outputs(tmp_path):
    (tmp_path / "labels").mkdir()
    amounts = model_of(tmp_path, X[:, :2] * 100)
    labels = model_of(tmp_path / "labels", (X[:, :3] > 0).astype(int))
    assert amounts.evaluate(X, (X[:, :2] * 100).tolist())["r2"] == pytest.approx(amounts.evaluate()["r2"])
    assert labels.evaluate(X, X[:, :3] > 0)["accuracy"] == pytest.approx(labels.evaluate()["accuracy"])
    many = np.full((300, 2), np.inf)
    for model, wrong in ((amounts, X[:, 0]), (amounts, many), (labels, X[:, :2] > 0), (labels, X[:, :3])):
        with pytest.raises(ValueError, match="^y"):
            model.evaluate(X, wrong)
