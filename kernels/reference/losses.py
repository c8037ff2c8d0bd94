"""Plain NumPy twins of the kernels of losses, of the same names and arguments.

Written for plainness, not speed. See each kernel for its documentation; every function here is local, and
overwrites the same arrays. Letters: z logits, y outputs, t targets; O units of the partition, B minibatch,
P partitions.
"""

import numpy as np

from kernels.layers.activations import SIGMOID
from kernels.reference.dense import bias_activation, row_sums

_Array = np.ndarray


def _onehot(z_OB: _Array, first: int, labels_B: _Array) -> _Array:
    return (np.arange(first, first + len(z_OB))[:, None] == labels_B).astype(z_OB.dtype)


def argmax_stats(z_OB: _Array, first: int, stats_4B: _Array) -> None:
    """Twin of `kernels.losses.softmax.argmax_stats`."""
    stats_4B[:] = np.array([-np.inf, 0, 0, -1])[:, None]
    if len(z_OB):
        stats_4B[0], stats_4B[3] = z_OB.max(axis=0), first + z_OB.argmax(axis=0)


def softmax_stats(z_OB: _Array, first: int, labels_B: _Array, stats_4B: _Array) -> None:
    """Twin of `kernels.losses.softmax.softmax_stats`."""
    argmax_stats(z_OB, first, stats_4B)
    if len(z_OB):
        stats_4B[1] = np.exp(z_OB - stats_4B[0]).sum(axis=0)
        stats_4B[2] = (z_OB * _onehot(z_OB, first, labels_B)).sum(axis=0)


def merge_stats(stats_P4B: _Array, merged_4B: _Array) -> None:
    """Twin of `kernels.losses.softmax.merge_stats`."""
    most, total, target, argmax = stats_P4B.transpose(1, 0, 2)
    merged_4B[0] = most.max(axis=0)
    merged_4B[1] = (total * np.exp(most - merged_4B[0])).sum(axis=0)
    merged_4B[2] = target.sum(axis=0)
    merged_4B[3] = np.take_along_axis(argmax, most.argmax(axis=0)[None], axis=0)[0]


def softmax_delta(
    z_OB: _Array, first: int, labels_B: _Array, merged_4B: _Array, scale: float, db_O: _Array
) -> None:
    """Twin of `kernels.losses.softmax.softmax_delta`."""
    z_OB[:] = (np.exp(z_OB - merged_4B[0]) / merged_4B[1] - _onehot(z_OB, first, labels_B)) * scale
    row_sums(z_OB, db_O)


def logistic_loss(z_OB: _Array, first: int, labels_B: _Array) -> float:
    """Twin of `kernels.losses.elementwise.logistic_loss`."""
    z = z_OB.astype(np.float64)
    return float((np.logaddexp(0, z) - z * _onehot(z, first, labels_B)).sum())


def logistic_delta(z_OB: _Array, first: int, labels_B: _Array, scale: float, db_O: _Array) -> float:
    """Twin of `kernels.losses.elementwise.logistic_delta`."""
    loss = logistic_loss(z_OB, first, labels_B)
    onehot = _onehot(z_OB, first, labels_B)
    bias_activation(z_OB, np.zeros(len(z_OB), z_OB.dtype), SIGMOID)
    z_OB[:] = (z_OB - onehot) * scale
    row_sums(z_OB, db_O)
    return loss


def multilabel_loss(z_OB: _Array, t_OB: _Array) -> float:
    """Twin of `kernels.losses.elementwise.multilabel_loss`."""
    z = z_OB.astype(np.float64)
    return float((np.logaddexp(0, z) - z * t_OB).sum())


def multilabel_delta(z_OB: _Array, t_OB: _Array, scale: float, db_O: _Array) -> float:
    """Twin of `kernels.losses.elementwise.multilabel_delta`."""
    loss = multilabel_loss(z_OB, t_OB)
    bias_activation(z_OB, np.zeros(len(z_OB), z_OB.dtype), SIGMOID)
    z_OB[:] = (z_OB - t_OB) * scale
    row_sums(z_OB, db_O)
    return loss


def logistic_losses(z_OB: _Array, t_OB: _Array, losses_B: _Array) -> None:
    """Twin of `kernels.losses.elementwise.logistic_losses`."""
    z = z_OB.astype(np.float64)
    losses_B[:] = (np.logaddexp(0, z) - z * t_OB).sum(axis=0)


def weigh(dz_OB: _Array, weights_B: _Array, db_O: _Array) -> None:
    """Twin of `kernels.losses.elementwise.weigh`."""
    dz_OB *= weights_B
    row_sums(dz_OB, db_O)


def squared_loss(y_OB: _Array, t_OB: _Array) -> float:
    """Twin of `kernels.losses.elementwise.squared_loss`."""
    return float(0.5 * ((y_OB.astype(np.float64) - t_OB) ** 2).sum())


def squared_delta(y_OB: _Array, t_OB: _Array, scale: float, db_O: _Array) -> float:
    """Twin of `kernels.losses.elementwise.squared_delta`."""
    loss = squared_loss(y_OB, t_OB)
    y_OB[:] = (y_OB - t_OB) * scale
    row_sums(y_OB, db_O)
    return loss


def squared_labels_loss(y_OB: _Array, first: int, labels_B: _Array) -> float:
    """Twin of `kernels.losses.elementwise.squared_labels_loss`."""
    return squared_loss(y_OB, _onehot(y_OB, first, labels_B))


def squared_labels_delta(y_OB: _Array, first: int, labels_B: _Array, scale: float, db_O: _Array) -> float:
    """Twin of `kernels.losses.elementwise.squared_labels_delta`."""
    return squared_delta(y_OB, _onehot(y_OB, first, labels_B), scale, db_O)
