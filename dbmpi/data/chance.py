"""The loss of chance: that of the best answer which is the same for every example.

A network whose output does not depend on its input can learn no more than that, by the biases of its last
layer. It follows from the labels or targets alone. Letters: N examples, T targets.
"""

import numpy as np

from dbmpi.arrays import Array

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
        if self._counts is None or not self._counts.sum():
            return {}
        p = self._counts / self._counts.sum()
        entropy = _times_log(p).sum()
        return {
            "softmax": float(entropy),
            "logistic": float(entropy + _times_log(1 - p).sum()),
            "squared": float(0.5 * (p * (1 - p)).sum()),
        }


class TargetChance:
    """Adds up float targets: their means, and the squared distances from these."""

    seen = np.zeros(0, np.int64)  # no labels

    def __init__(self) -> None:
        self._rows, self._mean_T, self._squares = 0, np.zeros(1), 0.0

    def add(self, targets_NT: Array) -> None:
        """Take in some targets, joined to those before by the formula of Chan, Golub and LeVeque (1979)."""
        new, before = len(targets_NT), self._rows
        mean_T = targets_NT.mean(axis=0, dtype=np.float64)
        away_T, rows = mean_T - self._mean_T, before + new
        self._squares += float(((targets_NT - mean_T) ** 2).sum())
        self._squares += float((away_T**2).sum()) * before * new / rows
        self._mean_T, self._rows = self._mean_T + away_T * (new / rows), rows

    def losses(self) -> dict[str, float]:
        """Return the loss of chance: for squared, half the sum of the variances."""
        return {"squared": 0.5 * self._squares / self._rows} if self._rows else {}


def _times_log(p: Array) -> Array:
    """Return -p log p, which is 0 at 0."""
    return np.asarray(-p * np.log(np.where(p > 0, p, 1.0)))
