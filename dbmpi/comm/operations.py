"""Programs of vector operations: what the coordinator asks of every shard in one round trip. Pure.

A vector of the optimizer is as long as the model, and each shard holds its slice of it; it has a number here.
A program is a short list of operations that every shard performs on its slice, in order; its dot products
come back as scalars, one partial sum a shard. Nothing else leaves a shard (Dean et al. 2012, section 4.2).
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.comm.protocol import OPERATION

Term = tuple[float, int]  # factor, vector

# The vectors that every method has; the pairs of the history follow.
PARAMETERS = 0  # what replicas fetch
GRADIENT = 1  # where their pushes add up
BASE = 2  # the parameters that the iteration began with, x_k
BASE_GRADIENT = 3  # the gradient there
DIRECTION = 4  # p_k
_FIRST_PAIR = 5


def step(pair: int) -> int:
    """Return the vector s of a pair of the history: a step of the parameters, x_(k+1) - x_k."""
    return _FIRST_PAIR + 2 * pair


def change(pair: int) -> int:
    """Return the vector y of a pair of the history: the gradient's change along that step."""
    return _FIRST_PAIR + 2 * pair + 1


def count(history: int) -> int:
    """Return the number of vectors, with `history` pairs."""
    return _FIRST_PAIR + 2 * history


class Kind(IntEnum):
    """What one operation does; the fields of `protocol.OPERATION` that it reads are in brackets."""

    COMBINE = 0  # out := sum of factor * left over the records of one group [group, out, left, factor]
    MULTIPLY = 1  # out := left * right, coefficient by coefficient [out, left, right]
    DOT = 2  # a scalar of the answer: left . right, in float64 [left, right]
    COMMIT = (
        3  # left := PARAMETERS - BASE, right := GRADIENT - BASE_GRADIENT, and both bases follow [left, right]
    )
    OPEN = 4  # GRADIENT := 0, and from now on it takes pushes of pass `number` over the batch alone [number]


class Program:
    """Operations, in the order in which each shard performs them."""

    def __init__(self) -> None:
        self._operations: list[tuple[int, int, int, int, int, float, int]] = []
        self._groups = self.scalars = 0
        self.written: set[int] = set()  # vectors, but for GRADIENT

    @property
    def records(self) -> NDArray[Any]:
        """The `OPERATION` records, `(n,)`."""
        return np.array(self._operations, OPERATION)

    def combine(self, out: int, terms: Sequence[Term]) -> "Program":
        """Set `out` to a linear combination of vectors, of which it may be one."""
        self._groups += 1
        self.written.add(out)
        for factor, vector in terms:
            self._add(Kind.COMBINE, out, vector, factor=factor)
        return self

    def scale(self, out: int, factor: float) -> "Program":
        """Multiply a vector by a number."""
        return self.combine(out, [(factor, out)])

    def copy(self, out: int, vector: int) -> "Program":
        """Copy a vector."""
        return self.combine(out, [(1.0, vector)])

    def add(self, out: int, left: int, right: int) -> "Program":
        """Set `out` to the sum of two vectors."""
        return self.combine(out, [(1.0, left), (1.0, right)])

    def multiply(self, out: int, left: int, right: int) -> "Program":
        """Set `out` to the product of two vectors, coefficient by coefficient."""
        self.written.add(out)
        return self._add(Kind.MULTIPLY, out, left, right)

    def dots(self, pairs: Iterable[tuple[int, int]]) -> "Program":
        """Answer the dot products of pairs of vectors, as they are at this point of the program."""
        for left, right in pairs:
            self._add(Kind.DOT, 0, left, right)
            self.scalars += 1
        return self

    def commit(self, pair: int) -> "Program":
        """Put the step from BASE to PARAMETERS, and the gradient's change, into a pair; both bases follow."""
        self.written |= {BASE, BASE_GRADIENT, step(pair), change(pair)}
        return self._add(Kind.COMMIT, 0, step(pair), change(pair))

    def open(self, pass_number: int) -> "Program":
        """Clear GRADIENT, and let it take the pushes of a pass over the batch."""
        return self._add(Kind.OPEN, 0, number=pass_number)

    def _add(
        self, kind: Kind, out: int, left: int = 0, right: int = 0, factor: float = 0.0, number: int = 0
    ) -> "Program":
        self._operations.append((kind, self._groups, out, left, right, factor, number))
        return self
