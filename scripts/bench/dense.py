"""Measure the kernels against their bounds and against PyTorch, on one thread: `dense [--quick]`.

A dense training step stands beside its matrix products alone and beside PyTorch (where it is installed);
any other kernel beside `np.copyto` of as many bytes as it moves. What is compared runs in turns, and the
table gives medians: trust the ratios, which are all of one run, more than the times. Above 1 is faster.
"""

import os
import time
from collections.abc import Callable

# Each library reads its own variable when it loads.
os.environ.update({f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "MKL", "OMP", "NUMBA")})

import numpy as np

from kernels.layers import dense
from kernels.layers.activations import CODES
from kernels.layers.input import gather_transpose
from kernels.losses import elementwise, softmax
from kernels.parameters import compression, rules
from scripts import dispatch

RATE = 1e-4
TURN_S = 0.02  # what runs in less is repeated within its turn
NETWORKS = [  # units of each layer, activation, minibatch, the ratio aimed at
    ([784, 256, 10], "relu", 32, 1.9),
    ([784, 512, 512, 10], "relu", 100, None),
    ([440, 2560, 2560, 2560, 2560, 8192], "sigmoid", 100, 1.2),
]


def medians(candidates: dict[str, Callable[[], object]], budget_s: float) -> dict[str, float]:
    """Time functions in turns for about `budget_s` seconds; return the median seconds of each."""
    for run in candidates.values():  # compiles, touches the memory
        run()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    end, turns = time.perf_counter() + budget_s, 0
    while time.perf_counter() < end or turns < 5:
        turns += 1
        for name, run in candidates.items():
            times[name] += one_turn(run)
    return {name: float(np.median(taken)) for name, taken in times.items()}


def one_turn(run: Callable[[], object]) -> list[float]:
    """Time a function again and again for `TURN_S`: as in training, the caches are its own."""
    times: list[float] = []
    start = time.perf_counter()
    while sum(times) < TURN_S:
        run()
        times.append(time.perf_counter() - start)
        start = time.perf_counter()
    return times[1:] or times


class Network:
    """A dense network trained by SGD on one process, in the order of operations that dbmpi uses."""

    def __init__(self, sizes: list[int], activation: str, batch: int) -> None:
        pairs = list(zip(sizes, sizes[1:], strict=False))
        self.w, self.g = (np.zeros(sum(o * i + o for i, o in pairs), np.float32) for _ in range(2))
        self.codes = [CODES[activation]] * (len(pairs) - 1) + [CODES["identity"]]
        self.layers, at, random = [], 0, np.random.default_rng(1)
        for i, o in pairs:
            own = slice(at, at + o * i + o)  # the layer's place in the flat vectors: weights, then biases
            w, b, dw, db = (part for v in (self.w, self.g) for part in np.split(v[own], [o * i]))
            self.layers.append((w.reshape(o, i), b, dw.reshape(o, i), db, own))
            w[:] = random.normal(0, i**-0.5, o * i)
            at = own.stop
        self.y = [np.empty((n, batch), np.float32) for n in sizes]
        self.dy = [np.ones((n, batch), np.float32) for n in sizes]
        self.y[0][:] = random.random((sizes[0], batch))
        self.labels = random.integers(0, sizes[-1], batch)
        self.stats, self.merged = np.empty((1, 4, batch)), np.empty((4, batch))

    def step(self) -> None:
        """Go forward, take the loss, go backward, step."""
        y, dy, last = self.y, self.dy, len(self.layers)
        for n, (w, b, *_) in enumerate(self.layers):
            np.matmul(w, y[n], out=y[n + 1])
            dense.bias_activation(y[n + 1], b, self.codes[n])
        dy[last] = y[last]  # the loss turns logits into derivatives where they stand
        softmax.softmax_stats(dy[last], 0, self.labels, self.stats[0])
        softmax.merge_stats(self.stats, self.merged)
        softmax.softmax_delta(dy[last], 0, self.labels, self.merged, 1 / len(self.labels), self.layers[-1][3])
        for n in reversed(range(last)):
            w, _, dw, _, own = self.layers[n]
            if n:  # before the step: it needs the weights of the forward pass
                np.matmul(w.T, dy[n + 1], out=dy[n])
            np.matmul(dy[n + 1], y[n].T, out=dw)
            rules.sgd(self.w[own], self.g[own], RATE)  # while the gradient of the layer is in the cache
            if n:
                dense.activation_backward(dy[n], y[n], self.layers[n - 1][3], self.codes[n - 1])

    def products(self) -> None:
        """Do the matrix products of a step and nothing else."""
        for n, (w, _, dw, *_) in enumerate(self.layers):
            np.matmul(w, self.y[n], out=self.y[n + 1])
            if n:
                np.matmul(w.T, self.dy[n + 1], out=self.dy[n])
            np.matmul(self.dy[n + 1], self.y[n].T, out=dw)


def torch_step(network: Network, activation: str, set_to_none: bool) -> Callable[[], None]:
    """Return PyTorch's step on a network of the same shape and the same minibatch."""
    import torch

    torch.set_num_threads(1)
    modules: list[torch.nn.Module] = []
    for w, *_ in network.layers:
        modules.append(torch.nn.Linear(w.shape[1], w.shape[0]))
        modules.append(torch.nn.ReLU() if activation == "relu" else torch.nn.Sigmoid())
    model, loss = torch.nn.Sequential(*modules[:-1]), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    x, labels = torch.from_numpy(network.y[0].T.copy()), torch.from_numpy(network.labels)

    def step() -> None:
        optimizer.zero_grad(set_to_none=set_to_none)
        loss(model(x), labels).backward()
        optimizer.step()

    return step


