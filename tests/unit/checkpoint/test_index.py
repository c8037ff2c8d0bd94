"""Checkpoints of any shape: what some shards and partitions wrote, others read, element by element."""

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.checkpoint import manifest
from dbmpi.checkpoint.directory import INDEX, shard_file_name
from dbmpi.checkpoint.index import write_index
from dbmpi.checkpoint.reader import Reader
from dbmpi.config.layers import Conv, Dense, Layer, Local, Pool
from dbmpi.config.sections import Config, Model
from dbmpi.errors import UserError
from dbmpi.layout import sharding
from dbmpi.layout.network import build
from dbmpi.layout.partitioning import Partitioning
from tests.doubles.checkpoints import PARAMETERS, SQUARES, elements, numbered, save

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
VECTORS = PARAMETERS, SQUARES
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
        saved = save(Path(folder), 1, plan, pieces, dict(zip(VECTORS, tensors, strict=True)))
        with Reader(manifest.read(saved), other) as reader:
            for piece in sharding.cut(other.sizes, new_shards, new_largest):
                for vector, values in zip(VECTORS, tensors, strict=True):
                    found = np.zeros(piece.size, np.float32)
                    reader.read(vector, piece, found)
                    assert np.array_equal(found, elements(other, piece, values))
            assert not reader.has("rule.velocity")


def test_a_shard_whose_file_cannot_be_read_is_told(tmp_path):
    """As by h5py, which calls what it cannot read missing."""
    with h5py.File(tmp_path / shard_file_name(0), "w") as file:
        file["parameters"] = np.zeros(9)
    with pytest.raises(UserError, match=r"index.h5: cannot be written: .*updates"):
        write_index(tmp_path, {}, [(sharding.Piece(0, 0, 0, 0, 9), ())], np.dtype("f4"))


def test_any_reader_of_hdf5_sees_whole_tensors(tmp_path):
    net = NETWORKS["image"]
    plan = Partitioning(net, 4)
    tensors = [numbered(net, 1), numbered(net, 100_000)]
    vectors = dict(zip(VECTORS, tensors, strict=True))
    saved = save(tmp_path, 1, plan, sharding.cut(plan.sizes, 3, 100), vectors)
    with h5py.File(saved / INDEX) as file:
        for tensor in net.tensors:
            assert np.array_equal(file[f"parameters/{tensor.name}"], tensors[0][tensor.name])


@pytest.mark.parametrize("largest", [9, 10_000])
def test_updates_of_the_same_pieces_are_exact_and_of_others_a_mean(tmp_path, largest):
    plan = Partitioning(NETWORKS["dense"], 2)
    pieces = sharding.cut(plan.sizes, 2, largest)
    with Reader(manifest.read(save(tmp_path, 1, plan, pieces)), plan) as reader:
        assert reader.updates(pieces) == [10 + piece.index for piece in pieces]
        others = sharding.cut(plan.sizes, 3, largest)
        assert len(set(reader.updates(others))) == 1
        assert 10 <= reader.updates(others)[0] <= 10 + len(pieces)


def test_without_a_shards_file_any_reader_of_hdf5_sees_no_numbers(tmp_path):
    saved = save(tmp_path)
    (saved / shard_file_name(1)).unlink()
    with h5py.File(saved / INDEX) as file:
        tensors = file[PARAMETERS].values()
        read = np.concatenate([tensor[...].reshape(-1) for tensor in tensors])
    assert np.isnan(read).any() and not (read == 0).any()
