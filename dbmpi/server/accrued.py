"""Pushes of one piece that wait for the others of their step (`downpour.average`). Without MPI."""

import numpy as np

from dbmpi.arrays import Array
from dbmpi.server.magnitudes import largest
from kernels.parameters import rules


class Accrued:
    """The sum of the last pushes, for which no step has been made yet.

    Attributes
    ----------
    pushes
        How many there are.
    norm
        At least the largest magnitude in the sum.
    rate
        Learning rate that came with the last: that of the step.
    """

    def __init__(self) -> None:
        self._sum: Array | None = None
        self.pushes, self.norm, self.rate = 0, 0.0, 0.0

    def add(self, gradient: Array, norm: float, rate: float) -> bool:
        """Add a gradient of no magnitude above `norm`, unless the sum were too large; return whether."""
        if not self.norm + norm <= largest(gradient.dtype):
            return False
        if self._sum is None:
            self._sum = np.zeros_like(gradient)
        rules.add_scaled(self._sum, 1.0, gradient)
        self.pushes, self.norm, self.rate = self.pushes + 1, self.norm + norm, rate
        return True

    def take(self, average: int) -> Array:
        """Return the sum over `average`, `(n,)`, which is the caller's until the next `clear`."""
        assert self._sum is not None
        self._sum *= 1 / average
        self.norm /= average
        return self._sum

    def clear(self) -> None:
        """Begin again with no push."""
        if self._sum is not None:
            self._sum[...] = 0
        self.pushes, self.norm = 0, 0.0
