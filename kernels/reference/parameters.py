"""Plain NumPy twins of the kernels on parameters, of the same names and arguments.

Written for plainness, not speed. See each kernel for its documentation; every function here is local, and
overwrites the same arrays. Letters: w parameters, g gradient, a, m, v and z state of a rule; V vectors of N
elements.
"""

import numpy as np

_Array = np.ndarray


def sgd(w: _Array, g: _Array, rate: float) -> None:
    """Twin of `kernels.parameters.rules.sgd`."""
    w -= rate * g


def momentum(w: _Array, g: _Array, v: _Array, rate: float, mu: float) -> None:
    """Twin of `kernels.parameters.rules.momentum`."""
    v[:] = mu * v + g
    w -= rate * v


def adagrad(w: _Array, g: _Array, a: _Array, rate: float, eps: float) -> None:
    """Twin of `kernels.parameters.rules.adagrad`."""
    a += g * g
    w -= rate * g / (np.sqrt(a) + eps)


def adam(
    w: _Array, g: _Array, m: _Array, v: _Array, rate: float, beta1: float, beta2: float, eps: float, t: int
) -> None:
    """Twin of `kernels.parameters.rules.adam`."""
    m[:] = beta1 * m + (1 - beta1) * g
    v[:] = beta2 * v + (1 - beta2) * g * g
    w -= rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)


def adarevision(
    w: _Array,
    g: _Array,
    z: _Array,
    a: _Array,
    old: _Array,
    rate: float,
    per_rate: float,
    eps: float,
    sums: _Array,
) -> None:
    """Twin of `kernels.parameters.revision.adarevision`."""
    before, far = np.sqrt(a) + eps, old - w
    z += g * g + 2 * g * (far * before * per_rate)
    a[:] = np.maximum(np.maximum(a, z), g * g)
    after = np.sqrt(a) + eps
    step, back = rate * g / after, (1 - before / after) * far
    w += back - step
    sums += np.abs(back).sum(), np.abs(step).sum()


def adarevision_fresh(
    w: _Array, g: _Array, z: _Array, a: _Array, rate: float, eps: float, sums: _Array
) -> None:
    """Twin of `kernels.parameters.revision.adarevision_fresh`."""
    adarevision(w, g, z, a, w.copy(), rate, 0.0, eps, sums)


def sum_of_squares(g: _Array) -> float:
    """Twin of `kernels.parameters.rules.sum_of_squares`."""
    return float((g.astype(np.float64) ** 2).sum())


def add_scaled(y: _Array, a: float, x: _Array) -> None:
    """Twin of `kernels.parameters.rules.add_scaled`."""
    y += a * x


def mean_of_two(out: _Array, x: _Array, y: _Array, scale: float) -> None:
    """Twin of `kernels.parameters.rules.mean_of_two`."""
    out[:] = scale * (x + y)


def move_towards(a: _Array, w: _Array, share: float) -> None:
    """Twin of `kernels.parameters.rules.move_towards`."""
    a += share * (w - a)


def accrue_and_step(accrued: _Array, g: _Array, w: _Array, rate: float) -> None:
    """Twin of `kernels.parameters.rules.accrue_and_step`."""
    accrued += g
    w -= rate * g


def encode_f16(x: _Array, residual: _Array, out_u16: _Array) -> None:
    """Twin of `kernels.parameters.compression.encode_f16`."""
    v = x + residual
    v = np.where(np.abs(v) < 1024 * 65504, v, v * np.float32(np.inf))
    out = np.where(np.isfinite(v), np.clip(v, -65504, 65504), v).astype(np.float16)
    out_u16[:] = out.view(np.uint16)
    residual[:] = np.where(np.isfinite(v), v - out, 0)


def decode_f16(u16: _Array, out: _Array) -> None:
    """Twin of `kernels.parameters.compression.decode_f16`."""
    out[:] = u16.view(np.float16)


def encode_bf16(x: _Array, residual: _Array, out_u16: _Array) -> None:
    """Twin of `kernels.parameters.compression.encode_bf16`; NaN becomes the NaN 0x7FC0."""
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
    """Twin of `kernels.parameters.compression.decode_bf16`."""
    out[:] = (u16.astype(np.uint32) << 16).view(np.float32)


def combine(v_VN: _Array, rows: _Array, factors: _Array, out: int) -> None:
    """Twin of `kernels.parameters.linear.combine`."""
    v_VN[out] = factors @ v_VN[rows].astype(np.float64)


def dots(v_VN: _Array, left: _Array, right: _Array, partial: _Array) -> None:
    """Twin of `kernels.parameters.linear.dots`."""
    partial[:] = (v_VN[left].astype(np.float64) * v_VN[right]).sum(axis=1)


def multiply(v_VN: _Array, left: int, right: int, out: int) -> None:
    """Twin of `kernels.parameters.linear.multiply`."""
    v_VN[out] = v_VN[left] * v_VN[right]


def commit(
    v_VN: _Array, parameters: int, gradient: int, base: int, base_gradient: int, step: int, change: int
) -> None:
    """Twin of `kernels.parameters.linear.commit`."""
    v_VN[step], v_VN[change] = v_VN[parameters] - v_VN[base], v_VN[gradient] - v_VN[base_gradient]
    v_VN[base], v_VN[base_gradient] = v_VN[parameters], v_VN[gradient]
