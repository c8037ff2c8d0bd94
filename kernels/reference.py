"""Plain NumPy twins of the kernels, of the same names and arguments: what the tests hold the kernels to.

Written for plainness, not speed. See each kernel for its documentation; every function here is local, and
overwrites the same arrays.
"""

import numpy as np

from kernels.activations import IDENTITY, RELU, SIGMOID, TANH

_Array = np.ndarray


def bias_activation(z_OB: _Array, b_O: _Array, code: int) -> None:
    """Twin of `kernels.dense.bias_activation`."""
    z = z_OB + b_O[:, None]
    with np.errstate(over="ignore"):
        z_OB[:] = {
            IDENTITY: lambda: z,
            SIGMOID: lambda: 1 / (1 + np.exp(-z)),
            TANH: lambda: np.tanh(z),
            RELU: lambda: np.maximum(z, 0),
        }[code]()


def bias_activation_sum(z_OB: _Array, extra_OB: _Array, b_O: _Array, code: int) -> None:
    """Twin of `kernels.dense.bias_activation_sum`."""
    z_OB += extra_OB
    bias_activation(z_OB, b_O, code)


def activation_backward(dy_OB: _Array, y_OB: _Array, db_O: _Array, code: int) -> None:
    """Twin of `kernels.dense.activation_backward`."""
    one = np.ones_like(y_OB)
    dy_OB *= {IDENTITY: one, SIGMOID: y_OB * (1 - y_OB), TANH: 1 - y_OB * y_OB, RELU: y_OB > 0}[code]
    row_sums(dy_OB, db_O)


def row_sums(dy_OB: _Array, db_O: _Array) -> None:
    """Twin of `kernels.dense.row_sums`."""
    db_O[:] = dy_OB.sum(axis=1)


def accumulate(y_OB: _Array, x_OB: _Array) -> None:
    """Twin of `kernels.dense.accumulate`."""
    y_OB += x_OB


def _onehot(z_OB: _Array, first: int, labels_B: _Array) -> _Array:
    return (np.arange(first, first + len(z_OB))[:, None] == labels_B).astype(z_OB.dtype)


def argmax_stats(z_OB: _Array, first: int, stats_4B: _Array) -> None:
    """Twin of `kernels.softmax.argmax_stats`."""
    stats_4B[:] = np.array([-np.inf, 0, 0, -1])[:, None]
    if len(z_OB):
        stats_4B[0], stats_4B[3] = z_OB.max(axis=0), first + z_OB.argmax(axis=0)


def softmax_stats(z_OB: _Array, first: int, labels_B: _Array, stats_4B: _Array) -> None:
    """Twin of `kernels.softmax.softmax_stats`."""
    argmax_stats(z_OB, first, stats_4B)
    if len(z_OB):
        stats_4B[1] = np.exp(z_OB - stats_4B[0]).sum(axis=0)
        stats_4B[2] = (z_OB * _onehot(z_OB, first, labels_B)).sum(axis=0)


def merge_stats(stats_P4B: _Array, merged_4B: _Array) -> None:
    """Twin of `kernels.softmax.merge_stats`."""
    most, total, target, argmax = stats_P4B.transpose(1, 0, 2)
    merged_4B[0] = most.max(axis=0)
    merged_4B[1] = (total * np.exp(most - merged_4B[0])).sum(axis=0)
    merged_4B[2] = target.sum(axis=0)
    merged_4B[3] = np.take_along_axis(argmax, most.argmax(axis=0)[None], axis=0)[0]


def softmax_delta(
    z_OB: _Array, first: int, labels_B: _Array, merged_4B: _Array, scale: float, db_O: _Array
) -> None:
    """Twin of `kernels.softmax.softmax_delta`."""
    z_OB[:] = (np.exp(z_OB - merged_4B[0]) / merged_4B[1] - _onehot(z_OB, first, labels_B)) * scale
    row_sums(z_OB, db_O)


def logistic_loss(z_OB: _Array, first: int, labels_B: _Array) -> float:
    """Twin of `kernels.elementwise_losses.logistic_loss`."""
    z = z_OB.astype(np.float64)
    return float((np.logaddexp(0, z) - z * _onehot(z, first, labels_B)).sum())


def logistic_delta(z_OB: _Array, first: int, labels_B: _Array, scale: float, db_O: _Array) -> float:
    """Twin of `kernels.elementwise_losses.logistic_delta`."""
    loss = logistic_loss(z_OB, first, labels_B)
    onehot = _onehot(z_OB, first, labels_B)
    bias_activation(z_OB, np.zeros(len(z_OB), z_OB.dtype), SIGMOID)
    z_OB[:] = (z_OB - onehot) * scale
    row_sums(z_OB, db_O)
    return loss


def squared_loss(y_OB: _Array, t_OB: _Array) -> float:
    """Twin of `kernels.elementwise_losses.squared_loss`."""
    return float(0.5 * ((y_OB.astype(np.float64) - t_OB) ** 2).sum())


def squared_delta(y_OB: _Array, t_OB: _Array, scale: float, db_O: _Array) -> float:
    """Twin of `kernels.elementwise_losses.squared_delta`."""
    loss = squared_loss(y_OB, t_OB)
    y_OB[:] = (y_OB - t_OB) * scale
    row_sums(y_OB, db_O)
    return loss


