"""Losses that are sums over output units: one-vs-all logistic and squared error.

Letters: z logits, y outputs, t targets; O units of the partition, B minibatch. Each partition handles its own
units `[first, first + O)`; the layer's loss is the sum over partitions.
Losses are summed in float64 (logistic: over pieces of a row in the precision of the logits).
"""

import math

import numpy as np

from kernels.deferred import prange
from kernels.elementary import exp
from kernels.jit import helper, inlined_helper, kernel, parallel_kernel

_Array = np.ndarray
_FACTORS = 512  # examples in a piece of a row: so many factors of 2 are far from the largest float64


@helper
def _logistic_loss(z_B: _Array, target: int, labels_B: _Array) -> float:
    # log(1 + e) summed = the log of the product: one call of log for many elements
    linear, product, zero = z_B.dtype.type(0), 1.0, z_B.dtype.type(0)
    for b in range(z_B.size):
        z = z_B[b]
        linear += (z if z > zero else zero) - (z if labels_B[b] == target else zero)
        product *= 1.0 + np.float64(exp(-abs(z)))
    return np.float64(linear) + math.log(product)


@inlined_helper
def _logistic_delta(z_B: _Array, target: int, labels_B: _Array, scale: float) -> float:
    zero, one = z_B.dtype.type(0), z_B.dtype.type(1)
    total = zero
    for b in range(z_B.size):
        z = z_B[b]
        e = exp(-abs(z))
        dz = ((e if z < zero else one) / (one + e) - (one if labels_B[b] == target else zero)) * scale
        z_B[b] = dz
        total += dz
    return total


@helper
def _logistic_row_loss(z_OB: _Array, o: int, target: int, labels_B: _Array) -> float:
    total = 0.0
    for start in range(0, z_OB.shape[1], _FACTORS):
        stop = start + _FACTORS
        total += _logistic_loss(z_OB[o, start:stop], target, labels_B[start:stop])
    return total


@parallel_kernel
def logistic_loss(z_OB: _Array, first: int, labels_B: _Array) -> float:
    """Return the one-vs-all logistic loss, summed over own units and examples.

    Local.

    Parameters
    ----------
    z_OB : float array (O, B)
        Logits of the units `first` and following.
    first : int
        Global index of the first of them.
    labels_B : int64 array (B,)
        Global index of the right unit of each example, the only one whose target is 1.

    Returns
    -------
    float
        NaN when a logit is NaN.

    Notes
    -----
    Per unit and example max(z, 0) - z t + log(1 + exp(-|z|)); source: the paper, section 5.
    """
    total = 0.0
    for o in prange(z_OB.shape[0]):
        total += _logistic_row_loss(z_OB, o, first + np.int64(o), labels_B)
    return total


@parallel_kernel
def logistic_delta(z_OB: _Array, first: int, labels_B: _Array, scale: float, db_O: _Array) -> float:
    """Overwrite logits with the derivatives of the logistic loss, db with their sums; return the loss.

    Local.

    Parameters
    ----------
    z_OB : float array (O, B)
        In: logits of the units `first` and following. Out: scale (sigmoid(z) - t).
    first, labels_B
        As in `logistic_loss`.
    scale : float
        Factor of the derivatives, as a rule 1/B; not of the loss.
    db_O : float array (O,)
        Out: gradient of the bias.

    Returns
    -------
    float
        As of `logistic_loss`.
    """
    total, factor = 0.0, z_OB.dtype.type(scale)
    for o in prange(z_OB.shape[0]):
        total += _logistic_row_loss(z_OB, o, first + np.int64(o), labels_B)
        db_O[o] = _logistic_delta(z_OB[o], first + np.int64(o), labels_B, factor)
    return total


@helper
def _multilabel_loss(z_B: _Array, t_B: _Array) -> float:
    # as `_logistic_loss`
    linear, product, zero = z_B.dtype.type(0), 1.0, z_B.dtype.type(0)
    for b in range(z_B.size):
        z = z_B[b]
        linear += (z if z > zero else zero) - z * t_B[b]
        product *= 1.0 + np.float64(exp(-abs(z)))
    return np.float64(linear) + math.log(product)


