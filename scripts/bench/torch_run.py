"""Train 784-512-512-10 (or as wide as the data are) with PyTorch: `torch_run.py JSON`, prints JSON.

The argument holds `data`, `threads`, `ranks`, `seed`, `ways` (each a rule and its rate, trained one after
another), `examples` (to learn from at most), `every` (examples between evaluations, 0 for none), `until` (an
accuracy that ends a training, or null) and, for the others, `rank` and `meet`, a file; the first rank starts
them. The data lie in memory, as float32. The clock runs from the first minibatch on, and stands still in
evaluations. Each rank learns from minibatches of 100; two of them by DistributedDataParallel over gloo.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import torch
from torch import distributed

BATCH, HIDDEN, WARM = 100, 512, 20
RULES: dict[str, Any] = {
    "momentum": lambda parameters, rate: torch.optim.SGD(parameters, rate, momentum=0.9, fused=True),
    "adagrad": lambda parameters, rate: torch.optim.Adagrad(parameters, rate, fused=True),
    "adam": lambda parameters, rate: torch.optim.Adam(parameters, rate, fused=True),
}


def main(asked: dict[str, Any]) -> None:
    """Start the other ranks, train in all ways, and print a list of what was found."""
    torch.set_num_threads(asked["threads"])
    ranks: int = asked["ranks"]
    with tempfile.TemporaryDirectory() as folder:
        asked = {"rank": 0, "meet": str(Path(folder) / "meet"), **asked}
        others = [
            subprocess.Popen([sys.executable, __file__, json.dumps(asked | {"rank": rank})])
            for rank in range(1, ranks if asked["rank"] == 0 else 0)
        ]
        if ranks > 1:
            meet, size = f"file://{asked['meet']}", ranks
            distributed.init_process_group("gloo", init_method=meet, rank=asked["rank"], world_size=size)
        with h5py.File(asked["data"]) as file:
            data = split(file, "train"), split(file, "test")
        found = [train(asked, rule, rate, *data) for rule, rate in asked["ways"]]
        if ranks > 1:
            distributed.destroy_process_group()
        if asked["rank"] == 0:
            print(json.dumps(found))
        for other in others:
            other.wait()


def split(file: h5py.File, name: str) -> tuple[Any, Any]:
    """Return the inputs of a split, scaled to at most 1, and its labels."""
    x = torch.from_numpy(file[name]["x"][:]).flatten(1).float()
    return x / x.max(), torch.from_numpy(file[name]["y"][:]).long()


def network(inputs: int, outputs: int, ranks: int) -> Any:
    """Return the model."""
    nn = torch.nn
    model: Any = nn.Sequential(
        nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs)
    )
    return nn.parallel.DistributedDataParallel(model) if ranks > 1 else model


def train(
    asked: dict[str, Any], rule: str, rate: float, learned: tuple[Any, Any], tested: tuple[Any, Any]
) -> dict[str, Any]:
    """Return `curve`, examples and seconds and accuracy of each evaluation, and `examples_per_s`."""
    (x, y), ranks, rank, every = learned, asked["ranks"], asked["rank"], asked["every"] or asked["examples"]
    torch.manual_seed(asked["seed"])
    model, loss = network(x.shape[1], int(y.max()) + 1, ranks), torch.nn.CrossEntropyLoss()
    optimizer = RULES[rule](model.parameters(), rate)
    for _ in range(WARM):  # no step
        loss(model(x[:BATCH]), y[:BATCH]).backward()
        optimizer.zero_grad()
    examples, seconds, curve = 0, 0.0, list[tuple[int, float, float]]()
    order, at = torch.randperm(len(x))[rank::ranks], 0
    while examples < asked["examples"] and not reached(curve, asked["until"]):
        meet(ranks)
        start, due = time.perf_counter(), min(examples + every, asked["examples"])
        while examples < due:
            if at + BATCH > len(order):
                order, at = torch.randperm(len(x))[rank::ranks], 0
            rows = order[at : at + BATCH]
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
            at, examples = at + BATCH, examples + BATCH * ranks
        meet(ranks)
        seconds += time.perf_counter() - start
        curve.append((examples, seconds, accuracy(model, *tested) if asked["every"] else 0.0))
    return {"curve": curve, "examples_per_s": examples / seconds}


def accuracy(model: Any, x: Any, y: Any) -> float:
    """Return the share of right answers; ranks, whose models are the same, find the same."""
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


def reached(curve: list[tuple[int, float, float]], until: float | None) -> bool:
    """Whether the last evaluation ends the training."""
    return bool(curve) and until is not None and curve[-1][2] >= until


def meet(ranks: int) -> None:
    """Wait for the other ranks."""
    if ranks > 1:
        distributed.barrier()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
