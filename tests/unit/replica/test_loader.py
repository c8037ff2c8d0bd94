"""What the loader does with portions; the minibatches themselves are tested with the model."""

from collections import deque
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dbmpi.comm.assignments import PlanNumbers, Portion
from dbmpi.config.layers import Conv, Dense
from dbmpi.data.augment import Augmentation
from dbmpi.data.describe import describe
from dbmpi.data.fields import Fields
from dbmpi.data.scaling import measure
from dbmpi.data.split import Split
from dbmpi.layout.network import from_layers
from dbmpi.layout.partitioning import Partitioning
from dbmpi.model.partition import PartitionModel
from dbmpi.replica.loader import Loader


def test_a_portion_that_nobody_reads_is_not_the_next_one(monkeypatch: Any) -> None:
    """With backup workers, a replica may come too late for all rounds of a portion."""
    plan = PlanNumbers(40, 10, 1, 1, 2, None)
    loader = Loader.__new__(Loader)
    loader._augmentation = None
    loader._expected = deque([Portion(0, 0, index, 2, 20, 0, plan) for index in (0, 1)])
    monkeypatch.setattr(Loader, "take", lambda self: "rows")
    monkeypatch.setattr(Loader, "minibatches", lambda self, rows, order, width: iter(order))
    unread = loader.train()
    assert [portion.index for portion in loader._expected] == [1]
    loader.train()
    assert not loader._expected and len(list(unread)) == 20


RNG = np.random.default_rng(6)
X = (RNG.normal(size=(30, 6, 5, 2)) * 10 + 3).astype(np.float32)
Y = (RNG.normal(size=(30, 3)) * 50 + 1e3).astype(np.float32)
LABELS = np.arange(30) % 3


def written(path: Path, y: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name in ("train", "test"):
            file[f"{name}/x"], file[f"{name}/y"] = X, y
        file["train/w"] = np.arange(30)
    return path


def plan(loss: str, partitions: int) -> Partitioning:
    layers: Any = Conv(filters=2, size=3, padding=1), Dense(units=3)
    return Partitioning(from_layers(layers, X.shape[1:], loss), partitions)


@pytest.mark.parametrize("mode", ["columns", "all"])
@pytest.mark.parametrize("partitions", [1, 2, 4])
def test_each_partition_scales_what_its_units_see(tmp_path: Path, partitions: int, mode: str) -> None:
    path = written(tmp_path / "a.h5", Y)
    with Split(path, "train") as train:
        description = describe(path).scaled(measure(train, mode))
    axis = 0 if mode == "columns" else None
    x, y = (X - X.mean(axis=axis)) / X.std(axis=axis), (Y - Y.mean(axis=0)) / Y.std(axis=0)
    for partition in range(partitions):
        model = PartitionModel(plan("squared", partitions), partition, False, np.dtype("f4"), 0.0)
        loader = Loader(description, model)
        ((width, targets),) = loader.evaluation(4, 13, 9)
        rows, columns, _ = model.partitioning.need(0, partition)
        seen = np.moveaxis(x[4:13, slice(*rows), slice(*columns)], 0, -1)
        np.testing.assert_allclose(model.workspace(width).states[0], seen, atol=1e-5)
        np.testing.assert_allclose(targets, y[4:13, slice(*model.outputs)].T, atol=1e-4)
        loader.close()


def test_weights_of_rows_and_classes_are_multiplied_in_training_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", LABELS)
    model = PartitionModel(plan("softmax", 1), 0, True, np.dtype("f4"), 0.0)
    loader = Loader(describe(path, fields=Fields(weights="w")), model, (0.5, 1.0, 4.0))
    loader.request([(10, 16), (0, 4)])
    rows, order = np.array([*range(10, 16), *range(4)]), np.array([7, 2, 5, 0])
    ((width, targets),) = loader.minibatches(loader.take(), order, 4)
    at = rows[order]
    expected = at * np.array([0.5, 1, 4])[LABELS[at]]
    np.testing.assert_array_equal(targets, LABELS[at])
    np.testing.assert_allclose(model.workspace(width).weights, expected)
    list(loader.evaluation(0, 4, 4))
    assert model.workspace(4).weights is None
    loader.close()


def test_partitions_see_tiles_of_the_images_that_one_sees_whole(tmp_path: Path) -> None:
    description, made = describe(written(tmp_path / "a.h5", LABELS)), Augmentation(True, 2, 3)
    numbers = PlanNumbers(30, 8, 1, 1, 2, None)

    def seen(partitions: int, partition: int) -> list[Any]:
        model = PartitionModel(plan("softmax", partitions), partition, True, np.dtype("f4"), 0.0)
        loader = Loader(description, model, augmentation=made)
        loader.prepare(Portion(2, 0, 1, 2, 16, 0, numbers))
        found = [
            (model.workspace(width).states[0].copy(), targets, model.partitioning.need(0, partition))
            for width, targets in loader.train()
        ]
        loader.close()
        return found

    for partition in range(4):
        for (whole, labels, _), (tile, same, (rows, columns, _)) in zip(
            seen(1, 0), seen(4, partition), strict=True
        ):
            np.testing.assert_array_equal(same, labels)
            np.testing.assert_array_equal(tile, whole[slice(*rows), slice(*columns)])


@pytest.mark.parametrize("name", ["w", "/weights/w", "beside"])
def test_weights_are_those_of_the_rows_that_a_cut_leaves(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["deep/x"], file["deep/y"] = X, LABELS
        for place in ("w", "weights/w", "deep/beside"):
            file[place] = np.arange(30)
    fields = Fields("/deep/x", "/deep/y", test=0.3, weights=name)
    model = PartitionModel(plan("softmax", 1), 0, True, np.dtype("f4"), 0.0)
    description = describe(path, fields=fields)
    loader = Loader(description, model)
    loader.request([(0, description.train_rows)])
    raw, labels, weights = loader.take()
    at = weights.astype(int)
    assert len(at) == description.train_rows == 21
    np.testing.assert_array_equal(raw, X[at])
    np.testing.assert_array_equal(labels, LABELS[at])
    loader.close()


def test_numbers_for_each_input_are_of_the_file_where_channels_are_first(tmp_path: Path) -> None:
    path, scale = tmp_path / "a.h5", RNG.uniform(0.5, 2, X.shape[1:])
    with h5py.File(path, "w") as file:
        for name in ("train", "test"):
            file[f"{name}/x"], file[f"{name}/y"] = X.transpose(0, 3, 1, 2), LABELS
            file[f"{name}/x"].attrs["scale"] = scale.transpose(2, 0, 1)
    model = PartitionModel(plan("softmax", 1), 0, True, np.dtype("f4"), 0.0)
    loader = Loader(describe(path, fields=Fields(channels_first=True)), model)
    list(loader.evaluation(0, 30, 30))
    seen = model.workspace(30).states[0]
    np.testing.assert_allclose(seen, np.moveaxis(X * scale, 0, -1), rtol=1e-5)
    loader.close()
