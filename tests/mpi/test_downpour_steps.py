"""Invariants 3 and 4: one replica with n_fetch = n_push = 1 equals serial training, step by step.

The serial program is in this file: plain NumPy, one example a row, nothing of dbmpi but the order of
the examples. The cluster is the real one: coordinator, shards and partitions on their own ranks.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from dbmpi import cli, digits, roles, setup, sharding
from dbmpi.blocks import whole, within
from dbmpi.downpour import Downpour
from dbmpi.partition import Partitioning
from dbmpi.portions import Plan
from dbmpi.roles import Blueprint
from dbmpi.service import CoordinatorService, Desk, Post
from dbmpi.world import World, meet

Array = NDArray[Any]
STEPS, B, SEED = 25, 20, 4
RATES = {"sgd": 0.1, "momentum": 0.05, "adagrad": 0.05, "adam": 0.01}
LAYERS = (
    'model.layers=[{type="dense", units=9, activation="tanh"}, '
    '{type="dense", units=7, activation="relu"}, {type="dense", units=10}]'
)


def arguments(rule: str, shards: int, partitions: int, run_dir: Path) -> cli.Arguments:
    chosen = {
        "model.dtype": "float64",
        "model.l2": 0.001,
        "cluster.shards": shards,
        "cluster.replicas": 1,
        "cluster.partitions": partitions,
        "cluster.timeout_s": 30.0,
        "train.steps": STEPS,
        "train.minibatch": B,
        "train.seed": SEED,
        "downpour.rule": rule,
        "downpour.learning_rate": RATES[rule],
        "evaluation.every_epochs": 0,
        "output.progress": "none",
    }
    texts = [f"{key}={value}" for key, value in chosen.items()]
    return cli.Arguments(overrides=(LAYERS, *texts), run_dir=run_dir)


def run_cluster(comm: Any, asked: cli.Arguments) -> tuple[Blueprint, list[Array], set[int]]:
    """Run a whole training; return the parameters of each step (partitions) or the clients (shards)."""
    blueprint = Blueprint(setup.prepare(asked, comm))
    seen: list[Array] = []
    clients: set[int] = set()
    with World(blueprint.setup.topology, comm) as world:
        topology, role = blueprint.setup.topology, world.role
        if role.kind == "coordinator":
            coordinate(blueprint, world)
        elif role.kind == "shard":
            service = roles.shard_service(blueprint, world.service, role.shard_index)
            service.run()
            clients = service._clients
        else:
            desk = Desk(world.service, topology.coordinator, blueprint.waiter)
            link = roles.remote_link(blueprint, world.service, role.partition_index)
            replica = roles.replica(blueprint, (0, role.partition_index), link, world.replica, desk.between)
            watch(replica._client, seen)
            desk.run(replica)
            replica.close()
            desk.close()
        meet(world.service, 30.0, "the end of the test")
    return blueprint, seen, clients


def coordinate(blueprint: Blueprint, world: World) -> None:
    book = roles.book(blueprint)
    post = Post(world.service, world.topology)
    coordinator = roles.coordinator(blueprint, post, book, lambda r, p: "?")
    service = CoordinatorService(
        coordinator, world.service, world.topology, post, book, blueprint.waiter, 5.0
    )
    service.run()
    service.dismiss()
    book.close()


def watch(client: Downpour, seen: list[Array]) -> None:
    """Keep a copy of the parameters after every step."""
    step: Callable[..., Any] = client.step

    def watched(*args: Any) -> Any:
        score = step(*args)
        seen.append(client.theta.flat.copy())
        return score

    client.step = watched  # type: ignore[method-assign]


@pytest.fixture
def folder(comm: Any) -> Iterator[Path]:
    """A folder of rank 0 for all ranks: pytest gives each its own, and soon removes the oldest."""
    made = tempfile.TemporaryDirectory() if comm.rank == 0 else None
    yield Path(comm.bcast(made.name if made else None))
    comm.Barrier()
    if made:
        made.cleanup()


# -- the serial program ------------------------------------------------------------------------------------


def batches() -> Iterator[tuple[Array, Array]]:
    with h5py.File(digits.path()) as file:
        x, y = file["train/x"][:].reshape(-1, 64) / 16.0, file["train/y"][:]
        chunk = file["train/x"].chunks
    plan = Plan(len(x), B, 1, SEED, "auto", chunk[0] if chunk else None)
    for index in range(plan.portions(0, 0)):
        rows = np.concatenate([np.arange(a, b) for a, b in plan.blocks(0, 0, index)])
        rows = rows[plan.order(0, 0, index)]
        for start in range(0, len(rows), B):
            yield x[rows[start : start + B]], y[rows[start : start + B]]


def gradients(w: list[Array], b: list[Array], x: Array, y: Array, l2: float) -> list[Array]:
    h1 = np.tanh(x @ w[0].T + b[0])
    h2 = np.maximum(h1 @ w[1].T + b[1], 0)
    z = h2 @ w[2].T + b[2]
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    d3 = (p - np.eye(10)[y]) / len(x)
    d2 = d3 @ w[2] * (h2 > 0)
    d1 = d2 @ w[1] * (1 - h1**2)
    out: list[Array] = []
    for d, below, weights in ((d1, x, w[0]), (d2, h1, w[1]), (d3, h2, w[2])):
        out += [d.T @ below + l2 * weights, d.sum(0)]
    return out


def updated(rule: str, values: list[Array], grads: list[Array], memory: list[list[Array]], t: int) -> None:
    rate = RATES[rule]
    for value, g, state in zip(values, grads, memory, strict=True):
        if rule == "sgd":
            value -= rate * g
        elif rule == "momentum":
            state[0] = 0.9 * state[0] + g
            value -= rate * state[0]
        elif rule == "adagrad":
            state[0] = state[0] + g * g
            value -= rate * g / (np.sqrt(state[0]) + 1e-8)
        else:
            state[0] = 0.9 * state[0] + 0.1 * g
            state[1] = 0.999 * state[1] + 0.001 * g * g
            value -= rate * (state[0] / (1 - 0.9**t)) / (np.sqrt(state[1] / (1 - 0.999**t)) + 1e-8)


def serial(rule: str, start: list[Array]) -> list[list[Array]]:
    """Return all tensors after every step."""
    values = [value.copy() for value in start]
    memory = [[np.zeros_like(value), np.zeros_like(value)] for value in values]
    history = []
    for t, (x, y) in zip(range(1, STEPS + 1), batches(), strict=False):
        updated(rule, values, gradients(values[0::2], values[1::2], x, y, 0.001), memory, t)
        history.append([value.copy() for value in values])
    return history


def first_values(blueprint: Blueprint) -> list[Array]:
    """The tensors before training, each drawn whole."""
    from dbmpi import initialize

    net = blueprint.setup.network
    return [initialize.values(net, t, SEED, 0, t.size).reshape(t.shape) for t in net.tensors]


def slice_of(plan: Partitioning, partition: int, tensors: list[Array]) -> Array:
    named = dict(zip((t.name for t in plan.network.tensors), tensors, strict=True))
    parts = [named[s.tensor.name][within(s.box, whole(s.tensor.shape))] for s in plan.slices(partition)]
    return np.concatenate([part.ravel() for part in parts])


# -- tests -------------------------------------------------------------------------------------------------


def shapes(size: int) -> list[tuple[int, int]]:
    """Every (shards, partitions) of one replica that fills `size` ranks."""
    return [(s, size - 1 - s) for s in range(1, size - 1)]


@pytest.mark.parametrize("rule", list(RATES))
@pytest.mark.mpi(ranks=[3, 4, 6])
def test_one_replica_equals_serial_training_step_by_step(comm: Any, rule: str, folder: Path) -> None:
    for shards, partitions in shapes(comm.size):
        run_dir = folder / f"{shards}x{partitions}"
        blueprint, seen, _ = run_cluster(comm, arguments(rule, shards, partitions, run_dir))
        role = blueprint.setup.topology.roles[comm.rank]
        if role.kind != "replica":
            continue
        history = serial(rule, first_values(blueprint))
        assert len(seen) == len(history) == STEPS
        for step, (mine, tensors) in enumerate(zip(seen, history, strict=True)):
            expected = slice_of(blueprint.plan, role.partition_index, tensors)
            np.testing.assert_allclose(mine, expected, rtol=1e-7, atol=1e-10, err_msg=f"step {step}")


@pytest.mark.mpi(ranks=[4, 6])
def test_a_partition_contacts_exactly_the_shards_that_hold_its_parameters(comm: Any, folder: Path) -> None:
    for shards, partitions in shapes(comm.size):
        asked = arguments("sgd", shards, partitions, folder / f"{shards}x{partitions}")
        blueprint, _, clients = run_cluster(comm, asked)
        topology = blueprint.setup.topology
        role = topology.roles[comm.rank]
        if role.kind == "shard":
            holding = {p.partition for p in sharding.of_shard(blueprint.pieces, role.shard_index)}
            readers = {topology.shards[0]} if role.shard_index else set()  # shard 0 saves the model
            assert clients - readers == {topology.replicas[0][p] for p in holding}
    assert len({p.partition for p in blueprint.pieces}) == partitions


@pytest.mark.mpi(ranks=4)
def test_pieces_may_be_much_smaller_than_a_shard(comm: Any, folder: Path, monkeypatch: Any) -> None:
    """Large models go in many messages; the steps are the same."""
    monkeypatch.setattr(roles, "MAX_PIECE_BYTES", 1000)
    blueprint, seen, _ = run_cluster(comm, arguments("adam", 2, 1, folder / "run"))
    assert len(blueprint.pieces) > 4
    if seen:
        last = serial("adam", first_values(blueprint))[-1]
        np.testing.assert_allclose(seen[-1], slice_of(blueprint.plan, 0, last), rtol=1e-7, atol=1e-10)
