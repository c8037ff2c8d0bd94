"""Rounds on real ranks: R replicas with minibatches of B are one serial program with minibatches of R x B."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from dbmpi.comm.protocol import Work
from dbmpi.data import digits
from dbmpi.data.portions import PortionPlan
from dbmpi.run.start import cli
from tests.doubles.cluster import first_values, gradients, run_cluster, slice_of
from tests.mpi.test_downpour_steps import SEED, arguments, detector, updated

Array = NDArray[Any]
B = 20
STEPS = 35  # minibatches of both replicas: one of them has none for the last round


def in_sync(shards: int, partitions: int, run_dir: Path, *options: str) -> cli.Arguments:
    """Two replicas, unless an option says else."""
    asked = arguments("adagrad", shards, partitions, run_dir)
    own = "train.algorithm=sync", "cluster.replicas=2", f"train.steps={STEPS}", "train.portion=7"
    own += (f"train.minibatch={B}",)
    return replace(asked, overrides=(*asked.overrides, *own, *options))


def batches() -> list[tuple[Array, Array]]:
    """The minibatches of both replicas, joined round by round; they share the last portion."""
    with h5py.File(digits.path()) as file:
        x, y = file["train/x"][:].reshape(-1, 64) / 16.0, file["train/y"][:]
        chunk = file["train/x"].chunks
    plan = PortionPlan(len(x), B, 2, SEED, 7, chunk[0] if chunk else None)

    def minibatches(part: int, index: int) -> list[Array]:
        rows = np.concatenate([np.arange(a, b) for a, b in plan.blocks(0, part, index)])
        return np.split(rows[plan.order(0, part, index)], range(B, 7 * B, B))

    left, right = ([batch for index in range(2) for batch in minibatches(part, index)] for part in range(2))
    last = minibatches(0, 2)
    joined = [np.concatenate(pair) for pair in zip(left + last[:3], right + last[4:], strict=True)] + [
        last[3]
    ]
    return [(x[rows], y[rows]) for rows in joined]


@pytest.mark.mpi(ranks=[4, 6])
def test_two_replicas_equal_serial_training_with_minibatches_of_both(comm: Any, folder: Path) -> None:
    shards, partitions = (1, 1) if comm.size == 4 else (1, 2)
    seen: list[Array] = []
    context = run_cluster(comm, in_sync(shards, partitions, folder / "run"), partial(detector, seen))
    role = context.setup.topology.roles[comm.rank]
    if role.kind != "replica":
        return
    values = first_values(context)
    memory = [[np.zeros_like(value)] for value in values]
    assert len(seen) == STEPS - STEPS // 2 - role.replica_index
    for t, ((x, y), mine) in enumerate(zip(batches(), seen, strict=False), 1):
        updated("adagrad", values, gradients(values[0::2], values[1::2], x, y, 0.001)[1], memory, t)
        expected = slice_of(context.partitioning, role.partition_index, values)
        np.testing.assert_allclose(mine, expected, rtol=1e-7, atol=1e-10, err_msg=f"round {t}")


@pytest.mark.parametrize("options", [(), ("downpour.wire=bfloat16",)])
@pytest.mark.mpi(ranks=5)
def test_rounds_repeat_bit_for_bit_in_shared_memory_and_by_messages(
    comm: Any, options: tuple[str, ...], folder: Path, monkeypatch: Any
) -> None:
    """Three replicas that are slow in turns, minibatches of several widths."""

    def refuse(*args: Any) -> None:
        raise OSError("for the test")

    def slow(seen: list[Array], order: int, replica: Any, role: Any) -> None:
        detector(seen, replica, role)
        step = replica._algorithm.step

        def late(*args: Any) -> Any:
            time.sleep(0.002 * ((role.replica_index + order) % 3))
            return step(*args)

        replica._algorithm.step = late

    histories = []
    own = (
        "cluster.replicas=3",
        "model.dtype=float32",
        "train.steps=none",
        "train.epochs=0.4",
        "train.portion=3",
    )
    for i, place in enumerate(["", "dbmpi.replica.rooms.Segment", "dbmpi.server.areas.attach"]):
        with monkeypatch.context() as patched:
            if place:
                patched.setattr(place, refuse)
            seen: list[Array] = []
            asked = in_sync(1, 1, folder / str(i), *own, "train.minibatch=23", *options)
            run_cluster(comm, asked, partial(slow, seen, i))
            histories.append(np.array(seen))
    assert np.array_equal(histories[0], histories[1]) and np.array_equal(histories[0], histories[2])


@pytest.mark.parametrize("partitions", [1, 2])
@pytest.mark.mpi(ranks=6)
def test_a_round_does_without_the_slowest_replica(comm: Any, partitions: int, folder: Path) -> None:
    """Its gradients are dropped; what it had no round for is learned from by whoever is next."""
    replicas = 4 // partitions

    def slow(reports: list[Any], replica: Any, role: Any) -> None:
        step, perform = replica._algorithm.step, replica.perform

        def late(*args: Any) -> Any:
            time.sleep(0.02 if role.replica_index == 1 else 0.002)
            return step(*args)

        def noted(assignment: Any) -> Any:
            reports.append(perform(assignment))
            return reports[-1]

        replica._algorithm.step, replica.perform = late, noted

    reports: list[Any] = []
    options = f"cluster.replicas={replicas}", "downpour.backups=1", "train.steps=none", "train.epochs=1"
    asked = in_sync(1, partitions, folder / "run", *options)
    context = run_cluster(comm, asked, partial(slow, reports))
    counts = [
        (int(r["examples"]), int(r["dropped"]), r["partition"]) for r in reports if r["work"] == Work.TRAIN
    ]
    of_all = [count for counts in comm.allgather(counts) for count in counts]
    learned = sum(examples for examples, _, partition in of_all if partition == 0)
    assert learned == context.setup.description.train_rows
    assert sum(dropped for _, dropped, _ in of_all) > 0


@pytest.mark.mpi(ranks=3)
def test_two_pushes_make_one_step_with_their_mean(comm: Any, folder: Path) -> None:
    """The last one of an odd number makes a step of its own, of half its gradient."""
    asked = arguments("sgd", 1, 1, folder / "run")
    asked = replace(asked, overrides=(*asked.overrides, "downpour.average=2", "train.steps=5"))
    seen: list[Array] = []
    flushed: list[Array] = []

    def watched(replica: Any, role: Any) -> None:
        detector(seen, replica, role)
        fetch = replica._algorithm.fetch

        def noted() -> None:
            fetch()
            flushed.append(replica._algorithm.theta.flat.copy())

        replica._algorithm.fetch = noted

    run_cluster(comm, asked, watched)
    if seen:
        changes = [
            bool(np.any(a != b)) for a, b in zip([flushed[0], *seen], [*seen, flushed[-1]], strict=True)
        ]
        assert changes == [False, True, False, True, False, True]
