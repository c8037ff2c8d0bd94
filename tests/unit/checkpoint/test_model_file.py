"""The model file: written piece by piece through any partitions and shards, and read back equal."""

import dataclasses
import json
import math
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.checkpoint import model_file
from dbmpi.config.layers import Conv, Dense, Lcn, Local, Pool
from dbmpi.config.load import load
from dbmpi.config.sections import Config, Model
from dbmpi.data.describe import Description
from dbmpi.layout.network import Network, build
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.placement import tensor_boxes
from dbmpi.layout.sharding import Piece, cut


def config(*units: int, dtype: str = "float32") -> Config:
    return Config(model=Model(layers=tuple(Dense(units=n) for n in units), dtype=dtype))


def numbered(net: Network) -> dict[str, np.ndarray]:
    """Return tensors whose every element is different."""
    base, tensors = 1, {}
    for tensor in net.tensors:
        tensors[tensor.name] = np.arange(base, base + tensor.size).reshape(tensor.shape)
        base += tensor.size
    return tensors


def vector(plan: Partitioning, partition: int, tensors: dict[str, np.ndarray]) -> np.ndarray:
    slices = plan.slices[partition]
    cuts = [tensors[s.tensor.name][tuple(slice(*edges) for edges in s.box)] for s in slices]
    return np.concatenate([cut.reshape(-1) for cut in cuts])


def description(shape: tuple[int, ...]) -> Description:
    """What data of such a shape is said to hold."""
    inputs = int(np.prod(shape))
    return Description("a.h5", 9, 3, shape, inputs, 2, None, "uint8", 0.5, -1.0, None, ("cat", "dög"))


def written(
    path: Path,
    conf: Config,
    shape: tuple[int, ...],
    partitions: int,
    shards: int,
    most: int,
    grid: tuple[int, int] | None = None,
) -> Network:
    """Write numbered tensors, and return the network."""
    net = build(conf, shape)
    plan = Partitioning(net, partitions, grid)
    vectors = [vector(plan, p, numbered(net)).astype(conf.model.dtype) for p in range(partitions)]

    def read(piece: Piece) -> np.ndarray:
        return vectors[piece.partition][piece.start : piece.stop]

    model_file.write(path, conf, description(shape), plan, cut(plan.sizes, shards, most), read)
    return net


@settings(max_examples=40)
@given(
    units=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    inputs=st.integers(1, 9),
    partitions=st.integers(1, 11),
    shards=st.integers(1, 9),
    most=st.integers(1, 60) | st.just(10**6),
)
def test_read_back_equal_whatever_the_pieces(units, inputs, partitions, shards, most):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        check(path, written(path, config(*units), (inputs,), partitions, shards, most))


def check(path: Path, net: Network) -> None:
    with h5py.File(path) as file:
        for name, values in numbered(net).items():
            assert file[name].shape == values.shape
            assert np.array_equal(file[name][...], values), name


@settings(max_examples=30)
@given(
    image=st.tuples(st.integers(4, 9), st.integers(4, 9), st.integers(1, 3)),
    grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    shards=st.integers(1, 9),
    most=st.integers(20, 200) | st.just(10**6),
)
def test_images_are_read_back_equal_whatever_the_tiles(image, grid, shards, most):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        check(path, written(path, image_config(), image, grid[0] * grid[1], shards, most, grid))


def image_config() -> Config:
    layers = (
        Local(filters=3, size=(3, 2), padding=1),
        Pool(size=2, stride=2),
        Lcn(size=3),
        Conv(filters=4, size=2),
        Dense(units=5),
    )
    return Config(model=Model(layers=layers))


def test_a_piece_of_a_tile_is_few_boxes_of_the_tensor():
    """However many runs the tile has in it."""
    layers = (Local(filters=5, size=3, padding=1), Dense(units=5))
    plan = Partitioning(build(Config(model=Model(layers=layers)), (40, 40, 1)), 4)
    size = plan.slices[3][0].size
    found = [
        box
        for box in tensor_boxes(plan, Piece(0, 3, 0, 8, size - 12))
        if box.tensor.name == "layers.0.weight"
    ]
    assert 1 < len(found) <= 2 * len(found[0].tensor.shape) - 1
    assert [box.stop for box in found[:-1]] == [box.start for box in found[1:]]
    assert sum(math.prod(box.shape) for box in found) == size - 20


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precision_is_the_model_s(tmp_path, dtype):
    written(tmp_path / "model.h5", config(4, 3, dtype=dtype), (5,), 2, 2, 100)
    with h5py.File(tmp_path / "model.h5") as file:
        assert file["layers.0.weight"].dtype == file["layers.1.bias"].dtype == dtype
        assert file["layers.0.weight"].shape == (4, 5)


def test_the_file_explains_itself(tmp_path):
    conf = config(4, 3)
    written(tmp_path / "model.h5", conf, (5,), 1, 1, 100)
    with h5py.File(tmp_path / "model.h5") as file:
        assert set(file) == {f"layers.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")}
        (tmp_path / "again.toml").write_text(file.attrs["configuration"])
        assert {"dbmpi", "numpy", "python"} <= set(json.loads(file.attrs["versions"]))
        assert file.attrs["format"] == model_file.FORMAT
        assert tuple(file.attrs["input_shape"]) == (5,) and file.attrs["input_dtype"] == "uint8"
        assert (file.attrs["scale"], file.attrs["offset"]) == (0.5, -1.0)
        assert list(file.attrs["class_names"]) == ["cat", "dög"]
    assert load(tmp_path / "again.toml", []) == conf


def test_only_the_whole_file_has_the_name(tmp_path):
    conf = config(4)
    plan = Partitioning(build(conf, (5,)), 1)

    def fail(piece: Piece) -> np.ndarray:
        raise ArithmeticError("a shard is gone")

    with pytest.raises(ArithmeticError):
        model_file.write(tmp_path / "model.h5", conf, description((5,)), plan, cut(plan.sizes, 1, 100), fail)
    assert not (tmp_path / "model.h5").exists()
    written(tmp_path / "model.h5", conf, (5,), 1, 1, 100)
    assert [path.name for path in tmp_path.iterdir()] == ["model.h5"]


def test_names_of_very_many_classes(tmp_path):
    names = tuple(f"class {n}" for n in range(20_000))
    many = dataclasses.replace(description((5,)), class_names=names)
    conf = config(4)
    plan = Partitioning(build(conf, (5,)), 1)
    pieces = cut(plan.sizes, 1, 100)
    path = tmp_path / "model.h5"
    model_file.write(path, conf, many, plan, pieces, lambda piece: np.zeros(piece.size, np.float32))
    with h5py.File(path) as file:
        assert tuple(file.attrs["class_names"]) == names
