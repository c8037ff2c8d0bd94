"""L-BFGS on one thread: passes over the data to a loss, and examples/s, beside PyTorch's and SciPy's.

Passes: the embedded digits, 64-32-10 tanh, float64, history 10, from the same starts; sums over the starts.
SciPy's L-BFGS-B and torch.optim.LBFGS with strong Wolfe search get loss and gradient from dbmpi's own model;
every evaluation counts. Examples/s: 784-512-512-10 on 20,000 random examples, the whole of them in a pass.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dbmpi.model.partition import PartitionModel
from dbmpi.model.tensors import tensors
from dbmpi.run.roles import shard_rank
from scripts.bench import runs, steps
from scripts.bench.core import Group, Options, Row, Turn, require
from scripts.launcher import ROOT
from scripts.training_runs import layers, train

SEEDS, LOSSES, HISTORY, MOST = (1, 2, 3), (0.1, 0.01, 0.001), 10, 300
DIGITS = ROOT / "dbmpi" / "data" / "digits.h5"
TANH = [layers([32], 10, "tanh"), 'model.dtype="float64"']
BATCH = ['train.algorithm="sandblaster"', "cluster.threads=1", f"sandblaster.history={HISTORY}"]
ROWS, ITERATIONS = 20_000, 5
Objective = Callable[[Any], tuple[float, Any]]


class Reached(Exception):
    """All losses are there."""


def groups(options: Options) -> Iterator[Group]:
    """Yield the counts, which are the same in every round, and the speeds."""
    ways: dict[str, Turn] = {
        "dbmpi": cache(partial(own_passes, options)),
        "SciPy": cache(partial(passes, scipys, "SciPy")),
        "PyTorch": cache(partial(passes, torchs, "PyTorch")),
    }
    rows = []
    for loss in LOSSES:
        title, own = f"passes to a loss of {loss}", f"dbmpi {loss}"
        rows.append(Row(title, own, "passes"))
        for name in ("SciPy", "PyTorch"):
            beside = (f"{name} {loss}",)
            rows.append(Row(f"{title}, beside {name}", own, "passes", beside, lower=True, pair=True))
    yield Group("lbfgs passes", ways, rows)
    turns: dict[str, Turn] = {"dbmpi": partial(own_rate, options), "PyTorch": partial(torch_rate, options)}
    row = Row("784-512-512-10, examples/s in passes", "dbmpi", "examples/s", ("PyTorch",))
    yield Group("lbfgs speed", turns, [row])


def records(options: Options, settings: Sequence[str]) -> list[dict[str, Any]]:
    """Train serially; return the records of the iterations."""
    with tempfile.TemporaryDirectory(dir=options.folder) as run_dir:
        train(1, Path(run_dir), [*runs.QUIET, *BATCH, *settings], good=(0, 3))
        lines = [json.loads(line) for line in (Path(run_dir) / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "iteration"]


def own_passes(options: Options) -> Mapping[str, float]:
    """Count dbmpi's passes to each loss, by the records of whole runs."""
    counts = dict.fromkeys(LOSSES, 0)
    for seed in SEEDS:
        settings = [*TANH, f"train.seed={seed}", f"sandblaster.iterations={MOST // 4}", "train.minibatch=250"]
        done, taken = 0, dict[float, int]()
        for one in records(options, settings):
            done += one["evaluations"]
            taken |= {loss: done for loss in LOSSES if one["loss"] <= loss and loss not in taken}
        counts = {loss: counts[loss] + taken[loss] for loss in LOSSES}
    return {f"dbmpi {loss}": float(count) for loss, count in counts.items()}


def passes(optimize: Callable[[Objective, Any], None], name: str) -> Mapping[str, float]:
    """Count another optimizer's evaluations to each loss."""
    counts = np.zeros(len(LOSSES))
    for seed in SEEDS:
        objective, start = problem(seed)
        at = list[int]()
        with suppress(Reached):  # the last loss: no more is counted
            optimize(counted(objective, at), start)
        counts += at
    return {f"{name} {loss}": float(count) for loss, count in zip(LOSSES, counts, strict=True)}


