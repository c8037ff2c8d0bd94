"""The optimizer's vectors as one shard holds them: its slice of each, and the operations on them.

Without MPI. `comm.operations` has the numbers of the vectors, and writes the programs that are run here;
sums over shards are the coordinator's.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Array
from dbmpi.comm.operations import BASE, BASE_GRADIENT, GRADIENT, PARAMETERS, Kind
from dbmpi.errors import ProtocolError
from kernels.parameters import linear, rules

Range = tuple[int, int]


class _Operation(NamedTuple):
    """One `protocol.OPERATION` record, field by field."""

    kind: int
    group: int
    out: int
    left: int
    right: int
    factor: float
    number: int


class Vectors:
    """A shard's slice of every vector.

    Parameters
    ----------
    values_VN : float array (V, N)
        The vectors as rows, C-contiguous; taken over, and changed in place. Others may view row PARAMETERS.
    ranges : sequence of (start, stop)
        The ranges in which gradients arrive, which tile [0, N).

    Attributes
    ----------
    pass_number : int
        The pass over the batch whose gradients GRADIENT takes; 0 for none, as before the first OPEN.
    """

    def __init__(self, values_VN: Array, ranges: Sequence[Range]) -> None:
        if not values_VN.flags.c_contiguous:
            raise ValueError("the matrix of vectors must be C-contiguous")
        ordered = sorted(ranges)
        if [0, *(stop for _, stop in ordered)] != [*(start for start, _ in ordered), values_VN.shape[1]]:
            raise ValueError(f"{ordered} does not tile a slice of {values_VN.shape[1]} elements")
        self.pass_number = 0
        self._values, self._ranges = values_VN, frozenset(ordered)
        self._untouched: set[Range] = set()  # of GRADIENT: these count as zero, whatever memory holds
        self._performers: dict[int, Callable[[list[_Operation]], Iterable[float]]] = {
            Kind.COMBINE: self._combine,
            Kind.MULTIPLY: self._multiply,
            Kind.DOT: self._dot,
            Kind.COMMIT: self._commit,
            Kind.OPEN: self._open,
        }

    def run(self, records: Array) -> NDArray[np.float64]:
        """Perform operations in order, and return this slice's share of the dot products.

        Parameters
        ----------
        records : OPERATION array (n,)
            `operations.Program.records`.

        Returns
        -------
        float64 array (scalars,)
            One for each DOT record.

        Raises
        ------
        ProtocolError
            An unknown kind or vector; then nothing was performed.
        """
        batches = _batches(records)
        touched = [self._touched(batch) for batch in batches]  # all are checked before any is performed
        scalars: list[float] = []
        for batch, vectors in zip(batches, touched, strict=True):
            if GRADIENT in vectors:
                self.settle()
            scalars.extend(self._performers[batch[0].kind](batch))
        return np.array(scalars, np.float64)

    def accrue(self, pass_number: int, start: int, stop: int, gradient: Array) -> bool:
        """Add a gradient to a range of GRADIENT, in the precision of the vectors.

        Parameters
        ----------
        pass_number : int
            The pass that it was computed for.
        start, stop : int
            One of the ranges of the beginning.
        gradient : float array (stop - start,)

        Returns
        -------
        bool
            Whether it was added; False if GRADIENT takes those of another pass, or none.

        Raises
        ------
        ProtocolError
            No such range, or a gradient of another size.
        """
        if pass_number != self.pass_number or pass_number == 0:
            return False
        if (start, stop) not in self._ranges or gradient.shape != (stop - start,):
            raise ProtocolError(f"a gradient of shape {gradient.shape} came for the range [{start}, {stop})")
        mine = self._values[GRADIENT, start:stop]
        if (start, stop) in self._untouched:  # so OPEN need not clear, nor this add to zero
            self._untouched.remove((start, stop))
            np.copyto(mine, gradient, casting="same_kind")
        else:
            rules.add_scaled(mine, 1.0, gradient.astype(mine.dtype, copy=False))
        return True

    def row(self, number: int) -> Array:
        """Return a vector's slice, not a copy."""
        if number == GRADIENT:
            self.settle()
        return self._values[number]

    def settle(self) -> None:
        """Clear what OPEN left for later: whoever views row GRADIENT calls this before reading."""
        for start, stop in self._untouched:
            self._values[GRADIENT, start:stop] = 0
        self._untouched.clear()

    def _touched(self, batch: list[_Operation]) -> set[int]:
        """Return the vectors that a batch reads or writes; raise ProtocolError unless all is in order."""
        vectors: set[int] = set()
        for operation in batch:
            vectors.update(_touched(operation))
        if vectors and not 0 <= min(vectors) <= max(vectors) < len(self._values):
            raise ProtocolError(f"{batch} names a vector that is not one of {len(self._values)}")
        if batch[0].kind == Kind.COMBINE and len({operation.out for operation in batch}) > 1:
            raise ProtocolError(f"{batch} has several vectors to write")
        return vectors

    def _combine(self, batch: list[_Operation]) -> Iterable[float]:
        factors = np.array([operation.factor for operation in batch])
        linear.combine(self._values, _numbers(batch, "left"), factors, batch[0].out)
        return ()

    def _multiply(self, batch: list[_Operation]) -> Iterable[float]:
        linear.multiply(self._values, batch[0].left, batch[0].right, batch[0].out)
        return ()

    def _dot(self, batch: list[_Operation]) -> Iterable[float]:
        partial = np.empty(len(batch))
        linear.dots(self._values, _numbers(batch, "left"), _numbers(batch, "right"), partial)
        return partial

    def _commit(self, batch: list[_Operation]) -> Iterable[float]:
        linear.commit(self._values, *_touched(batch[0]))
        return ()

    def _open(self, batch: list[_Operation]) -> Iterable[float]:
        self.pass_number = batch[0].number
        self._untouched = set(self._ranges)
        return ()


def _batches(records: Array) -> list[list[_Operation]]:
    """Return the operations, with the terms of a combination together, and DOTs in a row."""

    def key(item: tuple[int, _Operation]) -> tuple[int, int]:
        n, operation = item
        together: dict[int, int] = {Kind.COMBINE: operation.group, Kind.DOT: 0}
        return operation.kind, together.get(operation.kind, n)

    operations = enumerate(map(_Operation._make, records.tolist()))
    return [[operation for _, operation in batch] for _, batch in groupby(operations, key)]


def _touched(operation: _Operation) -> tuple[int, ...]:
    """Return the vectors that an operation reads or writes."""
    _, _, out, left, right, _, _ = operation
    if operation.kind == Kind.COMBINE:
        return out, left
    if operation.kind == Kind.MULTIPLY:
        return out, left, right
    if operation.kind == Kind.DOT:
        return left, right
    if operation.kind == Kind.COMMIT:
        return PARAMETERS, GRADIENT, BASE, BASE_GRADIENT, left, right
    if operation.kind == Kind.OPEN:
        return ()
    raise ProtocolError(f"{operation} is no operation of this version")


def _numbers(batch: list[_Operation], field: str) -> NDArray[np.int64]:
    return np.array([getattr(operation, field) for operation in batch], np.int64)