def bench_step(sizes: list[int], activation: str, batch: int, aim: float | None, budget_s: float) -> None:
    """Print the training step of one network beside its bounds."""
    network, bare = Network(sizes, activation, batch), Network(sizes, activation, batch)
    candidates: dict[str, Callable[[], object]] = {"step": network.step, "products": bare.products}
    try:
        for flag in (True, False):
            candidates[f"torch {flag}"] = torch_step(network, activation, flag)
    except ImportError:
        pass
    taken = medians(candidates, budget_s)
    rivals = [t for name, t in taken.items() if name.startswith("torch")]  # the faster way to clear gradients
    title = f"{'-'.join(map(str, sizes))} {activation} B={batch}"
    step, products = taken["step"], taken["products"]
    print(f"{title:42} {step * 1e3:9.3f} {products * 1e3:9.3f} {products / step:7.2f}", end=" ")
    print(
        f"{min(rivals) * 1e3:9.3f} {min(rivals) / step:7.2f} {aim or '':>5}"
        if rivals
        else "PyTorch not installed"
    )


def bench_kernel(name: str, run: Callable[[], object], moved: int, budget_s: float) -> None:
    """Print one kernel beside a copy that reads and writes `moved` bytes in all."""
    source, target = np.ones(moved // 2, np.uint8), np.ones(moved // 2, np.uint8)
    taken = medians({"kernel": run, "copy": lambda: np.copyto(target, source)}, budget_s)
    mine, copy = taken["kernel"], taken["copy"]
    print(f"{name:42} {mine * 1e3:9.3f} {copy * 1e3:9.3f} {copy / mine:7.2f}")


def bench_vectors(n: int, budget_s: float) -> None:
    """Print the update rules, vector operations and wire formats on vectors of n float32."""
    random = np.random.default_rng(2)
    w, g, u, v, out = (random.random(n, np.float32) + 0.5 for _ in range(5))
    codes, adam = np.empty(n, np.uint16), (RATE, 0.9, 0.999, 1e-8, 10)
    rows: list[tuple[str, Callable[[], object], int]] = [  # name, call, bytes moved per element
        ("sgd", lambda: rules.sgd(w, g, RATE), 12),
        ("momentum", lambda: rules.momentum(w, g, u, RATE, 0.9), 20),
        ("adagrad", lambda: rules.adagrad(w, g, u, RATE, 1e-8), 20),
        ("adam", lambda: rules.adam(w, g, u, v, *adam), 28),
        ("adagrad_out", lambda: rules.adagrad_out(w, g, u, RATE, 1e-8, out), 24),
        ("accrue_and_step", lambda: rules.accrue_and_step(u, g, w, RATE), 20),
        ("add_scaled", lambda: rules.add_scaled(w, RATE, g), 12),
        ("sum_of_squares", lambda: rules.sum_of_squares(g), 4),
        ("encode_bf16", lambda: compression.encode_bf16(g, u, codes), 14),
        ("decode_bf16", lambda: compression.decode_bf16(codes, out), 6),
        ("encode_f16", lambda: compression.encode_f16(g, u, codes), 14),
        ("decode_f16", lambda: compression.decode_f16(codes, out), 6),
    ]
    for name, run, per_element in rows:
        u[:] = v[:] = 0.5
        bench_kernel(f"{name} n={n}", run, n * per_element, budget_s)


def bench_batches(units: int, batch: int, budget_s: float) -> None:
    """Print the kernels that work on `(units, B)` arrays."""
    random = np.random.default_rng(3)
    z, y = (random.random((units, batch), np.float32) for _ in range(2))
    b = np.zeros(units, np.float32)
    labels, stats = random.integers(0, units, batch), np.empty((1, 4, batch))
    raw, picked = random.integers(0, 255, (1000, units)).astype(np.uint8), random.integers(0, 1000, batch)
    rows: list[tuple[str, Callable[[], object], int]] = [
        ("bias_activation relu", lambda: dense.bias_activation(z, b, CODES["relu"]), 8),
        ("bias_activation sigmoid", lambda: dense.bias_activation(z, b, CODES["sigmoid"]), 8),
        ("bias_activation tanh", lambda: dense.bias_activation(z, b, CODES["tanh"]), 8),
        ("activation_backward sigmoid", lambda: dense.activation_backward(z, y, b, CODES["sigmoid"]), 12),
        ("softmax_stats", lambda: softmax.softmax_stats(y, 0, labels, stats[0]), 8),
        ("softmax_delta", lambda: softmax.softmax_delta(z, 0, labels, stats[0], 1.0, b), 8),
        ("logistic_delta", lambda: elementwise.logistic_delta(z, 0, labels, 1.0, b), 8),
        ("gather_transpose uint8", lambda: gather_transpose(raw, picked, 1 / 255, 0.0, z), 5),
    ]
    for name, run, per_element in rows:
        z[:] = y
        bench_kernel(f"{name} {units}x{batch}", run, units * batch * per_element, budget_s)


def main(arguments: list[str]) -> None:
    """Print all tables."""
    parser = dispatch.parser(__name__, __doc__)
    parser.add_argument("--quick", action="store_true", help="less time for each, no long vectors")
    quick = parser.parse_args(arguments).quick
    print(
        f"{'training step, ms':42} {'step':>9} {'products':>9} {'ratio':>7} {'torch':>9} {'ratio':>7}   aim"
    )
    for network in NETWORKS:
        bench_step(*network, budget_s=2 if quick else 15)
    print(f"\n{'kernel, ms':42} {'kernel':>9} {'copy':>9} {'ratio':>7}")
    for n in [669_706] if quick else [669_706, 20_000_000]:
        bench_vectors(n, 0.1 if quick else 1)
    bench_batches(2560, 100, 0.1 if quick else 1)
