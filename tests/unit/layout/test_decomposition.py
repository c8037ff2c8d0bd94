"""A run cut for its ranks: as configured, and every parameter in one piece of one shard."""

import pytest

from dbmpi.config.sections import Config
from dbmpi.errors import UserError
from dbmpi.layout import network, sharding
from dbmpi.layout.decomposition import Decomposition, decompose
from dbmpi.layout.topology import assign_roles
from tests.doubles.ten_classes import load

IMAGE = (28, 28)


def cut(*overrides: str, partitions: int = 2) -> tuple[Config, Decomposition]:
    """Return a configuration, and its decomposition for 2 shards and 3 replicas."""
    config = load(None, overrides)
    topology = assign_roles(1 + 2 + 3 * partitions, 2, 3, partitions)
    return config, decompose(config, topology, network.build(config, IMAGE))


def test_topology_and_network_are_those_given():
    config = load(None)
    topology, net = assign_roles(4), network.build(config, IMAGE)
    made = decompose(config, topology, net)
    assert made.topology is topology and made.network is net and made.partitioning.network is net


def test_there_are_as_many_partitions_and_shards_as_the_topology_has():
    _, made = cut(partitions=3)
    assert made.partitioning.partitions == 3
    assert {piece.partition for piece in made.pieces} == {0, 1, 2}
    assert {piece.shard for piece in made.pieces} == {0, 1}


def test_every_parameter_is_in_one_piece():
    _, made = cut()
    for partition, size in enumerate(made.partitioning.sizes):
        ends = [0]
        for piece in sharding.of_partition(made.pieces, partition):
            assert piece.start == ends[-1]
            ends.append(piece.stop)
        assert ends[-1] == size
    assert sum(piece.size for piece in made.pieces) == made.network.parameters


@pytest.mark.parametrize("dtype, itemsize", [("float32", 4), ("float64", 8)])
def test_no_piece_takes_more_bytes_than_a_message_may(monkeypatch, dtype, itemsize):
    monkeypatch.setattr("dbmpi.layout.decomposition.MAX_PIECE_BYTES", 4096)
    _, made = cut(f"model.dtype={dtype}")
    assert max(piece.size for piece in made.pieces) == 4096 // itemsize


def test_the_grid_is_the_configured_one():
    _, made = cut("cluster.grid=[4, 1]", partitions=4)
    assert made.partitioning.grid == (4, 1)
    with pytest.raises(UserError, match="cluster.grid = "):
        cut("cluster.grid=[2, 2]", partitions=3)
