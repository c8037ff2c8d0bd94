"""Means and standard deviations of columns, from rows that pass once."""

import numpy as np

from dbmpi.arrays import Array


class Moments:
    """Mean and standard deviation over rows, in float64, of each column or of all together.

    Notes
    -----
    Batches are joined by T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances", 1979: M = M_a + M_b + delta^2 n_a n_b / n.
    """

    def __init__(self, together: bool = False) -> None:
        self._together = together
        self._n, self._mean, self._squares = 0, np.zeros(()), np.zeros(())

    def add(self, rows: Array) -> None:
        """Take rows (B, ...) in."""
        flat = rows.reshape(-1, 1) if self._together else rows.reshape(len(rows), -1)
        n = len(flat)
        if not n:
            return
        mean = flat.mean(axis=0, dtype=np.float64)
        squares = np.square(flat - mean).sum(axis=0)
        delta, total = mean - self._mean, self._n + n
        self._squares = self._squares + squares + delta**2 * (self._n * n / total)
        self._mean = self._mean + delta * (n / total)
        self._n = total

    def scale_and_offset(self) -> tuple[Array, Array]:
        """Return what makes mean 0 and deviation 1 by `scale * x + offset`; a constant column gets mean 0."""
        deviation = np.sqrt(self._squares / max(1, self._n))
        constant = deviation <= 1e-7 * np.maximum(np.abs(self._mean), 1e-300)
        scale = 1 / np.where(constant, 1.0, deviation)
        return scale, -self._mean * scale
