"""Plain NumPy twins of the kernels of dense layers and of the input, of the same names and arguments.

Written for plainness, not speed. See each kernel for its documentation; every function here is local, and
overwrites the same arrays. Letters: I input units, O output units, B minibatch, N examples of a data set.
"""

import numpy as np

from kernels.layers.activations import IDENTITY, RELU, SIGMOID, TANH

_Array = np.ndarray


def bias_activation(z_OB: _Array, b_O: _Array, code: int) -> None:
    """Twin of `kernels.layers.dense.bias_activation`."""
    z = z_OB + b_O[:, None]
    with np.errstate(over="ignore"):
        z_OB[:] = {
            IDENTITY: lambda: z,
            SIGMOID: lambda: 1 / (1 + np.exp(-z)),
            TANH: lambda: np.tanh(z),
            RELU: lambda: np.maximum(z, 0),
        }[code]()


def bias_activation_sum(z_OB: _Array, extra_OB: _Array, b_O: _Array, code: int) -> None:
    """Twin of `kernels.layers.dense.bias_activation_sum`."""
    z_OB += extra_OB
    bias_activation(z_OB, b_O, code)


def activation_backward(dy_OB: _Array, y_OB: _Array, db_O: _Array, code: int) -> None:
    """Twin of `kernels.layers.dense.activation_backward`."""
    one = np.ones_like(y_OB)
    dy_OB *= {IDENTITY: one, SIGMOID: y_OB * (1 - y_OB), TANH: 1 - y_OB * y_OB, RELU: y_OB > 0}[code]
    row_sums(dy_OB, db_O)


def row_sums(dy_OB: _Array, db_O: _Array) -> None:
    """Twin of `kernels.layers.dense.row_sums`."""
    db_O[:] = dy_OB.sum(axis=1)


def accumulate(y_OB: _Array, x_OB: _Array) -> None:
    """Twin of `kernels.layers.dense.accumulate`."""
    y_OB += x_OB


def gather_transpose(raw_NI: _Array, rows_B: _Array, scale: float, offset: float, out_IB: _Array) -> None:
    """Twin of `kernels.layers.input.gather_transpose`."""
    out_IB[:] = raw_NI[rows_B].T * scale + offset


def gather_transpose_scaled(
    raw_NI: _Array, rows_B: _Array, scale_I: _Array, offset_I: _Array, out_IB: _Array
) -> None:
    """Twin of `kernels.layers.input.gather_transpose_scaled`."""
    out_IB[:] = (raw_NI[rows_B] * scale_I + offset_I).T
