"""CSV and its relatives, gzipped or not: blocks of rows, and the columns of each."""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data import file_types
from dbmpi.data.file_types import type_of
from dbmpi.data.sanity import LARGEST
from dbmpi.errors import UserError
from dbmpi.prepare import regular
from dbmpi.prepare.table_file import check_names
from dbmpi.text import several, show

if TYPE_CHECKING:
    from _csv import Reader

BLOCK_BYTES = 1 << 19  # beyond, numpy.loadtxt gets no faster
MOST_QUOTED_BYTES = 1 << 20  # in one cell: beyond, a quote is taken for one that is never closed
MOST_LINE_BYTES = 64 << 20  # beyond, it is taken for a file of another kind
SWELLING = 5  # of a gzipped table
DELIMITERS = ",\t;|"
SPACE = " "  # any blanks
QUOTE = '"'
NUL = b"\0"
BOM = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"
UTF8 = "utf-8"


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes
    ----------
    header
        Whether its first line names the columns; else they are called 1, 2, 3, ... None: it must look so.
    delimiter
        What stands between cells; `SPACE` for any blanks, None to see by the first line.
    encoding
        Of its texts, by the name that Python has for it.
    skipped
        Lines before the first one.
    options
        Whether the command line can say all this of it; else messages name none but --header.
    """

    header: bool | None = None
    delimiter: str | None = None
    encoding: str = UTF8
    skipped: int = 0
    options: bool = False


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
    options
        As in `Dialect`.
    """

    content: bytes
    first: int
    path: Path
    delimiter: str
    width: int
    options: bool = False

    @cached_property
    def lines(self) -> list[str]:
        """The lines. Raises UserError where they are no text."""
        if NUL in self.content:
            line = self.first + self.content.count(b"\n", 0, self.content.index(NUL))
            remedy = "mend it" + ", or say what it is: --encoding utf-16" * self.options
            raise UserError(f"{self.path}: line {line}: holds a NUL, which no text does; {remedy}")
        try:
            return io.StringIO(self.content.decode(), newline="\n").readlines()
        except UnicodeDecodeError as error:
            line = self.first + self.content.count(b"\n", 0, error.start)
            remedy = "save it so" + ", or say what it is: --encoding latin-1" * self.options
            raise UserError(f"{self.path}: line {line}: is not text in UTF-8; {remedy}") from error

    def numbers(self, places: Sequence[int], alone: bool) -> Array | None:
        """Return columns of finite numbers, float64 (B, places); None if there is anything else.

        They are `alone` if they are all columns. None also where rows may be shorter or longer than the
        header, which `cells` tells then.
        """
        delimiter = None if self.delimiter == SPACE else self.delimiter
        form: dict[str, Any] = {"delimiter": delimiter, "comments": None, "quotechar": QUOTE, "ndmin": 2}
        try:
            found = np.loadtxt(self.lines, usecols=None if alone else places, **form)
        except ValueError:
            return None
        if alone and found.shape[1] != self.width or not (np.abs(found) <= LARGEST).all():
            return None
        return found if alone or self._even else None

    @property
    def _even(self) -> bool:
        """Whether all rows are known to have as many cells as the header, by their delimiters alone."""
        return QUOTE.encode() not in self.content and all(
            line.count(self.delimiter) == self.width - 1 for line in self.lines if line.strip()
        )

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
            yield from _reader(self.lines, self.delimiter)
        except csv.Error as error:
            raise UserError(f"{self.path}: from line {self.first} on: {error}; mend the quotes") from error

    def where(self, row: int) -> str:
        """Name the place of a row: its file and line."""
        reader, line = _reader(self.lines, self.delimiter), 0
        with suppress(csv.Error):
            for cells in reader:
                if cells and row == 0:
                    return f"{self.path}: line {self.first + line}"
                row -= bool(cells)
                line = reader.line_num
        return f"{self.path}: from line {self.first} on"


