"""What the dry run says, against the objects that a run would make."""

import os
import re
from typing import Any

import numpy as np
import pytest

from dbmpi.comm.messages import Endpoint
from dbmpi.comm.protocol import REPLY_HEADER
from dbmpi.comm.signals import Signals
from dbmpi.comm.wait import Waiter
from dbmpi.comm.watch import CoordinatorWatch
from dbmpi.config.algorithms import Downpour
from dbmpi.config.schema import keys
from dbmpi.config.sections import Config
from dbmpi.data.describe import Description, describe
from dbmpi.errors import UserError
from dbmpi.layout import partitioning as partition
from dbmpi.layout import sharding
from dbmpi.layout.decomposition import decompose
from dbmpi.layout.network import build
from dbmpi.layout.partitioning import Traffic
from dbmpi.layout.topology import assign_roles
from dbmpi.model.spatial import LAYER_CLASSES
from dbmpi.model.workspace import Workspace
from dbmpi.run.plan import dryrun
from dbmpi.run.plan.choices import complete
from dbmpi.run.plan.dryrun import crossings, report
from dbmpi.run.plan.memory import Memory, MemoryReport
from dbmpi.run.start.launch import resolve_overlap
from dbmpi.server import rules
from dbmpi.server import service as server
from dbmpi.server.shard import Shard
from tests.doubles.ten_classes import load

IMAGE_LAYERS = """model.layers=[
{type="local", filters=3, size=5, padding=2, activation="relu"}, {type="pool", kind="l2", size=3, stride=2},
{type="lcn", size=5}, {type="conv", filters=4, size=[3, 5]}, {type="dropout", rate=0.5},
{type="dense", units=30, activation="tanh"}, {type="dense", units=10}]"""
CONV, CONV_OUTPUT = 4 * 3 * 5 * 3 + 4, 11 * 9 * 4  # parameters and units of the convolution


def description(**changes: Any) -> Description:
    """Describe a data file of 1000 + 100 examples of 28 x 28 uint8."""
    values: dict[str, Any] = {
        "path": "some.h5",
        "train_rows": 1000,
        "test_rows": 100,
        "input_shape": (28, 28),
        "inputs": 784,
        "classes": 10,
        "targets": None,
        "dtype": "uint8",
        "scale": 1 / 255,
        "offset": 0.0,
        "chunk_rows": 100,
    }
    return Description(**(values | changes))


def config(*overrides: str) -> Config:
    return load(None, ["cluster.shards=3", "cluster.replicas=2", "cluster.partitions=3", *overrides])


def memory_of(settings: Config, ranks: int, data: Description) -> MemoryReport:
    cluster = settings.cluster
    topology = assign_roles(ranks, cluster.shards, cluster.replicas, cluster.partitions)
    network = build(settings, data.input_shape)
    settings = complete(settings, network, data.train_rows, len(topology.replicas))
    return MemoryReport(settings, decompose(settings, topology, network), data)


