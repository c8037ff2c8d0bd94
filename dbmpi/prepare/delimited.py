"""CSV and its relatives, gzipped or not: blocks of rows, and the columns of each."""

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare.columns import LARGEST
from dbmpi.text import several

BLOCK = 4096  # lines: beyond, numpy.loadtxt gets no faster
DELIMITERS = ",\t;|"
QUOTE = '"'


class Block:
    """Some consecutive rows of a file.

    Parameters
    ----------
    lines
        Those of whole rows; a quoted cell may go over several.
    first
        The number of the first line in its file, from 1.
    path, delimiter, width
        Of the file; the width is the number of columns.
    """

    def __init__(self, lines: list[str], first: int, path: Path, delimiter: str, width: int) -> None:
        self._lines, self._first, self._path, self._delimiter, self._width = (
            lines,
            first,
            path,
            delimiter,
            width,
        )
        self._columns: list[Sequence[str]] | None = None

    def numbers(self, places: Sequence[int]) -> Array | None:
        """Return columns of finite numbers, float64 (B, places); None if there is anything else."""
        text, width = self._lines, self._width
        try:
            found = np.loadtxt(text, delimiter=self._delimiter, comments=None, quotechar=QUOTE, ndmin=2)
        except ValueError:
            return None
        if found.shape[1] != width or len(found) != len(text) or not (np.abs(found) <= LARGEST).all():
            return None
        return found if len(places) == width else found[:, places]

    def cells(self, place: int) -> Sequence[str]:
        """Return the texts of a column. Raises UserError where rows are shorter or longer than the header."""
        if self._columns is None:
            rows = [row for row in self._read() if row]
            if any(len(row) != self._width for row in rows):
                self._refuse_ragged()
            self._columns = [*zip(*rows, strict=True)] or [()] * self._width
        return self._columns[place]

    def where(self, row: int) -> str:
        """Name the place of a row: its file and line."""
        reader, line = csv.reader(self._lines, delimiter=self._delimiter, quotechar=QUOTE), 0
        for one in reader:
            if one and row == 0:
                break
            row -= bool(one)
            line = reader.line_num
        return f"{self._path}: line {self._first + line}"

    def _read(self) -> Iterator[list[str]]:
        try:
            yield from csv.reader(self._lines, delimiter=self._delimiter, quotechar=QUOTE, strict=True)
        except csv.Error as error:
            raise UserError(f"{self._path}: from line {self._first} on: {error}; mend the quotes") from error

    def _refuse_ragged(self) -> None:
        for number, row in enumerate(row for row in self._read() if row):
            if len(row) != self._width:
                raise UserError(
                    f"{self.where(number)}: has {several(len(row), 'cell')}, but the header "
                    f"{self._width}; mend the row, or put cells with a {self._delimiter!r} in quotes"
                )


class DelimitedFile:
    """One file.

    Parameters
    ----------
    path
        Gzipped if its name ends in ".gz".
    header
        Whether its first line names the columns; else they are called 1, 2, 3, ...

    Attributes
    ----------
    names
        Of the columns.

    Raises
    ------
    UserError
        It cannot be read, or is empty; or the first line has numbers only, where it should have names.
    """

    def __init__(self, path: Path, header: bool) -> None:
        self.path, self._header = path, header
        with self._open() as file:
            first = self._lines(file, 1)
        if not first:
            raise UserError(f"{path}: is empty; a table has a line of names, then a line for each row")
        self._delimiter = max(DELIMITERS, key=first[0].count)
        cells = [cell.strip() for cell in next(csv.reader(first, delimiter=self._delimiter))]
        if header and all(_is_number(cell) for cell in cells):
            raise UserError(f"{path}: line 1 has numbers only; put names there, or add --no-header")
        self.names = cells if header else [str(number) for number in range(1, len(cells) + 1)]
        twice = {name for name in self.names if self.names.count(name) > 1}
        if twice:
            raise UserError(
                f"{path}: has several columns of the name {sorted(twice)[0]}; give each a name of its own"
            )

    def expected(self) -> int:
        """Return about how many rows there are, by the first ones and the size of the file."""
        with self._open() as file:
            lines = self._lines(file, BLOCK)
        size = self.path.stat().st_size * (5 if self.path.suffix == ".gz" else 1)
        each = sum(map(len, lines)) / max(1, len(lines))
        return int(size / max(1.0, each)) + 1

    def blocks(self) -> Iterator[Block]:
        """Yield all rows. Raises UserError where the file cannot be read."""
        with self._open() as file:
            number = 1 + len(self._lines(file, 1)) if self._header else 1
            while lines := self._lines(file, BLOCK):
                while sum(line.count(QUOTE) for line in lines) % 2 and (more := self._lines(file, 1)):
                    lines += more  # a quoted cell goes on
                yield Block(lines, number, self.path, self._delimiter, len(self.names))
                number += len(lines)

    def _open(self) -> IO[str]:
        try:
            raw = gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb")
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")

    def _lines(self, file: IO[str], most: int) -> list[str]:
        try:
            return [*islice(file, most)]
        except UnicodeDecodeError as error:
            raise UserError(
                f"{self.path}: is not text in UTF-8 ({error.reason}); save it as UTF-8"
            ) from error
        except (OSError, EOFError) as error:
            raise UserError(f"{self.path}: cannot be read to its end: {error}") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