def counted(objective: Objective, at: list[int]) -> Objective:
    """Note in `at` by which evaluation each loss was reached; raise Reached with the last one."""
    calls = [0]

    def instead(x: Any) -> tuple[float, Any]:
        calls[0] += 1
        loss, gradient = objective(x)
        while len(at) < len(LOSSES) and loss <= LOSSES[len(at)]:
            at.append(calls[0])
        if len(at) == len(LOSSES):
            raise Reached
        return loss, gradient

    return instead


def problem(seed: int) -> tuple[Objective, Any]:
    """Return the loss and gradient of all digits, by dbmpi's model, and dbmpi's first parameters of a
    seed."""
    with h5py.File(DIGITS) as file:
        x, labels = file["train"]["x"][:], file["train"]["y"][:].astype(np.int64)
        scale = float(file["train"]["x"].attrs.get("scale", 1.0))
    run = steps.context(None, [*TANH, *BATCH, f"train.seed={seed}"], (64,))
    model, width = PartitionModel(run.partitioning, 0, True, run.dtype), len(x)
    start = shard_rank.shard(run, 0)[1].copy()
    theta, gradient = (tensors(run.partitioning, 0, np.zeros_like(start)) for _ in range(2))
    model.workspace(width).states[0][...] = x.reshape(width, -1).T * scale

    def objective(at: Any) -> tuple[float, Any]:
        theta.flat[...] = at
        loss = model.differentiate(theta, gradient, width, labels).loss_sum / width
        return loss, gradient.flat.copy()

    return objective, start


def scipys(objective: Objective, start: Any) -> None:
    """Minimize by SciPy's L-BFGS-B."""
    require("scipy")
    from scipy import optimize

    options = {"maxcor": HISTORY, "maxiter": MOST, "maxfun": 2 * MOST, "ftol": 0, "gtol": 0}
    optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=options)


def torchs(objective: Objective, start: Any) -> None:
    """Minimize by torch.optim.LBFGS."""
    torch = imported_torch()
    x = torch.tensor(start, requires_grad=True)
    wolfe = {"history_size": HISTORY, "line_search_fn": "strong_wolfe"}
    optimizer = torch.optim.LBFGS([x], 1.0, MOST, 2 * MOST, 0, 0, **wolfe)

    def closure() -> Any:
        loss, gradient = objective(x.detach().numpy().copy())
        x.grad = torch.from_numpy(gradient)
        return torch.tensor(loss, dtype=torch.float64)

    optimizer.step(closure)


def imported_torch() -> Any:
    """Return PyTorch, with one thread; raise Skipped where there is none."""
    require("torch")
    import torch

    torch.set_num_threads(1)
    return torch


def own_rate(options: Options) -> float:
    """Return dbmpi's examples/s in passes, vector operations included, after those that read the data."""
    file = runs.data(options.folder, (28, 28), 10, ROWS)
    settings = [f"data.path={json.dumps(str(file))}", *runs.MNIST.settings, "train.minibatch=250"]
    found = [
        one
        for one in records(options, [*settings, f"sandblaster.iterations={ITERATIONS}"])
        if one["iteration"] > 1
    ]
    seconds = sum(one[key] for one in found for key in ("passes_s", "commands_s", "bookkeeping_s"))
    return float(ROWS * sum(one["evaluations"] for one in found) / seconds)


def torch_rate(options: Options) -> float:
    """Return PyTorch's examples/s, of as many iterations on the whole batch."""
    torch = imported_torch()
    with h5py.File(runs.data(options.folder, (28, 28), 10, ROWS)) as file:
        x = torch.from_numpy(file["train"]["x"][:]).flatten(1).float() / 255
        labels = torch.from_numpy(file["train"]["y"][:])
    nn = torch.nn
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    optimizer = torch.optim.LBFGS(
        model.parameters(), 1.0, ITERATIONS, history_size=HISTORY, line_search_fn="strong_wolfe"
    )
    ends = list[float]()

    def closure() -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        ends.append(time.perf_counter())
        return loss

    optimizer.step(closure)
    return float(ROWS * (len(ends) - 1) / (ends[-1] - ends[0]))