def squared_labels_loss(y_OB: _Array, first: int, labels_B: _Array) -> float:
    """Twin of `kernels.elementwise_losses.squared_labels_loss`."""
    return squared_loss(y_OB, _onehot(y_OB, first, labels_B))


def squared_labels_delta(y_OB: _Array, first: int, labels_B: _Array, scale: float, db_O: _Array) -> float:
    """Twin of `kernels.elementwise_losses.squared_labels_delta`."""
    return squared_delta(y_OB, _onehot(y_OB, first, labels_B), scale, db_O)


def sgd(w: _Array, g: _Array, rate: float) -> None:
    """Twin of `kernels.rules.sgd`."""
    w -= rate * g


def momentum(w: _Array, g: _Array, v: _Array, rate: float, mu: float) -> None:
    """Twin of `kernels.rules.momentum`."""
    v[:] = mu * v + g
    w -= rate * v


def adagrad(w: _Array, g: _Array, a: _Array, rate: float, eps: float) -> None:
    """Twin of `kernels.rules.adagrad`."""
    a += g * g
    w -= rate * g / (np.sqrt(a) + eps)


def adam(
    w: _Array, g: _Array, m: _Array, v: _Array, rate: float, beta1: float, beta2: float, eps: float, t: int
) -> None:
    """Twin of `kernels.rules.adam`."""
    m[:] = beta1 * m + (1 - beta1) * g
    v[:] = beta2 * v + (1 - beta2) * g * g
    w -= rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)


def sum_of_squares(g: _Array) -> float:
    """Twin of `kernels.rules.sum_of_squares`."""
    return float((g.astype(np.float64) ** 2).sum())


def add_scaled(y: _Array, a: float, x: _Array) -> None:
    """Twin of `kernels.rules.add_scaled`."""
    y += a * x


def accrue_and_step(accrued: _Array, g: _Array, w: _Array, rate: float) -> None:
    """Twin of `kernels.rules.accrue_and_step`."""
    accrued += g
    w -= rate * g


def gather_transpose(raw_NI: _Array, rows_B: _Array, scale: float, offset: float, out_IB: _Array) -> None:
    """Twin of `kernels.pack.gather_transpose`."""
    out_IB[:] = raw_NI[rows_B].T * scale + offset


def encode_f16(x: _Array, residual: _Array, out_u16: _Array) -> None:
    """Twin of `kernels.pack.encode_f16`."""
    v = x + residual
    out = np.where(np.isfinite(v), np.clip(v, -65504, 65504), v).astype(np.float16)
    out_u16[:] = out.view(np.uint16)
    residual[:] = np.where(np.isfinite(v), v - out, 0)


def decode_f16(u16: _Array, out: _Array) -> None:
    """Twin of `kernels.pack.decode_f16`."""
    out[:] = u16.view(np.float16)


def encode_bf16(x: _Array, residual: _Array, out_u16: _Array) -> None:
    """Twin of `kernels.pack.encode_bf16`; NaN becomes the NaN 0x7FC0."""
    v = x + residual
    largest = np.array([0x7F7F0000], np.uint32).view(np.float32)[0]
    narrow = np.where(np.isfinite(v), np.clip(v, -largest, largest), v).astype(np.float32)
    bits = narrow.view(np.uint32).astype(np.uint64)  # wide, so that rounding up can't wrap
    low, high = bits & 0xFFFF, bits >> 16
    up = (low > 0x8000) | ((low == 0x8000) & (high % 2 == 1))
    out_u16[:] = np.where(np.isnan(narrow), 0x7FC0, high + up)
    out = np.empty_like(v)
    decode_bf16(out_u16, out)
    residual[:] = np.where(np.isfinite(v), v - out, 0)


def decode_bf16(u16: _Array, out: _Array) -> None:
    """Twin of `kernels.pack.decode_bf16`."""
    out[:] = (u16.astype(np.uint32) << 16).view(np.float32)


def combine(v_VN: _Array, rows: _Array, factors: _Array, out: int) -> None:
    """Twin of `kernels.combinations.combine`."""
    v_VN[out] = factors @ v_VN[rows].astype(np.float64)


def dots(v_VN: _Array, left: _Array, right: _Array, partial: _Array) -> None:
    """Twin of `kernels.combinations.dots`."""
    partial[:] = (v_VN[left].astype(np.float64) * v_VN[right]).sum(axis=1)


def multiply(v_VN: _Array, left: int, right: int, out: int) -> None:
    """Twin of `kernels.combinations.multiply`."""
    v_VN[out] = v_VN[left] * v_VN[right]


def commit(
    v_VN: _Array, parameters: int, gradient: int, base: int, base_gradient: int, step: int, change: int
) -> None:
    """Twin of `kernels.combinations.commit`."""
    v_VN[step], v_VN[change] = v_VN[parameters] - v_VN[base], v_VN[gradient] - v_VN[base_gradient]
    v_VN[base], v_VN[base_gradient] = v_VN[parameters], v_VN[gradient]