def array_bytes(*holders: Any) -> int:
    """Return the bytes of all arrays that objects hold, each buffer once."""
    buffers: dict[int, int] = {}

    def look(value: Any) -> None:
        if isinstance(value, np.ndarray):
            base = value if value.base is None else value.base
            buffers[id(base)] = base.nbytes
        elif isinstance(value, dict):
            for item in value.values():
                look(item)
        elif isinstance(value, list | tuple):
            for item in value:
                look(item)

    for holder in holders:
        look(vars(holder))
    return sum(buffers.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("partitions", [1, 3, 12])
@pytest.mark.parametrize("layers", ["model.l2=0", IMAGE_LAYERS], ids=["dense", "image"])
def test_activations_are_those_of_the_workspaces_and_layers(layers: str, partitions: int, dtype: str) -> None:
    settings = config(layers, f"cluster.partitions={partitions}", f"model.dtype={dtype}")
    needs = memory_of(settings, 40, description())
    plan = needs.partitioning
    windows = 5 * needs.item if layers is IMAGE_LAYERS else 0  # the Gaussian of the normalization
    for p in range(partitions):
        for width in (1, 16):
            workspace = Workspace(plan, p, width, np.dtype(dtype))
            given: Any = plan, p, workspace, None
            layers_here = [LAYER_CLASSES[type(one.spec)](one, *given) for one in plan.network.layers]
            assert needs.workspace(p, width) == array_bytes(workspace, *layers_here) - windows
        # the held-out set has 100 rows, of which nobody takes derivatives
        evaluated = needs.of_partition(p).activations - needs.workspace(p, 16)
        assert 0 < evaluated < needs.workspace(p, 100)


@pytest.mark.parametrize("name", rules.STATES)
def test_the_memory_of_a_shard_is_what_it_and_its_service_allocate(name: str) -> None:
    settings = config(f"downpour.rule={name}")
    needs = memory_of(settings, 10, description())
    for index in range(3):
        pieces = sharding.of_shard(needs.pieces, index)
        values = {piece: np.zeros(piece.size, np.float32) for piece in pieces}
        shard = Shard(index, values, rules.make(settings.downpour), settings.downpour)
        nothing: Any = None
        endpoint = Endpoint(nothing, 0, Waiter(1.0), Signals(), CoordinatorWatch(1e9, "", None))
        output = server.ShardOutput(lambda checkpoint, meanwhile: None, nothing, 1.0)
        service: Any = server.ShardService(shard, endpoint, output, sharding.Owners(3))
        memory = needs.of_shard(index)
        assert memory.parameters == sum(held.value.nbytes for held in shard.held.values())
        copied = sum(copy.nbytes for copy in shard.snapshot(None).values()) - 8 * len(pieces)
        assert memory.snapshot == copied
        assert memory.rule_state == sum(s.nbytes for held in shard.held.values() for s in held.states)
        exchange = service._handler
        assert array_bytes(exchange, *exchange._replies) == 4 * REPLY_HEADER.itemsize  # made when needed
        assert memory.messages == 4 * max(piece.size for piece in pieces)  # the reply that saves the model
        largest = max(piece.size for piece in needs.pieces)
        assert needs.far_clients() == 4 * largest * (1 + len(exchange._replies))


@pytest.mark.parametrize(
    ("keys", "copies"),
    [
        ((), 2 * 2),
        (("downpour.overlap=false",), 2),
        (("downpour.n_push=3",), 2 * 3),
        (("train.algorithm=sandblaster",), 0),
        (("cluster.replicas=1",), 0),
        (("cluster.replicas=1", "downpour.n_fetch=2"), 1),
        (("downpour.rule=adagrad",), 0),
    ],
)
def test_the_memory_of_versions_that_gradients_may_come_from(keys: tuple[str, ...], copies: int) -> None:
    """`tests/unit/server/test_versions.py` shows that a shard keeps no more."""
    needs = memory_of(config("downpour.rule=adarevision", *keys), 10, description())
    assert needs.of_shard(0).versions == copies * needs.of_shard(0).parameters


def test_an_average_takes_a_vector_on_shards_and_on_partitions() -> None:
    plain, needs = (memory_of(config(f"train.average={value}"), 10, description()) for value in ("none", 0.9))
    shards, partitions = (
        [of.of_shard(1) for of in (plain, needs)],
        [of.of_partition(1) for of in (plain, needs)],
    )
    assert shards[1].rule_state - shards[0].rule_state == shards[0].parameters
    assert shards[1].snapshot - shards[0].snapshot == shards[0].parameters
    vector = 4 * needs.partitioning.sizes[1]
    assert partitions[1].total - partitions[0].total == vector
    assert needs.of_serial().total - plain.of_serial().total == 3 * plain.of_serial().parameters


def test_the_states_of_every_rule_are_known() -> None:
    assert set(rules.STATES) == set(keys(Downpour)["rule"].words) - {"auto"}


def test_mirrors_are_counted_where_there_are_any() -> None:
    needs = memory_of(config("downpour.rule=adam"), 10, description())
    largest = max(needs.of_shard(s).parameters for s in range(3))
    assert needs.mirrors() == 3 * 3 * largest  # parameters, two states; held, arriving, on their way
    text = dryrun.report(config("downpour.rule=adam"), 10, description())
    assert "for its mirrors" in text
    assert "mirrors" not in dryrun.report(config("checkpoint.mirror_s=0"), 10, description())


def test_a_batch_method_has_vectors_on_the_shards_and_five_gradients_a_partition() -> None:
    settings = config("train.algorithm=sandblaster", "sandblaster.history=4")
    needs = memory_of(settings, 10, description())
    memory = needs.of_shard(0)
    assert memory.vectors == memory.parameters * (5 + 2 * 5 - 1) and memory.rule_state == 0
    partition = needs.of_partition(0)
    assert partition.gradients == 5 * partition.parameters == 5 * 4 * needs.partitioning.sizes[0]
    warm = config("train.algorithm=sandblaster", "sandblaster.warmstart_examples=9")
    shard = memory_of(warm, 10, description()).of_shard(0)
    assert shard.rule_state == shard.parameters


def test_parameters_add_up_over_partitions_and_shards() -> None:
    needs = memory_of(config(), 10, description())
    item = 4
    assert sum(needs.of_shard(s).parameters for s in range(3)) == needs.network.parameters * item
    partitions = sum(needs.of_partition(p).parameters for p in range(3))
    assert partitions == 2 * needs.network.parameters * item  # in use, and arriving
    waiting = memory_of(config("downpour.overlap=false"), 10, description())
    assert 2 * sum(waiting.of_partition(p).parameters for p in range(3)) == partitions


@pytest.mark.parametrize("overlap", ["auto", "true", "false"])
@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize(("n_push", "wire"), [(1, "float32"), (4, "float16")])
def test_copies_of_gradients_and_messages(overlap: str, replicas: int, n_push: int, wire: str) -> None:
    settings = config(
        f"downpour.overlap={overlap}",
        f"cluster.replicas={replicas}",
        f"downpour.n_push={n_push}",
        f"downpour.wire={wire}",
    )
    needs = memory_of(settings, 10, description())
    memory, size = needs.of_partition(0), needs.partitioning.sizes[0] * 4
    waits = not resolve_overlap(settings.downpour.overlap, replicas, 2, 1, 1)
    assert memory.gradients == size * (1 if waits and n_push == 1 else 2 if waits else 3)
    assert memory.messages == (0 if wire == "float32" else size * 3 // 2)


@pytest.mark.parametrize("loss", ["softmax", "squared"])
@pytest.mark.parametrize("targets", [None, 10])
@pytest.mark.parametrize("layers", ["model.l2=0", IMAGE_LAYERS], ids=["dense", "image"])
def test_traffic_is_the_minimum_of_the_plan(layers: str, loss: str, targets: int | None) -> None:
    settings = config(layers, f"model.loss={loss}", "train.minibatch=7")
    data = description(targets=targets)
    needs = memory_of(settings, 10, data)
    for p in range(3):
        parts = crossings(settings, needs.partitioning, data, p)
        in_all = parts.pop("in all")
        assert sum(parts.values(), Traffic(0, 0)) == in_all
        assert in_all == needs.partitioning.traffic(p, 7, 4, reduction=targets is None)
    each = [crossings(settings, needs.partitioning, data, p) for p in range(3)]
    assert all(one["for the loss"] == Traffic(0, 0) for one in each) == (targets is not None)
    forward, backward = (sum((one[kind] for one in each), Traffic(0, 0)) for kind in ("forward", "backward"))
    assert forward == backward
    if layers is not IMAGE_LAYERS:
        # 128 units, each needed by the two other partitions
        assert forward == Traffic(6, 128 * 2 * 7 * 4) and "shared weights" not in each[0]
        return
    # Rows x columns x maps. Of the last row nothing is pooled; normalization reads 4 columns on each side.
    pooling, normalization, convolution = 27 * 2 * 3, 13 * (4 + 4 + 4 + 4) * 3, 13 * (2 + 2 + 3 + 1) * 3
    assert forward == Traffic(22, (pooling + normalization + convolution + 2 * CONV_OUTPUT + 2 * 30) * 7 * 4)
    assert each[0]["shared weights"] == Traffic(2, 2 * CONV * 4)
    assert each[1]["shared weights"] == each[2]["shared weights"] == Traffic(1, CONV * 4)


def test_an_image_s_partition_reads_its_tile_and_halo() -> None:
    needs = memory_of(config(IMAGE_LAYERS, "train.portion=5", "train.minibatch=10"), 10, description())
    # tiles of 10, 9 and 9 columns, and 2 more of each neighbour
    assert [needs.of_partition(p).data for p in range(3)] == [3 * 50 * 28 * n for n in (12, 13, 11)]


def test_read_ahead_holds_portions_of_the_file() -> None:
    needs = memory_of(config("train.portion=5", "train.minibatch=10"), 10, description())
    assert needs.of_partition(0).data == 3 * 50 * 784
    whole = memory_of(config("train.portion=500", "train.minibatch=10"), 10, description(dtype="float32"))
    assert whole.of_partition(0).data == 3 * 1000 * 784 * 4


def test_the_report_of_eight_ranks() -> None:
    text = report(load(None, ["cluster.partitions=2"]), 8, description())
    assert text.startswith("8 ranks = 1 coordinator + 1 shard + 3 replicas x 2 partitions\n")
    assert (
        "network: 28 x 28 x 1 inputs, 2 layers, softmax loss: 101,770 parameters in float32, 407 kB" in text
    )
    assert re.search(r"(?m)^Layers$", text)
    assert re.search(r"(?m)^0 +dense 128 relu +128 +128 +100,480$", text)
    assert re.search(r"(?m)^coordinator +0$", text)
    assert re.search(r"(?m)^replica 2 +6-7$", text)
    assert re.search(r"(?m)^0 +1 +\[0, 50,885\) +0 +\[0, 50,885\) +1 +203,540$", text)
    assert re.search(r"(?m)^0 +1 +\[50,885, 101,770\) +1 +\[0, 50,885\) +1 +203,540$", text)
    assert re.search(r"(?m)^partition 0 +1 +4,096 +1 +4,096 +1 +512 +3 +8,704$", text)
    assert not [line for line in text.splitlines() if line != line.rstrip() or len(line) > 150]


def test_the_report_of_an_image_network() -> None:
    text = report(config(IMAGE_LAYERS, "cluster.grid=[1, 3]"), 10, description())
    assert "Layers (images are cut into 1 x 3 tiles)\n" in text
    assert re.search(r"(?m)^0 +local 3 of 5x5 padding 2x2 relu +28 x 28 x 3 +2,352 +61,152$", text)
    assert re.search(r"(?m)^2 +lcn 5x5 +13 x 13 x 3 +507 +0$", text)
    assert re.search(r"(?m)^3 +conv 4 of 3x5 identity +11 x 9 x 4 +396 +184$", text)
    assert re.search(r"(?m)^5 +dense 30 tanh +30 +30 +11,910$", text)
    assert re.search(
        r"(?m)^a rank of +forward +bytes +backward +bytes +shared weights +bytes +for the loss", text
    )


def test_of_many_partitions_the_extremes_and_the_sum_are_listed() -> None:
    settings = config(IMAGE_LAYERS, "cluster.partitions=20", "cluster.grid=[4, 5]", "cluster.replicas=1")
    data = description()
    text, needs = report(settings, None, data), memory_of(settings, 24, data)
    totals = [needs.of_partition(p).total for p in range(20)]
    (most,) = re.findall(r"(?m)^partition (\d+) \(most of 20\) +1 ", text)
    assert totals[int(most)] == max(totals)
    sent = [crossings(needs.config, needs.partitioning, data, p)["in all"] for p in range(20)]
    together = f"{sum(one.messages for one in sent):,} +{sum(one.bytes for one in sent):,}"
    assert re.search(rf"(?m)^all 20 partitions together .* {together}$", text)
    assert len(re.findall(r"(?m)^\d+ +\d+ +\[", text)) == 22  # 20 partitions, two of them on two shards each


def test_a_layer_that_does_not_fit_the_data_is_a_user_error() -> None:
    layers = "{type='dense', units=9}, {type='local', filters=2, size=3}, {type='dense', units=9}"
    with pytest.raises(UserError, match=r"layers.*1.*\(local\)"):
        report(config(f"model.layers=[{layers}]"), 10, description())


def test_ranks_left_over_are_named() -> None:
    text = report(config(), 13, description())
    assert re.search(r"(?m)^left over \(wait for the end\) +10-12$", text)


def test_a_single_process() -> None:
    text = report(load(None), 1, description())
    assert text.startswith("1 rank = serial training") and re.search(r"(?m)^all +0$", text)
    cores = len(os.sched_getaffinity(0))
    assert f"\nthreads of each rank: {cores} (auto: 1 rank on a node with {cores} core" in text
    assert memory_of(load(None), 1, description()).of_serial().messages == 0


def test_ranks_follow_from_the_configuration_where_it_gives_them() -> None:
    assert report(config(), None, description()).startswith("10 ranks = 1 coordinator + 3 shards + 2 repl")
    assert "--ranks gives another number than 8" in report(load(None), None, description())


def test_a_cluster_that_does_not_fit_is_a_user_error() -> None:
    with pytest.raises(UserError, match="10 ranks = 1 coordinator"):
        report(config(), 9, description())


@pytest.mark.parametrize("ranks", [1, 3, 8, 64, 500])
def test_every_number_of_ranks_has_a_report(ranks: int) -> None:
    assert f"{ranks} rank" in report(load(None), ranks, description())


def test_total_is_the_sum() -> None:
    assert Memory(1, 2, 3, 4, 5, 6).total == 21
    assert partition.STATS_BYTES == np.dtype("f8").itemsize


def test_a_control_group_limits_threads_and_memory(monkeypatch):
    monkeypatch.setattr(dryrun.capacity.control_groups, "cores", lambda: 0.5)
    monkeypatch.setattr(dryrun.capacity.control_groups, "memory", lambda: 5e8)
    text = report(load(None), 8, describe("digits"))
    assert "the control group of this process allows 0.5 of " in text and "and 500 MB of " in text
    assert "threads of each rank: 1 (auto: 8 ranks on a node with 1 core" in text
    assert "warning: the ranks of a node take 964 MB, and it has 500 MB: the system may end them" in text