@inlined_helper
def _multilabel_delta(z_B: _Array, t_B: _Array, scale: float) -> float:
    zero, one = z_B.dtype.type(0), z_B.dtype.type(1)
    total = zero
    for b in range(z_B.size):
        z = z_B[b]
        e = exp(-abs(z))
        dz = ((e if z < zero else one) / (one + e) - t_B[b]) * scale
        z_B[b] = dz
        total += dz
    return total


@helper
def _multilabel_row_loss(z_OB: _Array, o: int, t_OB: _Array) -> float:
    total = 0.0
    for start in range(0, z_OB.shape[1], _FACTORS):
        stop = start + _FACTORS
        total += _multilabel_loss(z_OB[o, start:stop], t_OB[o, start:stop])
    return total


@parallel_kernel
def multilabel_loss(z_OB: _Array, t_OB: _Array) -> float:
    """Return the one-vs-all logistic loss of targets of which several may be 1, summed.

    Local.

    Parameters
    ----------
    z_OB : float array (O, B)
        Logits.
    t_OB : float array (O, B)
        Targets of 0 and 1, of the dtype of the logits.

    Returns
    -------
    float
        Summed over units and examples. NaN when a logit is NaN.

    Notes
    -----
    Per unit and example max(z, 0) - z t + log(1 + exp(-|z|)), as of `logistic_loss`.
    """
    total = 0.0
    for o in prange(z_OB.shape[0]):
        total += _multilabel_row_loss(z_OB, o, t_OB)
    return total


@parallel_kernel
def multilabel_delta(z_OB: _Array, t_OB: _Array, scale: float, db_O: _Array) -> float:
    """Overwrite logits with the derivatives of `multilabel_loss`, db with their sums; return the loss.

    Local.

    Parameters
    ----------
    z_OB : float array (O, B)
        In: logits. Out: scale (sigmoid(z) - t).
    t_OB : float array (O, B)
        Targets, as there.
    scale : float
        Factor of the derivatives, as a rule 1/B; not of the loss.
    db_O : float array (O,)
        Out: gradient of the bias.

    Returns
    -------
    float
        As of `multilabel_loss`.
    """
    total, factor = 0.0, z_OB.dtype.type(scale)
    for o in prange(z_OB.shape[0]):
        total += _multilabel_row_loss(z_OB, o, t_OB)
        db_O[o] = _multilabel_delta(z_OB[o], t_OB[o], factor)
    return total


@kernel
def logistic_losses(z_OB: _Array, t_OB: _Array, losses_B: _Array) -> None:
    """Find the one-vs-all logistic loss of each example, summed over own units.

    Local.

    Parameters
    ----------
    z_OB, t_OB : float array (O, B)
        As of `multilabel_loss`.
    losses_B : float64 array (B,)
        Out.
    """
    product_B, zero = np.ones(losses_B.size), z_OB.dtype.type(0)
    losses_B[:] = 0.0
    for o in range(z_OB.shape[0]):
        for b in range(losses_B.size):
            z = z_OB[o, b]
            losses_B[b] += (z if z > zero else zero) - z * t_OB[o, b]
            product_B[b] *= 1.0 + np.float64(exp(-abs(z)))
        if o % _FACTORS == _FACTORS - 1:
            for b in range(losses_B.size):
                losses_B[b] += math.log(product_B[b])
                product_B[b] = 1.0
    for b in range(losses_B.size):
        losses_B[b] += math.log(product_B[b])


