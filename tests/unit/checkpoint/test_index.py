"""Checkpoints of any shape: what some shards and partitions wrote, others read, element by element."""

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.checkpoint import index as index_module
from dbmpi.checkpoint import shard_file
from dbmpi.checkpoint.directory import INDEX, shard_file_name
from dbmpi.config.layers import Conv, Dense, Layer, Local, Pool
from dbmpi.config.sections import Config, Model
from dbmpi.layout import sharding
from dbmpi.layout.network import Network, build
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.placement import tensor_boxes
from dbmpi.layout.sharding import Piece

DENSE = (Dense(units=7, activation="relu"), Dense(units=5))
IMAGE: tuple[Layer, ...] = (
    Local(filters=2, size=3, padding=1),
    Pool(size=2, stride=2),
    Conv(filters=3, size=2),
)
NETWORKS = {
    "dense": build(Config(model=Model(layers=DENSE)), (11,)),
    "image": build(Config(model=Model(layers=(*IMAGE, Dense(units=5)))), (6, 6, 2)),
}
VECTORS = ("parameters", "rule.squares")


def numbered(net: Network, base: int) -> dict[str, np.ndarray]:
    """Return tensors whose every element is different."""
    tensors = {}
    for tensor in net.tensors:
        tensors[tensor.name] = np.arange(base, base + tensor.size, dtype=np.float32).reshape(tensor.shape)
        base += tensor.size
    return tensors


def elements(plan: Partitioning, piece: Piece, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Return a piece, cut from the vector of its partition: independent of `tensor_boxes`."""
    slices = plan.slices[piece.partition]
    cuts = [tensors[s.tensor.name][tuple(slice(*edges) for edges in s.box)].reshape(-1) for s in slices]
    return np.concatenate(cuts)[piece.start : piece.stop]


def save(
    folder: Path, plan: Partitioning, pieces: tuple[Piece, ...], tensors: list[dict[str, np.ndarray]]
) -> Path:
    for shard in {piece.shard for piece in pieces}:
        mine = sharding.of_shard(pieces, shard)
        content = {
            name: np.concatenate([elements(plan, piece, values) for piece in mine])
            for name, values in zip(VECTORS, tensors, strict=True)
        }
        content["updates"] = np.array([10 + piece.index for piece in mine])
        shard_file.write(folder / shard_file_name(shard), content)
    shapes = {tensor.name: tensor.shape for tensor in plan.network.tensors}
    placed = [(piece, tuple(tensor_boxes(plan, piece))) for piece in pieces]
    index_module.write_index(folder, shapes, placed, np.dtype("f4"))
    return folder / INDEX


shapes = st.tuples(st.integers(1, 5), st.integers(1, 6), st.sampled_from([9, 64, 10_000]))


@settings(max_examples=20)
@given(st.sampled_from(sorted(NETWORKS)), shapes, shapes)
def test_saved_on_one_shape_and_read_on_another(name, written, read):
    net = NETWORKS[name]
    (shards, parts, largest), (new_shards, new_parts, new_largest) = written, read
    plan, other = Partitioning(net, parts), Partitioning(net, new_parts)
    pieces = sharding.cut(plan.sizes, shards, largest)
    tensors = [numbered(net, 1), numbered(net, 100_000)]
    with tempfile.TemporaryDirectory() as folder:
        index = save(Path(folder), plan, pieces, tensors)
        with index_module.Reader(index, other) as reader:
            for piece in sharding.cut(other.sizes, new_shards, new_largest):
                for vector, values in zip(VECTORS, tensors, strict=True):
                    found = np.zeros(piece.size, np.float32)
                    reader.read(vector, piece, found)
                    assert np.array_equal(found, elements(other, piece, values))
            assert not reader.has("rule.velocity")


def test_any_reader_of_hdf5_sees_whole_tensors(tmp_path):
    net = NETWORKS["image"]
    plan = Partitioning(net, 4)
    tensors = [numbered(net, 1), numbered(net, 100_000)]
    index = save(tmp_path, plan, sharding.cut(plan.sizes, 3, 100), tensors)
    with h5py.File(index) as file:
        for tensor in net.tensors:
            assert np.array_equal(file[f"parameters/{tensor.name}"], tensors[0][tensor.name])


@pytest.mark.parametrize("largest", [9, 10_000])
def test_updates_of_the_same_pieces_are_exact_and_of_others_a_mean(tmp_path, largest):
    plan = Partitioning(NETWORKS["dense"], 2)
    pieces = sharding.cut(plan.sizes, 2, largest)
    index = save(tmp_path, plan, pieces, [numbered(plan.network, 1), numbered(plan.network, 2)])
    with index_module.Reader(index, plan) as reader:
        assert reader.updates(pieces) == [10 + piece.index for piece in pieces]
        others = sharding.cut(plan.sizes, 3, largest)
        assert len(set(reader.updates(others))) == 1
        assert 10 <= reader.updates(others)[0] <= 10 + len(pieces)
