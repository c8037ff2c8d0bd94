"""Invariant 8: saved on one shape, resumed on another: the same parameters, the same rule state."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dbmpi.checkpoint import manifest
from dbmpi.checkpoint.directory import checkpoint_directory, checkpoint_numbers
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.placement import tensor_boxes
from dbmpi.output.totals import LogState
from dbmpi.run.start import cli
from dbmpi.server import rules
from dbmpi.server.service import ShardService
from tests.doubles.cluster import run_cluster

Array = NDArray[Any]
Tensors = dict[str, Array]  # by vector and tensor
LAYERS = 'model.layers=[{type="dense", units=9, activation="tanh"}, {type="dense", units=10}]'
SHAPES = [(1, 2, 2), (2, 3, 1), (3, 1, 2), (1, 1, 4)]  # shards, replicas, partitions


def arguments(run_dir: Path, shape: tuple[int, int, int], *texts: str) -> cli.Arguments:
    names = ("cluster.shards", "cluster.replicas", "cluster.partitions")
    sizes = [f"{name}={count}" for name, count in zip(names, shape, strict=True)]
    common = ("output.progress=none", "cluster.timeout_s=30", "train.minibatch=20", "model.dtype=float64")
    return cli.Arguments(overrides=(LAYERS, *common, *sizes, *texts), run_dir=run_dir)


def whole_tensors(comm: Any, asked: cli.Arguments, vectors: tuple[int, ...] = ()) -> Tensors:
    """Run a training, and return on every rank what the shards hold at its end. Collective."""
    services: list[ShardService] = []
    context = run_cluster(comm, asked, on_shard=services.append)
    mine: list[tuple[str, tuple[slice, ...], Array]] = []
    for service in services:
        states = rules.make(context.config.downpour).states
        mine += parts(service, context.partitioning, context.pieces, states, vectors)
    found: Tensors = {}
    shapes = {tensor.name: tensor.shape for tensor in context.partitioning.network.tensors}
    for part in comm.allgather(mine):
        for name, at, values in part:
            found.setdefault(name, np.full(shapes[name.split(":")[1]], np.nan))[at] = values
    assert not any(np.isnan(values).any() for values in found.values())
    return found


def logged(folder: Path) -> LogState:
    """Return what the metrics log had added up when the newest checkpoint of the run was taken."""
    newest = checkpoint_directory(folder / "run", checkpoint_numbers(folder / "run")[0])
    return manifest.read(newest).manifest.state.log


def parts(service: ShardService, plan: Partitioning, pieces: Any, states: Any, vectors: Any) -> Any:
    """Return every box of every vector that a shard holds."""
    shard = service.shard
    for piece in pieces:
        if piece.index in shard.held:
            held = shard.held[piece.index]
            named = {"parameters": held.value} | dict(zip(states, held.states, strict=False))
            named |= {f"vector {number}": shard.part(number, piece.index) for number in vectors}
            for name, values in named.items():
                for box in tensor_boxes(plan, piece):
                    some = values[box.start : box.stop].reshape(box.shape)
                    yield f"{name}:{box.tensor.name}", box.at, some.copy()


@pytest.mark.mpi(ranks=[6], timeout_s=200)
@pytest.mark.parametrize("name", ["adarevision", "adam"])
def test_downpour_on_other_shards_replicas_and_partitions(comm, folder, name):
    """The second to last runs have nothing left to learn: they load, evaluate and save again."""
    settings = ("train.steps=32", f"downpour.rule={name}", "downpour.learning_rate=0.01")
    first = whole_tensors(comm, arguments(folder / "run", SHAPES[0], *settings))
    assert len(first) == 4 * 3
    for shape in SHAPES[1:]:
        again = whole_tensors(comm, arguments(folder / "run", shape, *settings))
        assert first.keys() == again.keys()
        for vector, values in first.items():
            assert np.array_equal(values, again[vector]), (shape, vector)
    if comm.rank == 0:
        assert (logged(folder).step, logged(folder).examples) == (32, 640)


@pytest.mark.mpi(ranks=[6])
def test_adagrad_and_adarevision_go_on_from_one_another(comm, folder):
    """From Adagrad both of the other's states are its own, and nothing of a gradient is lost."""
    of = {
        name: whole_tensors(
            comm, arguments(folder / "run", SHAPES[1], "train.steps=32", f"downpour.rule={name}")
        )
        for name in ("adagrad", "adarevision")
    }
    for name, values in of["adagrad"].items():
        assert np.array_equal(values, of["adarevision"][name])
        if name.startswith("squares:"):
            assert np.array_equal(values, of["adarevision"][f"revised_{name}"])


@pytest.mark.mpi(ranks=[6], timeout_s=200)
@pytest.mark.parametrize("method", ["lbfgs", "conjugate_gradient"])
def test_sandblaster_on_other_shards_replicas_and_partitions(comm, folder, method):
    """The parameters, the gradient and the history, or the direction before."""
    vectors = (3, 5, 6, 7, 8, 9, 10, 11, 12) if method == "lbfgs" else (3, 4)
    settings = ("train.algorithm=sandblaster", f"sandblaster.method={method}", "sandblaster.history=4")
    limits = ("sandblaster.iterations=4", "train.epochs=none")
    first = whole_tensors(comm, arguments(folder / "run", SHAPES[0], *settings, *limits), vectors)
    for shape in SHAPES[1:]:
        again = whole_tensors(comm, arguments(folder / "run", shape, *settings, *limits), vectors)
        for vector, values in first.items():
            assert np.array_equal(values, again[vector]), (shape, vector)
    if comm.rank == 0:
        assert logged(folder).iterations == 4
