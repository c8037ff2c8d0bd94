"""What "auto" makes of the data: loss, units, scaling, class weights; a key that is given stands."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dbmpi.config.layers import Dense
from dbmpi.config.load import load
from dbmpi.config.sections import Config
from dbmpi.data.describe import Description, describe
from dbmpi.data.fields import Fields
from dbmpi.data.fits import suspicions
from dbmpi.errors import UserError
from dbmpi.layout.network import build
from dbmpi.run.plan.checks import check_data
from dbmpi.run.plan.choices import carried_over
from dbmpi.run.plan.tasks import with_task

RNG = np.random.default_rng(2)
ROWS = 240
BITS = RNG.integers(0, 2, (ROWS, 5))


def described(path: Path, y: Any, y_test: Any = None, names: list[str] | None = None) -> Description:
    with h5py.File(path / "a.h5", "w") as file:
        for split in ("train", "test"):
            file[f"{split}/x"] = RNG.normal(size=(ROWS, 3)).astype("f4")
            file[f"{split}/y"] = y if y_test is None or split == "train" else y_test
        if names is not None:
            file["train/y"].attrs["class_names"] = names
    return describe(path / "a.h5")


def units(config: Config) -> int:
    last = config.model.layers[-1]
    assert isinstance(last, Dense)
    return last.units


@pytest.mark.parametrize(
    ("y", "loss", "outputs"),
    [
        (np.arange(ROWS) % 3, "softmax", 3),
        (np.arange(ROWS) % 2 * 7, "softmax", 8),
        (BITS, "logistic", 5),
        (BITS.astype(bool), "logistic", 5),
        (BITS.astype("u1"), "logistic", 5),
        (RNG.normal(size=ROWS), "squared", 1),
        (RNG.normal(size=(ROWS, 4)).astype("f4"), "squared", 4),
    ],
)
def test_the_loss_and_the_last_layer_follow_from_the_targets(
    tmp_path: Path, y: Any, loss: str, outputs: int
) -> None:
    data = described(tmp_path, y)
    config = with_task(load(None), data)
    assert (config.model.loss, units(config)) == (loss, outputs)
    check_data(config, build(config, data.input_shape), data)
    given = with_task(load(None, ["model.loss=squared", "model.layers.1.units=9"]), data)
    assert (given.model.loss, units(given)) == ("squared", 9)
    assert carried_over(load(None), config).model == config.model


@pytest.mark.parametrize(
    ("settings", "y", "mode"),
    [
        ([], np.arange(ROWS) % 3, "columns"),
        ([], RNG.normal(size=ROWS), "columns"),
        (["data.scaling=none"], RNG.normal(size=ROWS), "none"),
        (["model.loss=squared", "model.layers.1.activation=tanh"], RNG.normal(size=ROWS), "none"),
        (["model.loss=squared", "model.layers.1.activation=tanh"], np.arange(ROWS) % 3, "columns"),
    ],
)
def test_how_data_are_scaled_follows_from_them_but_amounts_stay_within_what_outputs_can_be(
    tmp_path: Path, settings: list[str], y: Any, mode: str
) -> None:
    config = with_task(load(None, settings), described(tmp_path, y))
    again = carried_over(load(None), config)
    assert config.data.scaling == mode == again.data.scaling
    assert config.model.init == again.model.init == ("flat" if mode == "columns" else "he")
    assert with_task(load(None, [*settings, "model.init=he"]), described(tmp_path, y)).model.init == "he"


def test_the_names_of_classes_count(tmp_path: Path) -> None:
    assert units(with_task(load(None), described(tmp_path, np.arange(ROWS) % 2, names=["a", "b", "c"]))) == 3


@pytest.mark.parametrize(
    ("y", "y_test", "said"),
    [
        (np.arange(ROWS) % 3, np.arange(ROWS) % 5, "2 labels for test of which train has no example: 3, 4;"),
        (np.arange(ROWS) % 80, None, "80 different integers in 240 training rows"),
        (np.arange(ROWS) % 3 * 1.0, None, "3 different whole numbers"),
        (np.zeros(ROWS, int), None, "one class only"),
        (BITS * 1.0, None, "y.astype('uint8')"),
        (np.arange(ROWS) % 3, None, ""),
        (RNG.normal(size=ROWS), None, ""),
    ],
)
def test_what_is_in_doubt_is_told(tmp_path: Path, y: Any, y_test: Any, said: str) -> None:
    found = list(suspicions(described(tmp_path, y, y_test)))
    assert len(found) == bool(said) and all(said in text for text in found)


def test_balanced_classes_weigh_the_same(tmp_path: Path) -> None:
    labels = np.array([0] * 160 + [2] * 80)  # class 1 has no rows
    config = with_task(load(None, ["train.class_weights=balanced"]), described(tmp_path, labels))
    assert config.train.class_weights == (240 / 320, 1.0, 240 / 160)


@pytest.mark.parametrize(
    ("y", "given", "said"),
    [
        (
            np.arange(ROWS) % 3,
            "[1, 2]",
            "has 2 numbers, of which 2 are above 0, but the last layer has 3",
        ),
        (np.arange(ROWS) % 3, "[0, 0, 0]", "of which 0 are above 0"),
        (RNG.normal(size=ROWS), "[1]", "are of classes"),
        (BITS, "balanced", "has no classes"),
    ],
)
def test_weights_that_suit_no_class_are_refused(tmp_path: Path, y: Any, given: str, said: str) -> None:
    data = described(tmp_path, y)
    with pytest.raises(UserError, match=said):
        config = with_task(load(None, [f"train.class_weights={given}"]), data)
        check_data(config, build(config, data.input_shape), data)


def test_labels_without_rows_have_no_balance(tmp_path: Path) -> None:
    data = replace(described(tmp_path, np.arange(ROWS) % 3), counts=())
    with pytest.raises(UserError, match="too many to count"):
        with_task(load(None, ["train.class_weights=balanced"]), data)


@pytest.mark.parametrize(
    ("weights", "said"), [([1.0, -1.0], "row 1"), ([1.0, np.nan], "row 1"), ([1.0], "2 rows")]
)
def test_weights_of_rows_are_numbers_from_0(tmp_path: Path, weights: list[float], said: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for split in ("train", "test"):
            file[f"{split}/x"], file[f"{split}/y"] = np.ones((2, 3), "f4"), np.arange(2)
        file["train/w"] = weights
    with pytest.raises(UserError, match=f"train/w .*{said}"):
        describe(tmp_path / "a.h5", fields=Fields(weights="w"))
    with pytest.raises(UserError, match="no data set 'v'"):
        describe(tmp_path / "a.h5", fields=Fields(weights="v"))
