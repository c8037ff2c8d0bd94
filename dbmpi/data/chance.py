"""The loss of chance: that of the best answer which is the same for every example.

A network whose output does not depend on its input can learn no more than that, by the biases of its last
layer. It follows from the labels or targets alone. Letters: N examples, T targets.
"""

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.moments import Moments

FEW_VALUES = 20  # so many different whole numbers may be classes
SOME = 1000  # rows that are looked at before all are
MOST_TOLD = 1 << 16  # classes whose counts every rank is told
MOST_CLASSES = 1 << 22  # labels beyond are not counted, and chance is not known


class LabelChance:
    """Counts labels."""

    def __init__(self) -> None:
        self._counts: Array | None = np.zeros(0, np.int64)
        self._seen = np.zeros(0, np.int64)  # where they are not counted

    @property
    def seen(self) -> Array:
        """The different labels, in order: int64."""
        return self._seen if self._counts is None else np.flatnonzero(self._counts)

    def add(self, labels_N: Array) -> None:
        """Take in some labels, of 0 or more."""
        if self._counts is None or labels_N.max(initial=0) >= MOST_CLASSES:
            self._seen, self._counts = np.union1d(self.seen, labels_N), None
            return
        counts = np.bincount(labels_N, minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

    def losses(self) -> dict[str, float]:
        """Return the loss of chance by the name of the loss; nothing where it is not known.

        Notes
        -----
        With p_k the share of class k: sum of -p_k log p_k for softmax; of that and of -(1 - p_k) log(1 - p_k)
        for logistic; half the sum of p_k (1 - p_k) for squared.
        """
        return {} if self._counts is None else losses_of(self._counts)

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each class from 0 on; nothing where they are not counted, or too many to tell."""
        few = self._counts is not None and len(self._counts) <= MOST_TOLD
        return tuple(self._counts.tolist()) if few and self._counts is not None else ()


def losses_of(counts_K: Array) -> dict[str, float]:
    """Return the loss of chance, by the name of the loss, of classes with so many rows, or so much weight."""
    if not counts_K.sum():
        return {}
    p = counts_K / counts_K.sum()
    entropy = _times_log(p).sum()
    return {
        "softmax": float(entropy),
        "logistic": float(entropy + _times_log(1 - p).sum()),
        "squared": float(0.5 * (p * (1 - p)).sum()),
    }


class BinaryChance:
    """Counts which of several labels are right."""

    def __init__(self) -> None:
        self._rows, self._ones_T = 0, np.zeros(1, np.int64)

    def add(self, targets_NT: Array) -> None:
        """Take in some targets, of 0 and 1."""
        self._rows, self._ones_T = self._rows + len(targets_NT), self._ones_T + targets_NT.sum(axis=0)

    def losses(self) -> dict[str, float]:
        """Return the loss of chance: those of `LabelChance`, p_k being the share of rows with label k."""
        if not self._rows:
            return {}
        p = self._ones_T / self._rows
        logistic = (_times_log(p) + _times_log(1 - p)).sum()
        return {"logistic": float(logistic), "squared": float(0.5 * (p * (1 - p)).sum())}


class TargetChance:
    """Adds up float targets.

    Attributes
    ----------
    moments
        Of all that were taken in.
    few
        The different values, if they are whole numbers and few; else None.
    """

    def __init__(self) -> None:
        self.moments = Moments()
        self.few: set[float] | None = set()

    def add(self, targets_NT: Array) -> None:
        """Take in some targets."""
        self.moments.add(targets_NT)
        if self.few is None:
            return
        whole = all((some == np.floor(some)).all() for some in (targets_NT[:SOME], targets_NT))
        self.few = self.few | set(np.unique(targets_NT).tolist()) if whole else None
        if self.few is not None and len(self.few) > FEW_VALUES:
            self.few = None

    def losses(self) -> dict[str, float]:
        """Return the loss of chance: for squared, half the sum of the variances."""
        rows = self.moments.rows
        return {"squared": 0.5 * float(self.moments.squares_C.sum()) / rows} if rows else {}


def _times_log(p: Array) -> Array:
    """Return -p log p, which is 0 at 0."""
    return np.asarray(-p * np.log(np.where(p > 0, p, 1.0)))
