"""Targets as others store them: labels as integers or texts, one-hot, members of several classes, numbers."""

from dataclasses import dataclass, field

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.sanity import LARGEST
from dbmpi.errors import UserError
from dbmpi.prepare.columns import LARGEST_WHOLE
from dbmpi.prepare.labels import Codes
from dbmpi.prepare.source import smallest_dtype
from dbmpi.prepare.target_columns import MOST_CLASSES
from dbmpi.text import show

BEYOND = f"is not finite, or beyond {LARGEST:g}"
CLASSES, ONE_HOT, MEMBERS, NUMBERS = TASKS = ("classes", "one-hot", "members", "numbers")


def task_of(some: Array, doubles: bool = False) -> str:
    """Return what targets (B,) or (B, T) are, by some of them.

    Texts, bools and integers (B,) are classes; floats are numbers; 0 and 1 alone in (B, T) are one-hot where
    each row has a single 1, else members. Where all numbers are `doubles`, as in MATLAB, whole ones of few
    values are classes too.
    """
    width = int(np.prod(some.shape[1:], dtype=int))
    if doubles and width == 1 and some.dtype.kind == "f" and _are_few_and_whole(some):
        return CLASSES
    if width == 1 or some.dtype.kind in "USO":
        return NUMBERS if some.dtype.kind == "f" else CLASSES
    if np.isin(some, (0, 1)).all():
        return ONE_HOT if (some.sum(axis=1) == 1).all() else MEMBERS
    return NUMBERS


def _are_few_and_whole(some: Array) -> bool:
    found = np.unique(some)
    return len(found) <= MOST_CLASSES and bool((found % 1 == 0).all())


def check_rows(holds: Array, values: Array, where: str, first: int, problem: str) -> None:
    """Raise UserError with the first of some values (B, ...) that does not hold; `first` is their row."""
    if holds.all():
        return
    row, *place = np.argwhere(~holds)[0].tolist()
    column = f", column {', '.join(map(str, place))}" if values[0].size > 1 and place else ""
    value = values[(row, *place)].tolist()
    shown = show(value.decode(errors="replace") if isinstance(value, bytes) else value)
    raise UserError(f"{where}: row {first + row}{column}: {shown} {problem}")


def _name(value: object, where: str) -> str:
    """Return the name of a class. Raises UserError where it is no text."""
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: holds {value!r}, which is no UTF-8; write it as UTF-8") from error


@dataclass
class Targets:
    """Turns targets into what is stored.

    Attributes
    ----------
    task
        One of `TASKS`.
    width
        Targets of an example.
    codes
        Of the classes that came so far.
    """

    task: str
    width: int
    codes: Codes = field(default_factory=Codes)

    @property
    def stored(self) -> tuple[type, tuple[int, ...]]:
        """Type and shape of the targets of an example, in a record."""
        if self.task in (CLASSES, ONE_HOT):
            return np.int32, ()
        return (np.uint8 if self.task == MEMBERS else np.float32), () if self.width == 1 else (self.width,)

    def encode(self, y: Array, where: str, first: int) -> Array:
        """Return targets (B,) or (B, T) as they are stored.

        Raises UserError, which names the place by `where` they lie and the number of the `first` row.
        """
        y = y.reshape(len(y), self.width)
        if self.task == CLASSES:
            return self._classes(y, where, first)
        if y.dtype.kind in "US":
            self._check(np.zeros(y.shape, bool), y, where, first, "is a text")
        if self.task == NUMBERS:
            y = y.astype(np.float64)
            self._check(np.abs(y) <= LARGEST, y, where, first, BEYOND)
            return y.astype(np.float32).reshape(len(y), *self.stored[1])
        self._check((y == 0) | (y == 1), y, where, first, "is not 0 or 1")
        if self.task == MEMBERS:
            return y.astype(np.uint8).reshape(len(y), *self.stored[1])
        sums = y.sum(axis=1, dtype=np.int64)
        self._check(sums == 1, sums, where, first, "is the sum of the row, not 1")
        return y.argmax(axis=1).astype(np.int32)

    def _classes(self, y: Array, where: str, first: int) -> Array:
        self._check(np.full(len(y), self.width == 1), y, where, first, "are several, not one class")
        y = y[:, 0]
        if y.dtype.kind == "f":
            whole = (y == np.rint(y)) & (np.abs(y) <= LARGEST_WHOLE)
            self._check(whole, y, where, first, "is no whole number")
            y = y.astype(np.int64)
        elif y.dtype.kind in "US":
            self._check(y != y.dtype.type(), y, where, first, "is an empty text")
        values, inverse = np.unique(y, return_inverse=True)
        names = [_name(one, where) for one in values.tolist()]
        return np.array([self.codes[name] for name in names], np.int32)[inverse]

    def _check(self, holds: Array, y: Array, where: str, first: int, problem: str) -> None:
        remedy = "mend it, or say what the targets are with --task"
        check_rows(holds, y, where, first, f"{problem}, as --task {self.task} has it; {remedy}")

    def named(self) -> tuple[tuple[str, ...] | None, Array | None]:
        """Return the names of the classes, and the label of each code; None for what has none."""
        return self.codes.ordered() if self.task == CLASSES else (None, None)

    def dtype(self) -> np.dtype:
        """Return the type in the data file."""
        if self.task == CLASSES:
            return smallest_dtype(len(self.codes))
        return smallest_dtype(self.width) if self.task == ONE_HOT else np.dtype(self.stored[0])
