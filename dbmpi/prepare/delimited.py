"""CSV and its relatives, gzipped or not: blocks of rows, and the columns of each."""

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare.columns import LARGEST
from dbmpi.text import several, show

BLOCK_BYTES = 1 << 19  # beyond, numpy.loadtxt gets no faster
MOST_QUOTED_BYTES = 1 << 20  # in one cell: beyond, a quote is taken for one that is never closed
SWELLING = 5  # of a gzipped table
DELIMITERS = ",\t;|"
QUOTE = '"'
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of a file.

    Attributes
    ----------
    content
        Lines of whole rows; a quoted cell may go over several.
    first
        The number of the first line in its file, from 1.
    path, delimiter, width
        Of the file; the width is the number of columns.
    """

    content: bytes
    first: int
    path: Path
    delimiter: str
    width: int

    @cached_property
    def lines(self) -> list[str]:
        """The lines. Raises UserError where they are no text."""
        try:
            return io.StringIO(self.content.decode(), newline="\n").readlines()
        except UnicodeDecodeError as error:
            line = self.first + self.content.count(b"\n", 0, error.start)
            raise UserError(
                f"{self.path}: line {line}: is not text in UTF-8; save the file as UTF-8"
            ) from error

    def numbers(self, places: Sequence[int], alone: bool) -> Array | None:
        """Return columns of finite numbers, float64 (B, places); None if there is anything else.

        They are `alone` if they are all columns. If not, `cells` tells whether a row is too long.
        """
        form: dict[str, Any] = {"delimiter": self.delimiter, "comments": None, "quotechar": QUOTE, "ndmin": 2}
        try:
            found = np.loadtxt(self.lines, usecols=None if alone else places, **form)
        except ValueError:
            return None
        if alone and found.shape[1] != self.width or not (np.abs(found) <= LARGEST).all():
            return None
        return found

    def cells(self, place: int) -> Sequence[str]:
        """Return the texts of a column. Raises UserError where rows are shorter or longer than the header."""
        return self._columns[place]

    @cached_property
    def _columns(self) -> list[Sequence[str]]:
        rows = [row for row in self._rows() if row]
        if {*map(len, rows)} - {self.width}:
            number = next(number for number, row in enumerate(rows) if len(row) != self.width)
            raise UserError(
                f"{self.where(number)}: has {several(len(rows[number]), 'cell')}, but the header "
                f"{self.width}; mend the row, or put cells with a {self.delimiter!r} in quotes"
            )
        return [*zip(*rows, strict=True)] or [()] * self.width

    def _rows(self) -> Iterator[list[str]]:
        try:
            yield from csv.reader(self.lines, delimiter=self.delimiter, quotechar=QUOTE, strict=True)
        except csv.Error as error:
            raise UserError(f"{self.path}: from line {self.first} on: {error}; mend the quotes") from error

    def where(self, row: int) -> str:
        """Name the place of a row: its file and line."""
        reader, line = csv.reader(self.lines, delimiter=self.delimiter, quotechar=QUOTE), 0
        for cells in reader:
            if cells and row == 0:
                break
            row -= bool(cells)
            line = reader.line_num
        return f"{self.path}: line {self.first + line}"


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
        self.path, self._header, self._delimiter, self.names = path, header, DELIMITERS[0], [""]
        self._start = next(self._pieces(), b"")
        if not self._start:
            raise UserError(f"{path}: is empty; a table has a line of names, then a line for each row")
        line = Block(self._start.partition(b"\n")[0], 1, path, "", 0).lines[0]
        self._delimiter = max(DELIMITERS, key=line.count)
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=self._delimiter))]
        if header and all(_is_number(cell) for cell in cells):
            raise UserError(f"{path}: line 1 has numbers only; put names there, or add --no-header")
        self.names = cells if header else [str(number) for number in range(1, len(cells) + 1)]
        twice = {name for name in self.names if self.names.count(name) > 1}
        if twice:
            raise UserError(
                f"{path}: has several columns of the name {sorted(twice)[0]!r}; give each its own"
            )

    def expected(self) -> int:
        """Return about how many rows there are, by the first ones and the size of the file."""
        size = self.path.stat().st_size * (SWELLING if self.path.suffix == ".gz" else 1)
        return max(1, size * max(1, self._start.count(b"\n")) // len(self._start))

    def blocks(self) -> Iterator[Block]:
        """Yield all rows. Raises UserError where the file cannot be read."""
        line = 1
        for content in self._pieces():
            first, lines = line, content.count(b"\n")
            if first == 1 and self._header:
                content, first = content.partition(b"\n")[2], 2
            if content.strip():
                yield Block(content, first, self.path, self._delimiter, len(self.names))
            line += lines

    def _pieces(self) -> Iterator[bytes]:
        """Yield the file in pieces that end with whole rows."""
        try:
            with gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb") as file:
                if file.read(len(BOM)) != BOM:
                    file.seek(0)
                while piece := file.read(BLOCK_BYTES) + file.readline():
                    yield piece + self._rest_of_quoted(piece, file)
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{self.path}: cannot be read: {reason}") from error

    def _rest_of_quoted(self, piece: bytes, file: gzip.GzipFile | io.BufferedReader) -> bytes:
        """Return the lines that a quoted cell at the end of a piece goes on over."""
        quote, rest = QUOTE.encode(), b""
        inside = piece.count(quote) % 2
        while inside and (line := file.readline()):
            rest += line
            inside = (inside + line.count(quote)) % 2
            if len(rest) > MOST_QUOTED_BYTES:
                raise UserError(f"{self.path}: after {_cut(piece)} a quote is never closed; mend it")
        return rest


def _cut(piece: bytes) -> str:
    """Return the last row of a piece for a message."""
    return show(piece.rstrip(b"\n").rpartition(b"\n")[2].decode(errors="replace"))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
