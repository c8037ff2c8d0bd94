"""Means and deviations of columns, from rows that come in parts. Pure.

Joined by the formula of Chan, Golub and LeVeque (1979), in float64. Letters: N rows, C columns.
"""

import numpy as np

from dbmpi.arrays import Array

EPSILON = float(np.finfo(np.float64).eps)


class Moments:
    """Adds up rows.

    Attributes
    ----------
    rows : int
    mean_C, squares_C : float64 array (C,)
        Mean, and the sum of squared distances from it; of one column before the first rows have come.
    """

    def __init__(self) -> None:
        self.rows, self.mean_C, self.squares_C = 0, np.zeros(1), np.zeros(1)

    def add(self, values_NC: Array) -> None:
        """Take in some rows, at least one."""
        new, before = len(values_NC), self.rows
        mean_C = values_NC.mean(axis=0, dtype=np.float64)
        away_C, rows = mean_C - self.mean_C, before + new
        squares_C = ((values_NC - mean_C) ** 2).sum(axis=0)
        self.squares_C = self.squares_C + squares_C + away_C**2 * before * new / rows
        self.mean_C, self.rows = self.mean_C + away_C * (new / rows), rows

    def together(self) -> "Moments":
        """Return the moments of all columns as if they were one."""
        whole = Moments()
        whole.rows = self.rows * len(self.mean_C)
        whole.mean_C = self.mean_C.mean(keepdims=True)
        away_C = self.mean_C - whole.mean_C
        whole.squares_C = np.sum(self.squares_C + self.rows * away_C**2, keepdims=True)
        return whole

    @property
    def deviation_C(self) -> Array:
        """The standard deviations; 1 for a column whose values differ by rounding alone, or not at all."""
        variance_C = self.squares_C / max(self.rows, 1)
        # Of a column of equal values, the mean's own rounding is what is left.
        rounding_C = (self.rows * EPSILON * self.mean_C) ** 2 + self.rows * EPSILON * variance_C
        return np.where(variance_C <= rounding_C, 1.0, np.sqrt(variance_C))
