"""Invariants 5 and 6 on real ranks: Sandblaster's iterates are those of a serial L-BFGS, whatever is slow.

The serial program is in this file: the gradient of the whole set in plain NumPy, one example a row, and the
two-loop recursion on whole vectors. It shares the line search alone, whose tests are elsewhere. Were a
portion lost or counted twice in one pass, all losses from there on would differ.
"""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from dbmpi.data import digits
from dbmpi.run.roles.context import batch_of
from dbmpi.run.start import cli
from dbmpi.sandblaster.line_search import Trial, search
from tests.doubles.cluster import first_values, gradients, run_cluster

Array = NDArray[Any]
ITERATIONS, HISTORY, L2 = 15, 4, 0.001
LAYERS = (
    'model.layers=[{type="dense", units=9, activation="tanh"}, '
    '{type="dense", units=7, activation="relu"}, {type="dense", units=10}]'
)


def arguments(shape: tuple[int, int, int], run_dir: Path, **more: object) -> cli.Arguments:
    chosen = {
        "model.dtype": "float64",
        "model.l2": L2,
        "cluster.shards": shape[0],
        "cluster.replicas": shape[1],
        "cluster.partitions": shape[2],
        "cluster.timeout_s": 30.0,
        "train.algorithm": "sandblaster",
        "train.minibatch": 20,
        "train.seed": 4,
        "sandblaster.iterations": ITERATIONS,
        "sandblaster.history": HISTORY,
        "sandblaster.push_every": 3,
        "evaluation.every_epochs": 0,
        "output.progress": "none",
    } | {key.replace("__", "."): value for key, value in more.items()}
    texts = [f"{key}={json.dumps(value)}" for key, value in chosen.items()]
    return cli.Arguments(overrides=(LAYERS, *texts), run_dir=run_dir)


def records(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def parameters(run_dir: Path) -> list[Array]:
    with h5py.File(run_dir / "model.h5") as file:
        return [file[f"layers.{i}.{name}"][...] for i in range(3) for name in ("weight", "bias")]


def slow(where: tuple[int, int], s: float, replica: Any, role: Any) -> None:
    """Let one partition take longer for each minibatch, and so its whole replica."""
    if (role.replica_index, role.partition_index) != where:
        return
    whole = replica._model.differentiate

    def slowly(*args: Any) -> Any:
        time.sleep(s)
        return whole(*args)

    replica._model.differentiate = slowly


# -- the serial program ------------------------------------------------------------------------------------


def objective(shapes: list[tuple[int, ...]]) -> Any:
    with h5py.File(digits.path()) as file:
        x, y = file["train/x"][:].reshape(-1, 64) / 16.0, file["train/y"][:]

    def evaluate(theta: Array) -> tuple[float, Array]:
        ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
        tensors = [part.reshape(shape) for part, shape in zip(np.split(theta, ends), shapes, strict=True)]
        loss, grads = gradients(tensors[0::2], tensors[1::2], x, y, L2)
        return loss, np.concatenate([g.ravel() for g in grads])

    return evaluate


def two_loop(g: Array, pairs: list[tuple[Array, Array]]) -> Array:
    """Nocedal & Wright, Algorithm 7.4."""
    q, alphas = g.copy(), []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    if pairs:
        s, y = pairs[-1]
        q *= s @ y / (y @ y)
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        q += s * (alpha - y @ q / (s @ y))
    return -q


def serial(start: list[Array]) -> tuple[list[float], list[Array]]:
    """Return the loss of every iterate, and the last parameters."""
    evaluate = objective([v.shape for v in start])
    x = np.concatenate([v.ravel() for v in start])
    f, g = evaluate(x)
    losses, pairs = [f], []
    for _ in range(ITERATIONS):
        p = two_loop(g, pairs)
        seen: dict[float, tuple[float, Array]] = {}

        def line(alpha: float, x=x, p=p, seen=seen) -> Trial:
            seen[alpha] = evaluate(x + alpha * p)
            return Trial(alpha, seen[alpha][0], float(seen[alpha][1] @ p))

        first = 1.0 if pairs else min(1.0, 1 / float(np.linalg.norm(g)))
        end = search(line, Trial(0.0, f, float(g @ p)), first, 0.9)
        assert end is not None
        f, after = seen[end.alpha]
        pairs = [*pairs, (end.alpha * p, after - g)][-HISTORY:]
        x, g = x + end.alpha * p, after
        losses.append(f)
    ends = np.cumsum([v.size for v in start])[:-1]
    return losses, [part.reshape(v.shape) for part, v in zip(np.split(x, ends), start, strict=True)]


# -- tests -------------------------------------------------------------------------------------------------


def shapes(size: int) -> list[tuple[int, int, int]]:
    """Every (shards, replicas, partitions) that fills `size` ranks."""
    rest = [(s, size - 1 - s) for s in range(1, size - 1)]
    return [(s, r, n // r) for s, n in rest for r in range(1, n + 1) if n % r == 0]


@pytest.mark.mpi(ranks=[3, 4, 6], timeout_s=120)
def test_iterates_are_those_of_a_serial_program_on_every_shape(comm: Any, folder: Path) -> None:
    expected: tuple[list[float], list[Array]] | None = None
    for shape in shapes(comm.size):
        run_dir = folder / "x".join(map(str, shape))
        context = run_cluster(comm, arguments(shape, run_dir))
        expected = expected or serial(first_values(context))
        losses = [record["loss"] for record in records(run_dir, "iteration")]
        np.testing.assert_allclose(losses, expected[0], rtol=1e-6, err_msg=str(shape))
        for mine, right in zip(parameters(run_dir), expected[1], strict=True):
            np.testing.assert_allclose(mine, right, rtol=1e-4, atol=1e-6, err_msg=str(shape))


@pytest.mark.mpi(ranks=[4, 6], timeout_s=120)
def test_a_slow_replica_and_backup_copies_change_nothing(comm: Any, folder: Path) -> None:
    partitions = 1 if comm.size == 4 else 2
    shape, run_dir = (1, 2, partitions), folder / "run"
    context = run_cluster(comm, arguments(shape, run_dir), partial(slow, (1, partitions - 1), 0.01))
    losses, tensors = serial(first_values(context))
    np.testing.assert_allclose([r["loss"] for r in records(run_dir, "iteration")], losses, rtol=1e-6)
    for mine, right in zip(parameters(run_dir), tensors, strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-4, atol=1e-6)
    if comm.rank == 0:
        counts = records(run_dir, "replica")
        passes = sum(r["evaluations"] for r in records(run_dir, "iteration"))
        assert sum(r["won"] for r in counts) == passes * batch_of(context).portions
        assert counts[0]["won"] > 2 * counts[1]["won"] and counts[1]["lost"] > 0


@pytest.mark.mpi(ranks=4, timeout_s=120)
def test_deterministic_runs_repeat_bit_by_bit_however_slow_somebody_is(comm: Any, folder: Path) -> None:
    shape = (1, 2, 1)
    found = []
    for number, where in enumerate([(0, 0), (1, 0)]):
        run_dir = folder / str(number)
        asked = arguments(shape, run_dir, sandblaster__deterministic=True, model__dtype="float32")
        run_cluster(comm, asked, partial(slow, where, 0.001))
        found.append((records(run_dir, "iteration"), parameters(run_dir)))
    (first, one), (second, other) = found
    assert [r["loss"] for r in first] == [r["loss"] for r in second]
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
