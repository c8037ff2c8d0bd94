"""The rows that a model is asked about, in blocks: of a split of a data file, or of arrays in memory. Local.

Shape letters: N rows of a block, I inputs, T targets.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol, TypeAlias

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.format import Format
from dbmpi.data.sanity import LARGEST, check_values, row_of
from dbmpi.data.split import Split
from dbmpi.errors import UserError
from dbmpi.layout.boxes import Box, Range, extents, whole
from dbmpi.trained.model import TrainedModel

Block: TypeAlias = tuple[Array, Array | None]  # inputs (N, *extents of a window), and labels or targets
Load: TypeAlias = Callable[[], Block]


class Rows(Protocol):
    """Rows that are read in order, some at a time.

    Attributes
    ----------
    total
        How many there are; None where that is known at their end.
    """

    @property
    def total(self) -> int | None:
        """How many rows there are."""

    def blocks(self, most: int) -> Iterator[Load]:
        """Yield what reads each block, of at most so many rows where blocks can be chosen; UserError."""


class SplitRows:
    """The rows of a split of a data file.

    Parameters
    ----------
    split
        Opened for the window of a partition.
    form
        What the model takes.
    targets
        Whether labels or targets are read too.
    """

    def __init__(self, split: Split, form: Format, targets: bool) -> None:
        self._split, self._form, self._targets = split, form, targets

    @property
    def total(self) -> int:
        """See `Rows.total`."""
        return self._split.rows

    def blocks(self, most: int) -> Iterator[Load]:
        """See `Rows.blocks`."""
        for start in range(0, self.total, most):
            yield partial(self._read, (start, min(start + most, self.total)))

    def _read(self, rows: Range) -> Block:
        split = self._split
        x = as_stored(split.read([rows]), self._form, rows, split.where("x"))
        return x, split.labels_or_targets([rows]) if self._targets else None


class ArrayRows:
    """Rows in memory.

    Parameters
    ----------
    x : array (N, *shape of an example), or (N, I)
        As the model's data file has them: numbers of any type.
    trained
        What takes them.
    y : int64 array (N,), or array (N, T), optional
        Labels or targets, as stored.
    window
        Which part of an example is wanted, of the network's input.
    where
        What messages call them.
    """

    def __init__(
        self,
        x: Array,
        trained: TrainedModel,
        window: Box,
        y: Array | None = None,
        where: str = "the inputs",
    ) -> None:
        self._x, self._y, self._trained, self._window, self._where = x, y, trained, window, where
        check_shape(x.shape, trained.stored_shape, where)

    @property
    def total(self) -> int:
        """See `Rows.total`."""
        return len(self._x)

    def blocks(self, most: int) -> Iterator[Load]:
        """See `Rows.blocks`."""
        for start in range(0, self.total, most):
            yield partial(self._read, (start, min(start + most, self.total)))

    def _read(self, rows: Range) -> Block:
        x = checked(self._x[slice(*rows)], self._trained.format, rows, self._where)
        return cut(x, self._trained, self._window), None if self._y is None else self._y[slice(*rows)]


def checked(x: Array, form: Format, rows: Range, where: str) -> Array:
    """Return whole examples in the type that the model takes. Raises UserError, also for what is not finite.

    Parameters
    ----------
    x : array (N, ...)
    rows, where
        Which ones these are, and of what.
    """
    if x.dtype.kind not in "biuf":
        raise UserError(f"{where}: has type {x.dtype}, but the model reads numbers; give an array of them")
    flat_NI = x.reshape(len(x), -1)
    scale, offset = (np.abs(one) for one in form.of_inputs)
    check_values(
        flat_NI, (LARGEST - offset) / scale, [rows], where, whole(flat_NI.shape[1:]), flat_NI.shape[1:]
    )
    return as_stored(x, form, rows, where)


def as_stored(x: Array, form: Format, rows: Range, where: str) -> Array:
    """Return finite values in the type of the data that the model has learned from.

    Raises
    ------
    UserError
        That is a byte, and one is none: they may be on another scale.
    """
    if form.input_dtype != "uint8" or x.dtype == np.uint8:
        return x.astype(form.input_dtype, copy=False)
    bytes_N = (x >= 0) & (x <= 255) & (x == np.floor(x)) if x.dtype.kind == "f" else (x >= 0) & (x <= 255)
    if not bytes_N.all():
        at = tuple(int(one) for one in np.argwhere(~bytes_N)[0])
        raise UserError(
            f"{where}: row {row_of([rows], at[0])} holds {x[at]}, but the model has learned from whole "
            "numbers from 0 to 255 (uint8): give it such as they were then"
        )
    return x.astype(np.uint8)


def cut(x: Array, trained: TrainedModel, window: Box) -> Array:
    """Return the part of examples, as stored, that a partition reads: `(N, *extents(window))`, C-ordered."""
    shape = tuple(trained.format.input_shape)
    if trained.channels_first:
        x = x.reshape(len(x), *trained.stored_shape).transpose(0, 2, 3, 1)
    inner = shape if len(shape) == 1 else (*shape, 1)[:3]
    part = x.reshape(len(x), *inner)[(slice(None), *(slice(*edges) for edges in window))]
    return np.ascontiguousarray(part).reshape(len(x), *extents(window))


def check_shape(shape: tuple[int, ...], wanted: tuple[int, ...], where: str) -> None:
    """Raise UserError unless arrays of such a shape are examples of a shape, as they are or flattened."""
    flat = (int(np.prod(wanted)),)
    if shape[1:] not in (wanted, flat, (*wanted, 1)) or not shape:
        other = "" if len(wanted) == 1 else f" or (N, {flat[0]})"
        raise UserError(
            f"{where}: has shape {shape}, but the model reads (N, {', '.join(map(str, wanted))}){other}"
        )
