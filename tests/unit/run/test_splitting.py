"""How many partitions there are where nobody says so: one, unless memory or speed asks for more."""

import subprocess
import sys

import pytest

from dbmpi.data.describe import Description
from dbmpi.errors import UserError
from dbmpi.layout.network import build
from dbmpi.run.plan import capacity
from dbmpi.run.plan.splitting import Choice, Node, choose_roles
from tests import ROOT
from tests.doubles.ten_classes import load


def dense(*units: int) -> str:
    return "model.layers=[" + ", ".join(f"{{type='dense', units={n}}}" for n in units) + "]"


MNIST, SPEECH = dense(512, 512, 10), dense(2560, 2560, 2560, 2560, 8192)
ONE_REPLICA = ("cluster.shards=1", "cluster.replicas=1", "train.minibatch=100")
LARGE = Node(64 * 10**9, 4)


def chosen(
    layers: str, size: int, *overrides: str, node: Node = LARGE, nodes: list[int] | None = None
) -> Choice:
    config = load(None, [layers, *overrides])
    data = Description("file.h5", 10_000, 100, (440,), 440, 8192, None, "float32", 1.0, 0.0, 100)
    return choose_roles(config, build(config, data.input_shape), data, size, node, nodes)


@pytest.mark.parametrize("size", [3, 7, 8, 64])
def test_a_network_that_fits_is_not_split(size):
    topology, why = chosen(MNIST, size)
    assert topology.partitions == 1 and why.startswith("1: the ranks of a node take")


def test_more_replicas_are_better_than_more_partitions_of_a_large_network():
    assert chosen(SPEECH, 4).topology.partitions == 1


@pytest.mark.parametrize(("layers", "partitions"), [(MNIST, 1), (SPEECH, 2)])
def test_ranks_that_no_replica_wants_split_one_where_a_step_is_faster(layers, partitions):
    topology, why = chosen(layers, 4, *ONE_REPLICA)
    assert topology.partitions == partitions
    assert ("a step of 1 replica is estimated at" in why) == (partitions > 1)


def test_nobody_splits_a_replica_over_more_ranks_than_cores():
    assert chosen(SPEECH, 10, *ONE_REPLICA, node=Node(64 * 10**9, 2)).topology.partitions == 2
    assert chosen(SPEECH, 10, *ONE_REPLICA, node=Node(64 * 10**9, 1)).topology.partitions == 1


def test_a_network_too_large_for_the_ranks_of_a_node_is_split():
    topology, why = chosen(SPEECH, 10, "cluster.shards=1", node=Node(5 * 10**9, 4))
    assert topology.partitions == 4
    assert why.startswith("4: with 2 the ranks of a node take") and why.endswith("of its 5.00 GB")
    apart = chosen(SPEECH, 10, "cluster.shards=1", node=Node(5 * 10**9, 4), nodes=[0] * 5 + [1] * 5)
    assert apart.topology.partitions < 4


def test_where_nothing_fits_only_a_split_that_saves_memory_is_made():
    small, large = Node(4 * 10**9, 4), Node(9 * 10**9, 4)
    assert chosen(MNIST, 64, node=small).topology.partitions == 1
    assert 1 < chosen(SPEECH, 130, node=large).topology.partitions < 64


def test_the_limit_of_one_process_is_not_that_of_a_node():
    code = "from dbmpi.run.plan import capacity; print(capacity.memory(), capacity.node_memory())"
    limited = f"ulimit -v 4000000; exec '{sys.executable}' -c '{code}'"
    said = subprocess.run(["bash", "-c", limited], capture_output=True, check=True, cwd=ROOT).stdout.split()
    assert (
        int(said[0]) == min(4000000 * 1024, capacity.node_memory()) and int(said[1]) == capacity.node_memory()
    )


def test_what_the_user_says_holds():
    topology, why = chosen(MNIST, 5, "cluster.partitions=3")
    assert topology.partitions == 3 and why == ""
    assert chosen(SPEECH, 1, node=Node(10**6, 1)).topology.serial


def test_rounds_must_wait_for_somebody():
    sync = "train.algorithm=sync", "cluster.shards=1"
    assert len(chosen(MNIST, 4, *sync, "downpour.backups=1").topology.replicas) == 2
    with pytest.raises(UserError, match="downpour.backups = 2, .* there are 2; give at most 1"):
        chosen(MNIST, 4, *sync, "downpour.backups=2")
