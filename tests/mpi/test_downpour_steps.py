"""Invariants 3 and 4: one replica with n_fetch = n_push = 1 equals serial training, step by step.

The serial program is in this file: plain NumPy, one example a row, nothing of dbmpi but the order of
the examples. The cluster is the real one: coordinator, shards and partitions on their own ranks.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from dbmpi.data import digits
from dbmpi.data.portions import PortionPlan
from dbmpi.layout import sharding
from dbmpi.replica.downpour import DownpourClient
from dbmpi.run.start import cli
from tests.doubles.cluster import first_values, gradients, run_cluster, slice_of

Array = NDArray[Any]
STEPS, B, SEED = 25, 59, 4  # a whole epoch: its last minibatch is one of 21 examples
RATES = {"sgd": 0.1, "momentum": 0.05, "adagrad": 0.05, "adam": 0.01, "adarevision": 0.05}
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
        "downpour.schedule.warmup_epochs": 0,
        "evaluation.every_epochs": 0,
        "output.progress": "none",
    }
    texts = [f"{key}={value}" for key, value in chosen.items()]
    return cli.Arguments(overrides=(LAYERS, *texts), run_dir=run_dir)


def detector(seen: list[Array], replica: Any, role: Any) -> None:
    """Keep a copy of the parameters after every step."""
    client: DownpourClient = replica._algorithm
    step: Callable[..., Any] = client.step

    def watched(*args: Any) -> Any:
        score = step(*args)
        seen.append(client.theta.flat.copy())
        return score

    client.step = watched  # type: ignore[method-assign]


# -- the serial program ------------------------------------------------------------------------------------


def batches() -> Iterator[tuple[Array, Array]]:
    with h5py.File(digits.path()) as file:
        x, y = file["train/x"][:].reshape(-1, 64) / 16.0, file["train/y"][:]
        chunk = file["train/x"].chunks
    plan = PortionPlan(len(x), B, 1, SEED, "auto", chunk[0] if chunk else None)
    for index in range(plan.portions(0, 0)):
        rows = np.concatenate([np.arange(a, b) for a, b in plan.blocks(0, 0, index)])
        rows = rows[plan.order(0, 0, index)]
        for start in range(0, len(rows), B):
            yield x[rows[start : start + B]], y[rows[start : start + B]]


def updated(rule: str, values: list[Array], grads: list[Array], memory: list[list[Array]], t: int) -> None:
    rate = RATES[rule]
    for value, g, state in zip(values, grads, memory, strict=True):
        if rule == "sgd":
            value -= rate * g
        elif rule == "momentum":
            state[0] = 0.9 * state[0] + g
            value -= rate * state[0]
        elif rule in ("adagrad", "adarevision"):  # the same, as no gradient is late
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
        mean = gradients(values[0::2], values[1::2], x, y, 0.001)[1]
        updated(rule, values, [one * (len(x) / B) for one in mean], memory, t)
        history.append([value.copy() for value in values])
    return history


# -- tests -------------------------------------------------------------------------------------------------


def shapes(size: int) -> list[tuple[int, int]]:
    """Every (shards, partitions) of one replica that fills `size` ranks."""
    return [(s, size - 1 - s) for s in range(1, size - 1)]


@pytest.mark.parametrize("rule", list(RATES))
@pytest.mark.mpi(ranks=[3, 4, 6])
def test_one_replica_equals_serial_training_step_by_step(comm: Any, rule: str, folder: Path) -> None:
    for shards, partitions in shapes(comm.size):
        run_dir = folder / f"{shards}x{partitions}"
        seen: list[Array] = []
        context = run_cluster(comm, arguments(rule, shards, partitions, run_dir), partial(detector, seen))
        role = context.setup.topology.roles[comm.rank]
        if role.kind != "replica":
            continue
        history = serial(rule, first_values(context))
        assert len(seen) == len(history) == STEPS
        for step, (mine, tensors) in enumerate(zip(seen, history, strict=True)):
            expected = slice_of(context.partitioning, role.partition_index, tensors)
            np.testing.assert_allclose(mine, expected, rtol=1e-7, atol=1e-10, err_msg=f"step {step}")


@pytest.mark.mpi(ranks=[4, 6])
def test_a_partition_contacts_exactly_the_shards_that_hold_its_parameters(comm: Any, folder: Path) -> None:
    for shards, partitions in shapes(comm.size):
        asked = arguments("sgd", shards, partitions, folder / f"{shards}x{partitions}")
        clients: set[int] = set()
        note = partial(lambda seen, service: seen.update(service._handler.clients), clients)
        context = run_cluster(comm, asked, on_shard=note)
        topology = context.setup.topology
        role = topology.roles[comm.rank]
        if role.kind == "shard":
            holding = {p.partition for p in sharding.of_shard(context.pieces, role.shard_index)}
            readers = {topology.shards[0]} if role.shard_index else set()  # shard 0 saves the model
            assert clients - readers == {topology.replicas[0][p] for p in holding}
    assert len({p.partition for p in context.pieces}) == partitions


@pytest.mark.parametrize("options", [(), ("downpour.wire=bfloat16", "model.dtype=float32")])
@pytest.mark.mpi(ranks=4)
def test_steps_are_the_same_bits_in_shared_memory_and_by_messages(
    comm: Any, options: tuple[str, ...], folder: Path, monkeypatch: Any
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError("for the test")

    histories, shared = [], []
    for i, place in enumerate(["", "dbmpi.replica.rooms.Segment", "dbmpi.server.areas.attach"]):
        with monkeypatch.context() as patched:
            if place:
                patched.setattr(place, refuse)
            seen: list[Array] = []
            mapped = partial(
                lambda found, service: found.extend(service._handler._areas._mapped.values()), shared
            )
            asked = arguments("adagrad", 1, 2, folder / str(i))
            asked = replace(asked, overrides=(*asked.overrides, *options))
            run_cluster(comm, asked, partial(detector, seen), mapped)
            histories.append(np.array(seen))
    assert np.array_equal(histories[0], histories[1]) and np.array_equal(histories[0], histories[2])
    if shared:
        assert [values is not None for values in shared] == [True] * 4 + [False] * 2


@pytest.mark.mpi(ranks=4)
def test_pieces_may_be_much_smaller_than_a_shard(comm: Any, folder: Path, monkeypatch: Any) -> None:
    """Large models go in many messages; the steps are the same."""
    monkeypatch.setattr("dbmpi.layout.decomposition.MAX_PIECE_BYTES", 1000)
    seen: list[Array] = []
    context = run_cluster(comm, arguments("adam", 2, 1, folder / "run"), partial(detector, seen))
    assert len(context.pieces) > 4
    if seen:
        last = serial("adam", first_values(context))[-1]
        np.testing.assert_allclose(seen[-1], slice_of(context.partitioning, 0, last), rtol=1e-7, atol=1e-10)
