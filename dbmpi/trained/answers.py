"""What the outputs of a network say: probabilities, classes, labels, or targets. Pure.

Shape letters: B examples, O output units.
"""

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.format import Format


def probabilities(z_BO: Array, loss: str) -> Array:
    """Return what each output unit gives as the probability of its class or label, float64 (B, O).

    With "softmax" they sum to 1; with "logistic" each is by itself (one-vs-all, the paper, section 5); with
    "squared" they are the outputs, cut to [0, 1], as the targets that they learned are 0 and 1.
    """
    z_BO = z_BO.astype(np.float64)
    if loss == "squared":
        return np.clip(z_BO, 0, 1)
    if loss == "logistic":
        return 0.5 * (1 + np.tanh(0.5 * z_BO))  # which does not overflow
    e_BO = np.exp(z_BO - z_BO.max(axis=1, keepdims=True))
    return e_BO / e_BO.sum(axis=1, keepdims=True)


def classes(z_BO: Array) -> Array:
    """Return the class of the largest output, int64 (B,); of equal ones the first."""
    return np.argmax(z_BO, axis=1)


def labels(z_BO: Array) -> Array:
    """Return whether each label is said to be right, bool (B, O): its probability is above a half."""
    return z_BO > 0


def targets(y_BO: Array, form: Format) -> Array:
    """Return targets as the file has them, float64 (B, O)."""
    scale, offset = (np.asarray(one) for one in form.of_targets)
    return (y_BO.astype(np.float64) - offset) / scale
