"""Columns of a table: what each is, and how its cells become numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dbmpi.arrays import Array
from dbmpi.prepare.labels import Codes
from dbmpi.text import show

MISSING = frozenset(("", "NA", "N/A", "n/a", "na", "<NA>", "NaN", "nan", "NULL", "null", "None", "?"))
MISSING_CATEGORY = "missing"
NUMBER, CATEGORY = "number", "category"
REFUSE, DROP, MEAN = REMEDIES = ("refuse", "drop", "mean")
LARGEST = float(np.finfo(np.float32).max)


class BadCell(Exception):
    """A cell that cannot be taken: its row among those that were given, its column, and what is wrong."""

    def __init__(self, row: int, name: str, problem: str) -> None:
        super().__init__(problem)
        self.row, self.name, self.problem = row, name, problem


@dataclass
class Column:
    """One column.

    Attributes
    ----------
    name
        In the header.
    place
        From the left, from 0.
    kind
        NUMBER or CATEGORY.
    missing
        What happens to empty cells: REFUSE, an error; DROP, nan or the code -1, as their row is left out;
        MEAN, nan or a category of their own.
    codes
        Of the categories that came so far.
    """

    name: str
    place: int
    kind: str
    missing: str = REFUSE
    codes: Codes = field(default_factory=Codes)

    def values(self, cells: Sequence[str]) -> Array:
        """Return float64 numbers, nan where one is missing, or int32 codes, -1 likewise. Raises BadCell."""
        return self._numbers(cells) if self.kind == NUMBER else self._categories(cells)

    def _numbers(self, cells: Sequence[str]) -> Array:
        try:
            found = np.array(cells, np.float64)
        except ValueError:
            found = np.full(len(cells), np.nan)
        if (np.abs(found) <= LARGEST).all():
            return found
        return np.array([self._number(row, cell.strip()) for row, cell in enumerate(cells)])

    def _number(self, row: int, cell: str) -> float:
        if cell in MISSING:
            self._check_missing(row)
            return np.nan
        try:
            number = float(cell)
        except ValueError:
            remedy = f"mend it, or add --categorical {self.name}"
            raise BadCell(
                row, self.name, f"is {show(cell)}, where other rows have a number; {remedy}"
            ) from None
        if not abs(number) <= LARGEST:
            raise BadCell(row, self.name, f"is {show(cell)}: not finite, or beyond 32 bits; mend it")
        return number

    def _categories(self, cells: Sequence[str]) -> Array:
        texts = [cell.strip() for cell in cells]
        if not MISSING.isdisjoint(texts):
            texts = [self._category(row, text) for row, text in enumerate(texts)]
        found = np.fromiter(map(self.codes.__getitem__, texts), np.int32, len(texts))
        if self.missing == DROP and "" in self.codes:
            found[found == self.codes[""]] = -1
        return found

    def _category(self, row: int, text: str) -> str:
        if text not in MISSING:
            return text
        self._check_missing(row)
        return "" if self.missing == DROP else MISSING_CATEGORY

    def _check_missing(self, row: int) -> None:
        if self.missing == REFUSE:
            raise BadCell(row, self.name, "is missing; fill it, or add --missing mean or --missing drop")


def kind_of(cells: Sequence[str]) -> str:
    """Return what a column is, by some of its cells."""
    for cell in cells:
        if cell.strip() not in MISSING:
            try:
                float(cell)
            except ValueError:
                return CATEGORY
    return NUMBER
