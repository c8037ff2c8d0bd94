"""Kernels on vectors and on (units, B) arrays, beside a copy of as many bytes as they move, on one thread.

Above 1 is faster than the copy (`numpy.copyto`). Vectors of 670,000 parameters, and of 20 million.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from kernels.layers import dense
from kernels.layers.activations import CODES
from kernels.layers.input import gather_transpose
from kernels.losses import elementwise, softmax
from kernels.parameters import compression, revision, rules
from scripts.bench.clock import Timed
from scripts.bench.core import Group, Options, Row

ROUNDS = 10
RATE = 1e-4
LENGTHS, TURN_S = (669_706, 20_000_000), 0.05


class Kernel(NamedTuple):
    """A kernel at work, and the bytes that it moves for each element."""

    name: str
    run: Callable[[], object]
    moved: int


def groups(options: Options) -> Iterator[Group]:
    """Yield each kernel and its copy, in turns."""
    for n in LENGTHS:
        for kernel in vectors(n):
            yield group(f"{kernel.name} n={n}", kernel, n)
    for kernel in batches(2560, 100):
        yield group(f"{kernel.name} 2560x100", kernel, 2560 * 100)


def group(name: str, kernel: Kernel, elements: int) -> Group:
    """Return a kernel beside its copy."""
    turns = {
        "kernel": Timed(lambda: kernel.run, TURN_S),
        "copy": Timed(partial(copy, elements * kernel.moved), TURN_S),
    }
    return Group(name, turns, [Row(name, "kernel", "s", ("copy",), lower=True)])


def copy(moved: int) -> Callable[[], object]:
    """Return a copy that reads and writes so many bytes in all."""
    source, target = np.ones(moved // 2, np.uint8), np.ones(moved // 2, np.uint8)
    return lambda: np.copyto(target, source)


def vectors(n: int) -> list[Kernel]:
    """Return the update rules, vector operations and wire formats on vectors of n float32."""
    random = np.random.default_rng(2)
    w, g, out = (random.random(n, np.float32) + 0.5 for _ in range(3))
    u, v = (np.full(n, 0.5, np.float32) for _ in range(2))
    old, sums = w + np.float32(0.1), np.zeros(2)
    codes, adam = np.empty(n, np.uint16), (RATE, 0.9, 0.999, 1e-8, 10)
    return [
        Kernel("sgd", lambda: rules.sgd(w, g, RATE), 12),
        Kernel("momentum", lambda: rules.momentum(w, g, u, RATE, 0.9), 20),
        Kernel("adagrad", lambda: rules.adagrad(w, g, u, RATE, 1e-8), 20),
        Kernel("adam", lambda: rules.adam(w, g, u, v, *adam), 28),
        Kernel("adagrad_out", lambda: rules.adagrad_out(w, g, u, RATE, 1e-8, out), 24),
        Kernel("adarevision", lambda: revision.adarevision(w, g, u, v, old, RATE, 1 / RATE, 1e-8, sums), 32),
        Kernel("accrue_and_step", lambda: rules.accrue_and_step(u, g, w, RATE), 20),
        Kernel("add_scaled", lambda: rules.add_scaled(w, RATE, g), 12),
        Kernel("sum_of_squares", lambda: rules.sum_of_squares(g), 4),
        Kernel("encode_bf16", lambda: compression.encode_bf16(g, u, codes), 14),
        Kernel("decode_bf16", lambda: compression.decode_bf16(codes, out), 6),
        Kernel("encode_f16", lambda: compression.encode_f16(g, u, codes), 14),
        Kernel("decode_f16", lambda: compression.decode_f16(codes, out), 6),
    ]


def batches(units: int, batch: int) -> list[Kernel]:
    """Return the kernels that work on `(units, B)` arrays."""
    random = np.random.default_rng(3)
    z, y = (random.random((units, batch), np.float32) for _ in range(2))
    b = np.zeros(units, np.float32)
    labels, stats = random.integers(0, units, batch), np.empty((1, 4, batch))
    raw, picked = random.integers(0, 255, (1000, units)).astype(np.uint8), random.integers(0, 1000, batch)
    return [
        Kernel("bias_activation relu", lambda: dense.bias_activation(z, b, CODES["relu"]), 8),
        Kernel("bias_activation sigmoid", lambda: dense.bias_activation(z, b, CODES["sigmoid"]), 8),
        Kernel("bias_activation tanh", lambda: dense.bias_activation(z, b, CODES["tanh"]), 8),
        Kernel(
            "activation_backward sigmoid", lambda: dense.activation_backward(z, y, b, CODES["sigmoid"]), 12
        ),
        Kernel("softmax_stats", lambda: softmax.softmax_stats(y, 0, labels, stats[0]), 8),
        Kernel("softmax_delta", lambda: softmax.softmax_delta(z, 0, labels, stats[0], 1.0, b), 8),
        Kernel("logistic_delta", lambda: elementwise.logistic_delta(z, 0, labels, 1.0, b), 8),
        Kernel("gather_transpose uint8", lambda: gather_transpose(raw, picked, 1 / 255, 0.0, z), 5),
    ]