@parallel_kernel
def weigh(dz_OB: _Array, weights_B: _Array, db_O: _Array) -> None:
    """Multiply the derivatives of each example by its weight, and sum them anew.

    Local.

    Parameters
    ----------
    dz_OB : float array (O, B)
        In and out: derivatives of the loss.
    weights_B : float array (B,)
        Of the same dtype.
    db_O : float array (O,)
        Out: gradient of the bias.
    """
    for o in prange(dz_OB.shape[0]):
        total = dz_OB.dtype.type(0)
        for b in range(dz_OB.shape[1]):
            dz = dz_OB[o, b] * weights_B[b]
            dz_OB[o, b] = dz
            total += dz
        db_O[o] = total


@parallel_kernel
def squared_loss(y_OB: _Array, t_OB: _Array) -> float:
    """Return half the sum of (y - t)^2.

    Local.

    Parameters
    ----------
    y_OB, t_OB : float array (O, B)
        Outputs and targets.

    Returns
    -------
    float
        Summed over units and examples.
    """
    total = 0.0
    for o in prange(y_OB.shape[0]):
        for b in range(y_OB.shape[1]):
            error = np.float64(y_OB[o, b] - t_OB[o, b])
            total += error * error
    return 0.5 * total


@parallel_kernel
def squared_delta(y_OB: _Array, t_OB: _Array, scale: float, db_O: _Array) -> float:
    """Overwrite outputs with scale (y - t), db with the sums of that; return half the sum of (y - t)^2.

    Local.

    Parameters
    ----------
    y_OB : float array (O, B)
        In: outputs. Out: derivatives.
    t_OB : float array (O, B)
        Targets.
    scale : float
        Factor of the derivatives, as a rule 1/B; not of the loss.
    db_O : float array (O,)
        Out: gradient of the bias, when the layer's activation is the identity.

    Returns
    -------
    float
        As of `squared_loss`.
    """
    loss, factor = 0.0, y_OB.dtype.type(scale)
    for o in prange(y_OB.shape[0]):
        total = y_OB.dtype.type(0)
        for b in range(y_OB.shape[1]):
            error = y_OB[o, b] - t_OB[o, b]
            loss += np.float64(error) * np.float64(error)
            y_OB[o, b] = error * factor
            total += error * factor
        db_O[o] = total
    return 0.5 * loss


@parallel_kernel
def squared_labels_loss(y_OB: _Array, first: int, labels_B: _Array) -> float:
    """Return half the sum of (y - t)^2, t being 1 at the unit that the label names and 0 elsewhere.

    Local.

    Parameters
    ----------
    y_OB : float array (O, B)
        Outputs of the units `first` and following.
    first : int
        Global index of the first of them.
    labels_B : int64 array (B,)
        Global index of the right unit of each example.

    Returns
    -------
    float
        Summed over units and examples.
    """
    total, zero, one = 0.0, y_OB.dtype.type(0), y_OB.dtype.type(1)
    for o in prange(y_OB.shape[0]):
        unit = first + np.int64(o)
        for b in range(y_OB.shape[1]):
            error = np.float64(y_OB[o, b] - (one if labels_B[b] == unit else zero))
            total += error * error
    return 0.5 * total


@parallel_kernel
def squared_labels_delta(y_OB: _Array, first: int, labels_B: _Array, scale: float, db_O: _Array) -> float:
    """Do as `squared_delta` with the targets of `squared_labels_loss`.

    Local.

    Parameters
    ----------
    y_OB : float array (O, B)
        In: outputs of the units `first` and following. Out: derivatives.
    first, labels_B
        As in `squared_labels_loss`.
    scale, db_O
        As in `squared_delta`.

    Returns
    -------
    float
        As of `squared_labels_loss`.
    """
    loss, factor, zero, one = 0.0, y_OB.dtype.type(scale), y_OB.dtype.type(0), y_OB.dtype.type(1)
    for o in prange(y_OB.shape[0]):
        total, unit = zero, first + np.int64(o)
        for b in range(y_OB.shape[1]):
            error = y_OB[o, b] - (one if labels_B[b] == unit else zero)
            loss += np.float64(error) * np.float64(error)
            y_OB[o, b] = error * factor
            total += error * factor
        db_O[o] = total
    return 0.5 * loss
