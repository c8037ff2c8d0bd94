"""What rows of a data file may hold: checked as they are read, for a file is never looked through beforehand.

One pass over floats for their extremes, which costs next to nothing beside reading them. Local.
"""

from collections.abc import Sequence

import numpy as np

from dbmpi.errors import UserError
from dbmpi.layout.boxes import Box, Range, segments
from dbmpi.text import several

# No input and no target may be larger: a float32 could not hold its square, nor a gradient that it causes.
LARGEST = 1e18
LARGEST_WEIGHT = 1e6


def check_labels(labels: np.ndarray, classes: int | None, ranges: Sequence[Range], where: str) -> None:
    """Refuse a label that no unit stands for: a kernel would read and write beyond its arrays.

    Parameters
    ----------
    labels : int64 array (N,)
    classes : int or None
        Labels are below this; None: not known yet.
    ranges : sequence of (start, stop)
        The rows that were read.
    where : str
        File and data set, for messages.

    Raises
    ------
    UserError
    """
    if not labels.size or (labels.min() >= 0 and (classes is None or labels.max() < classes)):
        return
    at = int(((labels < 0) | (labels >= (classes or np.inf))).argmax())
    start = f"{where} holds the label {labels[at]} in row {row_of(ranges, at)}"
    if labels[at] < 0 or classes is None:
        raise UserError(
            f"{start}; labels count from 0: number the classes 0, 1, 2, ... when you write the file"
        )
    raise UserError(
        f"{start}, but the last layer has {several(classes, 'unit')} (model.layers), for labels up to "
        f"{classes - 1}"
    )


def check_binary(targets_NT: np.ndarray, ranges: Sequence[Range], where: str) -> None:
    """Refuse a target of several labels that is neither 0 nor 1.

    Parameters
    ----------
    targets_NT : bool or int64 array (N, T)
    ranges, where
        As for `check_labels`.

    Raises
    ------
    UserError
    """
    if targets_NT.dtype == bool or not targets_NT.size or (targets_NT.min() >= 0 and targets_NT.max() <= 1):
        return
    at, column = (int(i) for i in np.argwhere((targets_NT != 0) & (targets_NT != 1))[0])
    raise UserError(
        f"{where} holds {targets_NT[at, column]} in row {row_of(ranges, at)}, column {column}: integers in "
        "several columns say which labels are right, 1, and which are not, 0; if they are amounts, store "
        "y.astype('float32')"
    )


def check_weights(weights_N: np.ndarray, ranges: Sequence[Range], where: str) -> None:
    """Refuse a weight of a row that is negative, not finite or too large.

    Parameters
    ----------
    weights_N : float64 array (N,)
    ranges, where
        As for `check_labels`.

    Raises
    ------
    UserError
    """
    right_N = (weights_N >= 0) & (weights_N <= LARGEST_WEIGHT)
    if not right_N.all():
        at = int(right_N.argmin())
        raise UserError(
            f"{where} (data.weights) holds {weights_N[at]} in row {row_of(ranges, at)}: a weight is a number "
            f"from 0 to {LARGEST_WEIGHT:g}"
        )


def check_values(
    values: np.ndarray,
    bound: float | np.ndarray,
    ranges: Sequence[Range],
    where: str,
    part: Box,
    shape: tuple[int, ...],
) -> None:
    """Refuse a float that is not finite, or too large to compute with.

    Parameters
    ----------
    values : array (N, I)
        As stored; integers pass.
    bound : float or float array (I,)
        Largest magnitude that is allowed, before scaling; one for all, or of each of the values.
    ranges, where
        As for `check_labels`.
    part : Box
        Which values of each row were read, for messages: a box of a row of such a `shape`.

    Raises
    ------
    UserError
    """
    # NaN comes through both extremes, and fails both comparisons.
    least = np.min(bound)
    if values.dtype.kind != "f" or not values.size or (values.min() >= -least and values.max() <= least):
        return
    odd = np.argwhere(~(np.abs(values) <= bound))
    if not len(odd):
        return
    at, position = (int(i) for i in odd[0])
    ((column, _),) = segments(part, shape, position, position + 1)
    value = values[at, position]
    remedy = "every value must be finite; replace or leave out such rows when you write the file"
    if np.isfinite(value):
        remedy = f"scaled, it is beyond {LARGEST:g}; store it in another unit, or lower the attribute scale"
    raise UserError(f"{where} holds {value} in row {row_of(ranges, at)}, column {column}: {remedy}")


def row_of(ranges: Sequence[Range], at: int) -> int:
    """Return the row of the file that was read as number `at` of the ranges."""
    return int(np.concatenate([np.arange(*one) for one in ranges])[at])
