"""Train 784-512-512-10 (or as wide as the data are) with PyTorch: `torch_run.py JSON`, prints JSON.

The argument holds `data`, `threads`, `examples`, `every` (examples between evaluations), `compiled`, `ranks`
and, for the others, `rank` and `meet`, a file; the first rank starts them. The data lie in memory, as
float32. The clock runs from the first minibatch on, and stands still in evaluations, and while PyTorch
compiles. Each rank learns from minibatches of 100; two of them by DistributedDataParallel over gloo.
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

BATCH, HIDDEN, RATE, WARM = 100, 512, 0.02, 20


def main(asked: dict[str, Any]) -> None:
    """Start the other ranks, train, and print the curve."""
    torch.set_num_threads(asked["threads"])
    torch.manual_seed(1)
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
        found = train(asked)
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


def network(inputs: int, outputs: int, asked: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Return the model, what computes its loss, and the optimizer."""
    nn = torch.nn
    model: Any = nn.Sequential(
        nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs)
    )
    if asked["ranks"] > 1:
        model = nn.parallel.DistributedDataParallel(model)
    loss = nn.CrossEntropyLoss()

    def loss_of(x: Any, y: Any) -> Any:
        return loss(model(x), y)

    try:
        optimizer = torch.optim.Adagrad(model.parameters(), RATE, fused=True)
    except (RuntimeError, TypeError):  # of an older PyTorch
        optimizer = torch.optim.Adagrad(model.parameters(), RATE)
    return model, torch.compile(loss_of) if asked["compiled"] else loss_of, optimizer


def train(asked: dict[str, Any]) -> dict[str, Any]:
    """Return `curve`, examples and seconds and accuracy of each evaluation, and `examples_per_s`."""
    with h5py.File(asked["data"]) as file:
        (x, y), (x_test, y_test) = split(file, "train"), split(file, "test")
    model, loss_of, optimizer = network(x.shape[1], int(y.max()) + 1, asked)
    for _ in range(WARM):  # compiles; no step
        loss_of(x[:BATCH], y[:BATCH]).backward()
        optimizer.zero_grad()
    ranks, examples, seconds, curve = asked["ranks"], 0, 0.0, []
    due, order, at = asked["every"], torch.randperm(len(x))[asked["rank"] :: ranks], 0
    meet(ranks)
    start = time.perf_counter()
    while examples < asked["examples"]:
        if at + BATCH > len(order):
            order, at = torch.randperm(len(x))[asked["rank"] :: ranks], 0
        rows = order[at : at + BATCH]
        optimizer.zero_grad()
        loss_of(x[rows], y[rows]).backward()
        optimizer.step()
        at, examples = at + BATCH, examples + BATCH * ranks
        if examples >= due or examples >= asked["examples"]:
            meet(ranks)
            seconds += time.perf_counter() - start
            due += asked["every"]
            with torch.no_grad():
                accuracy = float((model(x_test).argmax(1) == y_test).float().mean())
            curve.append((examples, seconds, accuracy))
            meet(ranks)
            start = time.perf_counter()
    return {"curve": curve, "examples_per_s": examples / seconds}


def meet(ranks: int) -> None:
    """Wait for the other ranks."""
    if ranks > 1:
        distributed.barrier()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