class DelimitedFile:
    """One file.

    Parameters
    ----------
    path
        Gzipped if its name ends in ".gz".
    dialect
        How it is written.

    Attributes
    ----------
    names
        Of the columns; one without a name is called "column 3", by its place.

    Raises
    ------
    UserError
        It cannot be read, or is empty; or the first line has numbers only, where it should have names.
    """

    def __init__(self, path: Path, dialect: Dialect = Dialect()) -> None:
        self.path, self._dialect, self._header = path, dialect, dialect.header is not False
        self._gzipped = _is_gzipped(path)
        self._start = next(self._pieces(), b"")
        line = self._first_line()
        if dialect.header is None and line.startswith("#") and not dialect.skipped:
            remedy = "add --skip-lines 1" if dialect.options else "take the line out"
            raise UserError(f"{path}: line 1 begins with #: {remedy}, or add --header if it has the names")
        self._delimiter = dialect.delimiter or _delimiter_of(line)
        cells = [cell.strip() for cell in self._cells(line)]
        if dialect.header is None and _look_like_values(cells):
            raise UserError(
                f"{path}: line 1 has numbers where names of columns should be, as {show(cells[0])}: add "
                "--no-header, or --header if they are the names"
            )
        names = [cell or f"column {number}" for number, cell in enumerate(cells, 1)]
        self.names = names if self._header else [str(number) for number in range(1, len(cells) + 1)]
        check_names(path, self.names)

    def _first_line(self) -> str:
        """Return the first line, without its end. Raises UserError where it cannot be one of a table."""
        first = self._start.partition(b"\n")[0]
        line = "".join(Block(first, 1, self.path, "", 0, self._dialect.options).lines).rstrip("\r")
        if not line.strip():
            what = "line 1 is empty" if self._start else "is empty"
            raise UserError(f"{self.path}: {what}; a table has a line of names, then a line for each row")
        if "\r" in line:
            raise UserError(f"{self.path}: its lines end with CR alone; let them end with LF: tr '\\r' '\\n'")
        return line

    def _cells(self, line: str) -> list[str]:
        try:
            return next(_reader([line], self._delimiter))
        except csv.Error as error:
            raise UserError(f"{self.path}: line 1: {error}; mend the line") from error

    def expected(self) -> int:
        """Return about how many rows there are, by the first ones and the size of the file."""
        size = self.path.stat().st_size * (SWELLING if self._gzipped else 1)
        return max(1, size * max(1, self._start.count(b"\n")) // len(self._start))

    def blocks(self) -> Iterator[Block]:
        """Yield all rows. Raises UserError where the file cannot be read."""
        line = top = 1 + self._dialect.skipped
        for content in self._pieces():
            first, lines = line, content.count(b"\n")
            if first == top and self._header:
                content, first = content.partition(b"\n")[2], top + 1
            if content and not content.isspace():
                width, options = len(self.names), self._dialect.options
                yield Block(content, first, self.path, self._delimiter, width, options)
            line += lines

    def _pieces(self) -> Iterator[bytes]:
        """Yield the file in pieces that end with whole rows."""
        try:
            with regular.opened(self.path) as stored:
                unpacked = gzip.GzipFile(fileobj=stored) if self._gzipped else stored
                file = self._decoded(cast(IO[bytes], unpacked))
                for _ in range(self._dialect.skipped):
                    file.readline(MOST_LINE_BYTES)
                while piece := self._piece(file):
                    yield piece + self._rest_of_quoted(piece, file)
        except UnicodeError as error:
            raise UserError(f"{self.path}: is not text in {self._dialect.encoding}: {error}") from error
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{self.path}: cannot be read: {regular.reason(error)}; is it whole?") from error

    def _decoded(self, file: IO[bytes]) -> IO[bytes]:
        """Return a file as bytes of UTF-8, without what says that it is."""
        if self._dialect.encoding != UTF8:
            return cast(IO[bytes], codecs.EncodedFile(file, UTF8, self._dialect.encoding))
        if file.read(len(BOM)) != BOM:
            file.seek(0)
        return file

    def _piece(self, file: IO[bytes]) -> bytes:
        """Read some lines. Raises UserError where one has no end."""
        piece = file.read(BLOCK_BYTES)
        piece += file.readline(MOST_LINE_BYTES)
        if len(piece) >= MOST_LINE_BYTES and not piece.endswith(b"\n"):
            raise UserError(
                f"{self.path}: a line is longer than {MOST_LINE_BYTES >> 20} MiB; is it a table, in lines?"
            )
        return piece

    def _rest_of_quoted(self, piece: bytes, file: IO[bytes]) -> bytes:
        """Return the lines that a quoted cell at the end of a piece goes on over."""
        quote, rest, size = QUOTE.encode(), list[bytes](), 0
        inside = piece.count(quote) % 2
        while inside and (line := file.readline(MOST_QUOTED_BYTES)):
            rest.append(line)
            size += len(line)
            inside = (inside + line.count(quote)) % 2
            if size > MOST_QUOTED_BYTES:
                raise UserError(f"{self.path}: after {_cut(piece)} a quote is never closed; mend it")
        return b"".join(rest)


def _delimiter_of(line: str) -> str:
    """Return what stands between cells, as far as a line shows: blanks, where it has nothing else."""
    found = max(DELIMITERS, key=line.count)
    return found if found in line or len(line.split()) < 2 else SPACE


def _reader(lines: Iterable[str], delimiter: str) -> "Reader":
    if delimiter == SPACE:
        lines = (" ".join(line.split()) + "\n" for line in lines)
    return csv.reader(lines, delimiter=delimiter, quotechar=QUOTE, skipinitialspace=True, strict=True)


def _cut(piece: bytes) -> str:
    """Return the last row of a piece for a message."""
    return show(piece.rstrip(b"\n").rpartition(b"\n")[2].decode(errors="replace"))


def _is_gzipped(path: Path) -> bool:
    """Return whether a table is gzipped. Raises UserError where it is none."""
    try:
        with regular.opened(path) as file:
            gzipped = file.read(len(GZIP)) == GZIP
        found = type_of(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {regular.reason(error)}") from error
    if found not in (file_types.TABLE, file_types.OTHER) and not gzipped:
        raise UserError(f"{path}: {found.said(path)}")
    return gzipped


def _look_like_values(cells: Sequence[str]) -> bool:
    """Return whether what should be names of columns are rather numbers; a name may be a year."""
    numbers = [cell for cell in cells if _is_number(cell)]
    return len(numbers) > len(cells) / 2 or not all(map(str.isdigit, numbers))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
