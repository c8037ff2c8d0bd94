"""Train the network of examples/speech.toml with PyTorch: `torch_spoken.py JSON`, prints JSON.

The argument holds `data`; `start`, an HDF5 file of the first parameters under the names of dbmpi; `threads`;
`rule`: sgd or adagrad, with `minibatch`, `epochs`, `rate`, `warmup` (examples in which the rate rises),
`seed` (of the order) and `out`, where the parameters are written as dbmpi writes them; or lbfgs, with
`passes`. The data lie in memory, each column brought to mean 0 and deviation 1. What is printed: `losses` of
all passes of L-BFGS, and `examples_per_s`.
"""

import json
import sys
import time
from typing import Any

import h5py
import torch

RULES: dict[str, Any] = {
    "sgd": lambda parameters, rate: torch.optim.SGD(parameters, rate, fused=True),
    "adagrad": lambda parameters, rate: torch.optim.Adagrad(parameters, rate, fused=True),
}
HISTORY = 10


def main(asked: dict[str, Any]) -> None:
    """Train, and print what was found."""
    torch.set_num_threads(asked["threads"])
    with h5py.File(asked["data"]) as file:
        x, y = torch.from_numpy(file["train/x"][:]), torch.from_numpy(file["train/y"][:]).long()
    mean, scale = x.double().mean(0), 1 / x.double().std(0, correction=0)
    x = ((x - mean) * scale).float()
    model, start = network(asked["start"]), time.perf_counter()
    if asked["rule"] == "lbfgs":
        losses = minimize(model, x, y, asked["passes"])
        seen = len(losses) * len(x)
    else:
        losses, seen = [], learn(model, x, y, asked)
    print(json.dumps({"losses": losses, "examples_per_s": seen / (time.perf_counter() - start)}))
    if "out" in asked:
        write(model, asked["out"], scale.numpy(), (-mean * scale).numpy())


def network(start: str) -> Any:
    """Return dense layers with the parameters of a file, sigmoid between them."""
    modules: list[Any] = []
    with h5py.File(start) as file:
        for number in range(len(file) // 2):
            weight, bias = (
                torch.from_numpy(file[f"layers.{number}.{name}"][:]) for name in ("weight", "bias")
            )
            layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
            layer.weight.data, layer.bias.data = weight, bias
            modules += [layer, torch.nn.Sigmoid()]
    return torch.nn.Sequential(*modules[:-1])


def learn(model: Any, x: Any, y: Any, asked: dict[str, Any]) -> int:
    """Train by minibatches; return the examples that were learned from."""
    optimizer, loss = RULES[asked["rule"]](model.parameters(), asked["rate"]), torch.nn.CrossEntropyLoss()
    torch.manual_seed(asked["seed"])
    examples = 0
    for _ in range(asked["epochs"]):
        for rows in torch.randperm(len(x)).split(asked["minibatch"]):
            optimizer.param_groups[0]["lr"] = asked["rate"] * min(1.0, (examples + 1) / asked["warmup"])
            optimizer.zero_grad()
            share = len(rows) / asked["minibatch"]  # of a whole one: as by dbmpi, every example counts alike
            (share * loss(model(x[rows]), y[rows])).backward()
            optimizer.step()
            examples += len(rows)
    return examples


def minimize(model: Any, x: Any, y: Any, passes: int) -> list[float]:
    """Train by L-BFGS on all examples; return the loss of each pass."""
    wolfe = {"history_size": HISTORY, "line_search_fn": "strong_wolfe"}
    optimizer = torch.optim.LBFGS(model.parameters(), 1.0, passes, passes, 0, 0, **wolfe)
    losses = list[float]()

    def closure() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        losses.append(float(loss))
        return loss

    optimizer.step(closure)
    return losses[:passes]


def write(model: Any, out: str, scale: Any, offset: Any) -> None:
    """Write the parameters, and what inputs are multiplied by and what is added."""
    with h5py.File(out, "w") as file:
        file.attrs["scale"], file.attrs["offset"] = scale, offset
        for number, layer in enumerate(model[::2]):
            file[f"layers.{number}.weight"] = layer.weight.detach().numpy()
            file[f"layers.{number}.bias"] = layer.bias.detach().numpy()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
