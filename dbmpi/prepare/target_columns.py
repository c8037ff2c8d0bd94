"""The columns of a table that are to be learned: what they are, and what is stored of them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare import doubts
from dbmpi.prepare.cells import AS_PYTHON, Cells, as_member
from dbmpi.prepare.columns import CATEGORY, MEMBER, NUMBER, TAGS, WHOLE, Column, kind_of
from dbmpi.prepare.labels import Codes, in_order
from dbmpi.prepare.source import smallest_dtype
from dbmpi.text import show

CLASSES, MEMBERS, NUMBERS = TASKS = ("classes", "members", "numbers")
MOST_CLASSES = 100  # of integers that are taken for labels
FEW_CLASSES, FEWEST_ROWS = 10, 5  # beyond so many, so many rows each on average
WHOLE_NUMBER = re.compile(r"[+-]?\d+(\.0*)?")  # pandas writes 1.0 where a cell of the column is empty


@dataclass(frozen=True)
class Learned:
    """What the command line says about targets.

    Attributes
    ----------
    names
        Of the columns.
    task
        One of `TASKS`; None to see by their cells.
    separator
        What stands between the labels of a cell; None where a cell has one.
    """

    names: Sequence[str]
    task: str | None = None
    separator: str | None = None


def kinds_of(cells: Sequence[Sequence[str]], learned: Learned, form: Cells = AS_PYTHON) -> list[str]:
    """Return what each target is, by some of its cells.

    Texts are a CATEGORY, whole numbers of few values WHOLE, and other numbers NUMBER. Several targets are
    NUMBER; or MEMBER, where all cells are 0 or 1, or say yes or no.

    Raises
    ------
    UserError
        Cells do not go with the task, or are more likely something else than what they would become.
    """
    if learned.separator is not None or (learned.task == MEMBERS and len(cells) == 1):
        if learned.separator is None or len(cells) > 1:
            raise UserError(
                "several labels are several --target of 0 and 1, or one whose cells name them and --separator"
            )
        return [TAGS]
    seen = learned.task is None and len(cells) > 1 and all(map(_says_yes_or_no, cells))
    if learned.task == MEMBERS or seen:
        return [MEMBER for _ in cells]
    kinds = [_kind(one, learned, form) for one in cells]
    if len(kinds) > 1 and {*kinds} != {NUMBER}:
        raise UserError("several columns are to be learned, and one of them has classes: give one --target")
    asked = learned.task is None and kinds == [CATEGORY]
    if doubt := doubts.of_target(cells[0], learned.names[0], form) if asked else "":
        raise UserError(f"the target {show(learned.names[0])} {doubt}")
    return kinds


def _kind(cells: Sequence[str], learned: Learned, form: Cells) -> str:
    if learned.task == NUMBERS:
        return NUMBER
    if kind_of(cells, form) == CATEGORY:
        return CATEGORY
    distinct = {text for cell in cells if not form.is_missing(text := cell.strip())}
    whole = all(map(WHOLE_NUMBER.fullmatch, distinct))
    if learned.task == CLASSES:
        return WHOLE if whole else CATEGORY
    few = len(distinct) <= FEW_CLASSES or FEWEST_ROWS * len(distinct) <= len(cells)
    few = few and len(distinct) <= MOST_CLASSES
    return WHOLE if whole and few and len(learned.names) == 1 else NUMBER


def _says_yes_or_no(cells: Sequence[str]) -> bool:
    texts = {*map(str.strip, cells)}
    return all(text in ("0", "1", "0.0", "1.0") or as_member(text) is not None for text in texts)


@dataclass(frozen=True)
class Stored:
    """What is written of targets: see `source.Layout`."""

    shape: tuple[int, ...]
    dtype: np.dtype
    convert: Callable[[Array], Array]
    class_names: tuple[str, ...] | None


@dataclass
class TargetColumns:
    """Columns of one kind, and the codes of their texts so far."""

    columns: Sequence[Column]
    separator: str | None = None
    codes: Codes = field(default_factory=Codes)

    @property
    def kind(self) -> str:
        """Of all columns."""
        return self.columns[0].kind

    @property
    def record(self) -> tuple[type, tuple[int, ...]]:
        """Type and shape of the targets of a row in a record: () for classes alone, by which rows are cut."""
        if self.kind in (CATEGORY, WHOLE):
            return np.int32, ()
        return (np.int32 if self.kind == TAGS else np.float32), (len(self.columns),)

    def of(self, values: Mapping[str, Array]) -> Array:
        """Return the targets of rows as records have them, by the values of columns."""
        found = np.stack([values[column.name] for column in self.columns], axis=1)
        return found if self.record[1] else found[:, 0]

    def stored(self) -> Stored:
        """Return what is written, once all rows are read. Raises UserError."""
        if self.kind in (CATEGORY, WHOLE):
            names, places = self.codes.ordered()
            dtype = smallest_dtype(len(names))
            return Stored((), dtype, lambda y: places[y].astype(dtype), names)
        if self.kind == NUMBER:
            shape = () if len(self.columns) == 1 else (len(self.columns),)
            return Stored(shape, np.dtype(np.float32), lambda y: y.reshape(len(y), *shape), None)
        names, rows = self._labels()
        if len(names) < 2:
            raise UserError("the targets name one label only: there is nothing to tell apart")
        convert = (lambda y: y.astype(np.uint8)) if rows is None else (lambda y: rows[y[:, 0]])
        return Stored((len(names),), np.dtype(np.uint8), convert, names)

    def _labels(self) -> tuple[tuple[str, ...], Array | None]:
        """Return the names of several labels, and which of them each code stands for."""
        if self.kind == MEMBER:
            return tuple(column.name for column in self.columns), None
        sets = [{part for part in map(str.strip, text.split(self.separator)) if part} for text in self.codes]
        names = in_order({part for one in sets for part in one})
        return names, np.array([[name in one for name in names] for one in sets], np.uint8)
