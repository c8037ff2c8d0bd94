"""Activation functions by code, applied to one row of units: helpers of the kernels in `dense` and `bias`.

Letters: z sum of weighted inputs, y = f(z) activations; O units, B minibatch.
"""

import numpy as np

from kernels.elementary import exp, tanh
from kernels.jit import helper, inlined_helper

IDENTITY, SIGMOID, TANH, RELU = 0, 1, 2, 3
CODES: dict[str, int] = {"identity": IDENTITY, "sigmoid": SIGMOID, "tanh": TANH, "relu": RELU}

_Array = np.ndarray


@helper
def activate_row(z_OB: _Array, o: int, bias: float, code: int) -> None:
    """Overwrite row `o` with f(z + bias)."""
    zero, one = z_OB.dtype.type(0), z_OB.dtype.type(1)
    if code == IDENTITY:
        for b in range(z_OB.shape[1]):
            z_OB[o, b] += bias
    elif code == SIGMOID:
        for b in range(z_OB.shape[1]):
            z_OB[o, b] = one / (one + exp(-(z_OB[o, b] + bias)))
    elif code == TANH:
        for b in range(z_OB.shape[1]):
            z_OB[o, b] = tanh(z_OB[o, b] + bias)
    else:
        for b in range(z_OB.shape[1]):
            z = z_OB[o, b] + bias
            z_OB[o, b] = zero if z < zero else z  # this way round, NaN stays NaN


@inlined_helper
def differentiate_row(dy_OB: _Array, y_OB: _Array, o: int, code: int) -> float:
    """Overwrite row `o` of dy with dy * f', f' expressed by y = f(z); return the sum of the new row."""
    zero, one = y_OB.dtype.type(0), y_OB.dtype.type(1)
    total = zero
    if code == IDENTITY:
        for b in range(y_OB.shape[1]):
            total += dy_OB[o, b]
    elif code == SIGMOID:
        for b in range(y_OB.shape[1]):
            dz = dy_OB[o, b] * (y_OB[o, b] * (one - y_OB[o, b]))
            dy_OB[o, b] = dz
            total += dz
    elif code == TANH:
        for b in range(y_OB.shape[1]):
            dz = dy_OB[o, b] * (one - y_OB[o, b] * y_OB[o, b])
            dy_OB[o, b] = dz
            total += dz
    else:
        for b in range(y_OB.shape[1]):
            dz = dy_OB[o, b] if y_OB[o, b] > zero else zero
            dy_OB[o, b] = dz
            total += dz
    return total
