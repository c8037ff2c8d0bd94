"""Targets as others store them: labels as integers or texts, one-hot, members of several classes, numbers."""

from dataclasses import dataclass, field

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare.columns import LARGEST
from dbmpi.prepare.labels import Codes
from dbmpi.prepare.source import smallest_dtype
from dbmpi.prepare.target_columns import MOST_CLASSES
from dbmpi.text import show

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

    def encode(self, y: Array, where: str) -> Array:
        """Return targets (B,) or (B, T) as they are stored. Raises UserError, with `where` as their place."""
        if self.task == CLASSES:
            return self._classes(y.reshape(len(y)), where)
        y = y.reshape(len(y), *self.stored[1]) if self.task != ONE_HOT else y
        if self.task in (ONE_HOT, MEMBERS):
            self._check(np.isin(y, (0, 1)).all(), where, "are not all 0 or 1")
        if self.task == ONE_HOT:
            self._check((y.sum(axis=1) == 1).all(), where, "have rows with another sum than 1")
            return y.argmax(axis=1).astype(np.int32)
        if self.task == NUMBERS:
            self._check(
                (np.abs(y.astype(np.float64)) <= LARGEST).all(),
                where,
                "are not all finite, as 32 bits hold them",
            )
        return y.astype(self.stored[0])

    def _classes(self, y: Array, where: str) -> Array:
        if y.dtype.kind == "f":
            self._check((y == np.rint(y)).all(), where, "are not all whole numbers")
            y = y.astype(np.int64)
        texts, inverse = np.unique(y, return_inverse=True)
        numbers = [self.codes[one.decode() if isinstance(one, bytes) else str(one)] for one in texts.tolist()]
        return np.array(numbers, np.int32)[inverse]

    def _check(self, holds: bool | np.bool, where: str, problem: str) -> None:
        if not holds:
            raise UserError(
                f"{where}: the targets {problem}, as {show(self.task)} are; say what they are with --task"
            )

    def named(self) -> tuple[tuple[str, ...] | None, Array | None]:
        """Return the names of the classes, and the label of each code; None for what has none."""
        return self.codes.ordered() if self.task == CLASSES else (None, None)

    def dtype(self) -> np.dtype:
        """Return the type in the data file."""
        if self.task == CLASSES:
            return smallest_dtype(len(self.codes))
        return smallest_dtype(self.width) if self.task == ONE_HOT else np.dtype(self.stored[0])
