"""Softmax cross-entropy over an output layer that may be split among partitions, and the argmax.

A partition holds units `[first, first + O)` of the layer. Each fills a block of four figures for each
example, (4, B); the blocks are gathered, (P, 4, B), and merged, and each partition then finds its own
derivatives: one small exchange. Letters: z logits, O units of the partition, B minibatch, P partitions.
"""

import math

import numpy as np

from kernels.deferred import prange
from kernels.elementary import exp
from kernels.jit import helper, kernel, parallel_kernel

_Array = np.ndarray
MAX, SUM, TARGET, ARGMAX = 0, 1, 2, 3  # rows of a block of figures

_UNITS = 64  # whose exponentials are summed in the precision of the logits before they join the float64 sum


@helper
def _fill_argmax(z_OB: _Array, first: int, stats_4B: _Array) -> None:
    # arrays of their own: LLVM does not vectorize over two rows of one array, which it must think may overlap
    most_B = np.full(z_OB.shape[1], -math.inf, z_OB.dtype)
    argmax_B = np.full(z_OB.shape[1], -1, np.int32)
    for o in range(z_OB.shape[0]):
        for b in range(z_OB.shape[1]):
            z, most = z_OB[o, b], most_B[b]
            most_B[b] = z if z > most else most
            argmax_B[b] = o if z > most else argmax_B[b]
    for b in range(z_OB.shape[1]):
        stats_4B[MAX, b], stats_4B[SUM, b], stats_4B[TARGET, b] = most_B[b], 0.0, 0.0
        stats_4B[ARGMAX, b] = first + argmax_B[b] if argmax_B[b] >= 0 else -1


@helper
def _fill_sums(z_OB: _Array, stats_4B: _Array) -> None:
    most_B = stats_4B[MAX].astype(z_OB.dtype)
    part_B = np.zeros(z_OB.shape[1], z_OB.dtype)  # of a few units at a time, which keeps rounding small
    for start in range(0, z_OB.shape[0], _UNITS):
        part_B[:] = z_OB.dtype.type(0)
        for o in range(start, min(start + _UNITS, z_OB.shape[0])):
            for b in range(z_OB.shape[1]):
                part_B[b] += exp(z_OB[o, b] - most_B[b])
        for b in range(z_OB.shape[1]):
            stats_4B[SUM, b] += part_B[b]


@kernel
def argmax_stats(z_OB: _Array, first: int, stats_4B: _Array) -> None:
    """Fill the rows max and argmax of a block of figures, with 0 in the other two.

    Local.

    Parameters
    ----------
    z_OB : float array (O, B)
        Outputs of the units `first` and following; O may be 0.
    first : int
        Global index of the first of them.
    stats_4B : float64 array (4, B)
        Out: as in `softmax_stats`.
    """
    _fill_argmax(z_OB, first, stats_4B)


@kernel
def softmax_stats(z_OB: _Array, first: int, labels_B: _Array, stats_4B: _Array) -> None:
    """Fill a block of figures from which the softmax of the whole layer can be merged.

    Local.

    Parameters
    ----------
    z_OB : float array (O, B)
        Logits of the units `first` and following; O may be 0.
    first : int
        Global index of the first of them.
    labels_B : int64 array (B,)
        Global index of the right unit of each example.
    stats_4B : float64 array (4, B)
        Out, per example: the largest logit here; the sum of exp(z - largest); the target's logit, or 0 when
        its unit is elsewhere; the global index of the largest (the lowest of equals). Without units:
        -infinity, 0, 0, -1. A NaN among the logits makes the sum NaN.
    """
    _fill_argmax(z_OB, first, stats_4B)
    _fill_sums(z_OB, stats_4B)
    for b in range(z_OB.shape[1]):
        target = labels_B[b] - first
        if 0 <= target < z_OB.shape[0]:
            stats_4B[TARGET, b] = z_OB[target, b]


@kernel
def merge_stats(stats_P4B: _Array, merged_4B: _Array) -> None:
    """Merge the blocks of all partitions, in order, into the figures of the whole layer.

    Local.

    Parameters
    ----------
    stats_P4B : float64 array (P, 4, B)
        Blocks of `softmax_stats` or `argmax_stats`, by ascending units.
    merged_4B : float64 array (4, B)
        Out: the largest logit M; the sum of exp(z - M); the target's logit;
        the argmax (the lowest of equals).

    Notes
    -----
    The loss of an example is M + log(sum) - target.
    """
    for b in range(merged_4B.shape[1]):
        most, argmax = -math.inf, -1.0
        for p in range(stats_P4B.shape[0]):
            if stats_P4B[p, MAX, b] > most:
                most, argmax = stats_P4B[p, MAX, b], stats_P4B[p, ARGMAX, b]
        total = target = 0.0
        for p in range(stats_P4B.shape[0]):
            largest = stats_P4B[p, MAX, b]
            # a block without units weighs 0, not NaN
            weight = 0.0 if largest == -math.inf else math.exp(largest - most)
            total += stats_P4B[p, SUM, b] * weight
            target += stats_P4B[p, TARGET, b]
        merged_4B[MAX, b], merged_4B[SUM, b] = most, total
        merged_4B[TARGET, b], merged_4B[ARGMAX, b] = target, argmax


@parallel_kernel
def softmax_delta(
    z_OB: _Array, first: int, labels_B: _Array, merged_4B: _Array, scale: float, db_O: _Array
) -> None:
    """Overwrite logits with the derivatives of the softmax cross-entropy, and db with their sums.

    Local.

    Parameters
    ----------
    z_OB : float array (O, B)
        In: logits of the units `first` and following. Out: scale (softmax(z) - onehot).
    first : int
        Global index of the first of them.
    labels_B : int64 array (B,)
        Global index of the right unit of each example.
    merged_4B : float64 array (4, B)
        Out of `merge_stats`.
    scale : float
        Factor, as a rule 1/B.
    db_O : float array (O,)
        Out: gradient of the bias.
    """
    real = z_OB.dtype.type
    most_B, share_B = merged_4B[MAX].astype(z_OB.dtype), (scale / merged_4B[SUM]).astype(z_OB.dtype)
    for o in prange(z_OB.shape[0]):
        total, unit = real(0), first + np.int64(o)
        for b in range(z_OB.shape[1]):
            hot = real(scale) if labels_B[b] == unit else real(0)
            dz = exp(z_OB[o, b] - most_B[b]) * share_B[b] - hot
            z_OB[o, b] = dz
            total += dz
        db_O[o] = total
