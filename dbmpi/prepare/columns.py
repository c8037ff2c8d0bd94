"""Columns of a table: what each is, and how its cells become numbers or texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.sanity import LARGEST
from dbmpi.prepare.cells import AS_PYTHON, Cells, as_member, days
from dbmpi.prepare.labels import Codes
from dbmpi.text import listed, show

MISSING_CATEGORY = "missing"
NUMBER, CATEGORY, WHOLE = "number", "category", "whole"  # WHOLE: a class that is written as a whole number
MEMBER, TAGS = (
    "member",
    "tags",
)  # several labels: 0 or 1 for one of them; or a cell that names some
REFUSE, DROP, MEAN = REMEDIES = ("refuse", "drop", "mean")
LARGEST_WHOLE = 2.0**53 - 1  # beyond, floats stand for several whole numbers each
MOSTLY = 0.9  # of the cells are numbers: then the others are mistakes


class BadCell(Exception):
    """A cell that cannot be taken: its row among those that were given, its column, and what is wrong."""

    def __init__(self, row: int, name: str, problem: str) -> None:
        super().__init__(row, name, problem)
        self.row, self.name, self.problem = row, name, problem


@dataclass(frozen=True)
class Texts:
    """Cells of a column of texts.

    Attributes
    ----------
    distinct
        The texts.
    places
        For each row that of its text, int32; -1 where it is missing.
    """

    distinct: list[str]
    places: Array

    def coded(self, codes: Codes) -> Array:
        """Return the number of each text, the same in all blocks; -1 for what is missing."""
        return np.array([codes[text] for text in self.distinct] + [-1], np.int32)[self.places]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    name
        In the header.
    place
        From the left, from 0.
    kind
        NUMBER, CATEGORY, WHOLE, MEMBER or TAGS.
    missing
        What happens to empty cells: REFUSE, an error; DROP, their row is left out; MEAN, a number is filled
        in later, and a text is a category of its own. TAGS that are missing are none.
    fillable
        Whether MEAN may be asked for.
    allowed
        The only texts that there may be, in lower case; none: any.
    cells
        How numbers are written, and what stands for nothing.
    date
        Form of its dates for `cells.days`; None where it has none.
    """

    name: str
    place: int
    kind: str
    missing: str = REFUSE
    fillable: bool = True
    allowed: tuple[str, ...] = ()
    cells: Cells = AS_PYTHON
    date: str | None = None

    @property
    def is_text(self) -> bool:
        """Whether `values` are texts of the cells."""
        return self.kind in (CATEGORY, TAGS)

    @property
    def is_plain(self) -> bool:
        """Whether it has numbers as numpy reads them."""
        return self.kind in (NUMBER, WHOLE, MEMBER) and self.date is None and self.cells.are_plain

    def values(self, cells: Sequence[str]) -> Array | Texts:
        """Return float64 numbers, nan where one is missing; or texts. Raises BadCell."""
        return self._texts(cells) if self.is_text else self.taken(self._numbers(cells))

    def taken(self, numbers: Array) -> Array | Texts:
        """Return numbers, nan where one is missing, as the column has them. Raises BadCell."""
        if self.kind == NUMBER:
            return numbers
        if self.kind == MEMBER:
            return self._members(numbers)
        distinct, places = np.unique(numbers, return_inverse=True)
        there = ~np.isnan(distinct)
        odd = (distinct % 1 != 0) | (np.abs(distinct) > LARGEST_WHOLE)
        if odd[there].any():
            row = int(np.flatnonzero(np.isin(numbers, distinct[there & odd]))[0])
            remedy = f"mend it, or add --task numbers, or --categorical {quote(self.name)}"
            raise BadCell(
                row, self.name, f"is {numbers[row]:.17g}, where others are whole numbers up to 2^53; {remedy}"
            )
        names = [str(int(one)) for one in distinct[there]]
        return Texts(names, np.where(there[places], places, -1).astype(np.int32))

    def _members(self, numbers: Array) -> Array:
        odd = ~(np.isin(numbers, (0, 1)) | np.isnan(numbers))
        if odd.any():
            row = int(odd.argmax())
            remedy = "mend it, or add --task numbers"
            raise BadCell(row, self.name, f"is {numbers[row]:g}, where others are 0 or 1; {remedy}")
        return numbers

    def _numbers(self, cells: Sequence[str]) -> Array:
        try:
            found = np.array(cells if self.is_plain else ["nan"], np.float64)
        except ValueError:
            found = np.full(len(cells), np.nan)
        if (np.abs(found) <= LARGEST).all():
            return found
        return np.array([self._number(row, cell.strip()) for row, cell in enumerate(cells)], np.float64)

    def _number(self, row: int, cell: str) -> float:
        if self.cells.is_missing(cell):
            self._check_missing(row)
            return np.nan
        if self.kind == MEMBER and (member := as_member(cell)) is not None:
            return member
        try:
            number = self.cells.number(cell) if self.date is None else days(cell, self.date)
        except ValueError:
            raise BadCell(row, self.name, self._no_number(cell)) from None
        if not abs(number) <= LARGEST:
            raise BadCell(row, self.name, f"is {show(cell)}: not finite, or beyond {LARGEST:g}; mend it")
        return number

    def _no_number(self, cell: str) -> str:
        if self.date is not None:
            form = f"of the form {self.date}" if self.date else "as 2026-11-30"
            option = f"--date {quote(self.name + '=%d.%m.%Y')}"
            return f"is {show(cell)}, no date {form}; mend it, or name the form, as {option}"
        remedy = f"--empty {quote(cell)} if it stands for nothing, or --categorical {quote(self.name)}"
        return f"is {show(cell)}, where others are numbers; mend it, or add {remedy}"

    def _texts(self, cells: Sequence[str]) -> Texts:
        codes = Codes()
        texts = [cell.strip() for cell in cells]
        places = np.fromiter(map(codes.__getitem__, texts), np.int32, len(texts))
        gone = [code for text, code in codes.items() if self.cells.is_missing(text)]
        odd = [code for text, code in codes.items() if self.allowed and text.lower() not in self.allowed]
        if odd and odd != gone:
            row = int(np.isin(places, [code for code in odd if code not in gone]).argmax())
            raise BadCell(row, self.name, f"is {show(texts[row])}; it must be {listed([*self.allowed])}")
        if gone and self.kind == CATEGORY:
            self._check_missing(int(np.isin(places, gone).argmax()))
            if self.missing == DROP:
                places[np.isin(places, gone)] = -1
        filled = MISSING_CATEGORY if self.kind == CATEGORY else ""
        return Texts([filled if self.cells.is_missing(text) else text for text in codes], places)

    def _check_missing(self, row: int) -> None:
        if self.missing == REFUSE:
            remedy = "--missing mean or --missing drop" if self.fillable else "--missing drop"
            raise BadCell(row, self.name, f"is missing; fill it, or add {remedy}")


def kind_of(cells: Sequence[str], form: Cells = AS_PYTHON) -> str:
    """Return what a column is, by some of its cells: of numbers, if nearly all of them are."""
    numbers, texts = 0, 0
    for cell in cells:
        if not form.is_missing(cell.strip()):
            try:
                form.number(cell.strip())
                numbers += 1
            except ValueError:
                texts += 1
    return CATEGORY if numbers < MOSTLY * (numbers + texts) else NUMBER
