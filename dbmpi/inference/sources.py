"""Where rows come from, as every rank is told: a split of an HDF5 file, an array of an npz, a table.

Each rank opens the file for itself and reads what its partition needs of the blocks that are its replica's.
Shape letters: N rows, I inputs.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Protocol

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.fields import View
from dbmpi.data.format import Format
from dbmpi.data.sanity import LARGEST
from dbmpi.data.split import Split
from dbmpi.errors import UserError
from dbmpi.inference.rows import Block, Load, Rows, SplitRows, as_stored, check_shape, checked, cut
from dbmpi.layout.boxes import Box
from dbmpi.prepare import streams, table_file
from dbmpi.prepare.delimited import DelimitedFile, Dialect
from dbmpi.text import listed, nearest, several, show


class Source(Protocol):
    """What is read, and how. Travels to all ranks."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def split(self) -> str:
        """Which of its rows: the name of a split, or "all"."""

    def rows(self, form: Format, window: Box) -> AbstractContextManager[Rows]:
        """Open the part of each example that a partition reads, as a context. Raises UserError."""


@dataclass(frozen=True)
class StoredSource:
    """A split of an HDF5 file, or all of its rows.

    Attributes
    ----------
    view
        How it is read.
    outputs
        Units of the last layer: no label is beyond.
    """

    path: Path
    split: str
    view: View
    outputs: int

    @contextmanager
    def rows(self, form: Format, window: Box) -> Iterator[Rows]:
        """See `Source.rows`."""
        with Split(self.path, self.split, window=window, view=self.view) as split:
            split.classes = self.outputs
            yield SplitRows(split, form, bool(self.view.targets))


@dataclass(frozen=True)
class ArraySource:
    """An array of an .npz."""

    path: Path
    name: str
    split: str = "all"

    @contextmanager
    def rows(self, form: Format, window: Box) -> Iterator[Rows]:
        """See `Source.rows`."""
        with streams.opened(self.path) as arrays:
            stream = arrays[self.name]
            check_shape(stream.shape, form, self.where)
            yield _StreamRows(stream, form, window, self.where)

    @property
    def where(self) -> str:
        """File and array, for messages."""
        return f"{self.path}: {self.name}"


@dataclass(frozen=True)
class _StreamRows:
    """The rows of an array that is read from its start to its end."""

    stream: streams.Stream
    form: Format
    window: Box
    where: str

    @property
    def total(self) -> int:
        """See `Rows.total`."""
        return self.stream.shape[0]

    def blocks(self, most: int) -> Iterator[Load]:
        """See `Rows.blocks`."""
        start = 0
        for x in self.stream.batches(most):
            yield partial(self._block, x, start)
            start += len(x)

    def _block(self, x: Array, start: int) -> Block:
        x = checked(x, self.form, (start, start + len(x)), self.where)
        return cut(x, self.form, self.window), None


@dataclass(frozen=True)
class TableSource:
    """Columns of a CSV file or a relative of it.

    Attributes
    ----------
    columns
        Their places from the left, one for each input in row-major order.
    header
        Whether the first line names the columns; None: it must look so.
    """

    path: Path
    columns: tuple[int, ...]
    header: bool | None
    split: str = "all"

    @contextmanager
    def rows(self, form: Format, window: Box) -> Iterator[Rows]:
        """See `Source.rows`."""
        yield _TableRows(DelimitedFile(self.path, Dialect(header=self.header)), self.columns, form, window)


class _TableRows:
    """The rows of a table: a block is what lies in half a megabyte of text."""

    total = None

    def __init__(self, table: DelimitedFile, columns: tuple[int, ...], form: Format, window: Box) -> None:
        self._table, self._columns, self._form, self._window = table, columns, form, window
        self._alone = columns == tuple(range(len(table.names)))

    def blocks(self, most: int) -> Iterator[Load]:
        """See `Rows.blocks`."""
        for block in self._table.blocks():
            yield partial(self._read, block)

    def _read(self, block: table_file.Block) -> Block:
        found_NI = block.numbers(self._columns, self._alone)
        if found_NI is None or not self._alone:
            block.cells(0)  # says which row is too long or too short
        if found_NI is None:
            found_NI = self._by_cells(block)
        if not (np.abs(found_NI) <= LARGEST).all():
            raise self._odd(block)
        x = as_stored(found_NI, self._form, (0, len(found_NI)), f"{block.where(0)} and below")
        return cut(x, self._form, self._window), None

    def _by_cells(self, block: table_file.Block) -> Array:
        """Return the numbers of a block that has quotes or blanks around them. Raises UserError."""
        try:
            return np.array([block.cells(place) for place in self._columns], np.float64).T
        except ValueError:
            raise self._odd(block) from None

    def _odd(self, block: table_file.Block) -> UserError:
        """Return the error for the first cell that is no number, by columns."""
        for place in self._columns:
            for row, cell in enumerate(block.cells(place)):
                if not _is_number(cell):
                    return UserError(
                        f"{block.where(row)}: column {self._table.names[place]} is {show(cell.strip())}, and "
                        f"the model reads finite numbers up to {LARGEST:g}; fill it, or leave the row out"
                    )
        return UserError(f"{block.where(0)} or below: no table of numbers; look at its quotes")


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) <= LARGEST
    except ValueError:
        return False


def array_source(path: Path, form: Format, name: str | None) -> ArraySource:
    """Choose an array of an .npz: by its name, else x, else the one there is.

    Raises
    ------
    UserError
        There is none of that name, or none that is an example's.
    """
    with streams.opened(path) as arrays:
        usual = next((one for one in ("x", "X", "x_test", "inputs", "images", "data") if one in arrays), None)
        chosen = name or usual or (next(iter(arrays)) if len(arrays) == 1 else None)
        if not arrays:
            raise UserError(f"{path}: holds no arrays; write it by numpy.savez(..., x=x)")
        if chosen is None or chosen not in arrays:
            what = "several arrays" if name is None else f"no array {show(name)}{nearest(name, arrays)}"
            raise UserError(f"{path}: has {what}: name the inputs by --inputs, of {listed([*arrays])}")
        source = ArraySource(path, chosen)
        check_shape(arrays[chosen].shape, form, source.where)
    return source


def table_source(path: Path, form: Format, inputs: str | None, header: bool | None) -> TableSource:
    """Choose columns of a table: those that are named, with commas between them, else all.

    Raises
    ------
    UserError
        They are not as many as the model reads, or one is not there.
    """
    table = DelimitedFile(path, Dialect(header=header))
    wanted = [one.strip() for one in inputs.split(",")] if inputs else table.names
    for one in wanted:
        if one not in table.names:
            raise UserError(
                f"{path}: has no column {show(one)}{nearest(one, table.names)}; it has {listed(table.names)}"
            )
    columns = prod(form.input_shape)
    if len(wanted) != columns:
        raise UserError(
            f"{path}: {'--inputs names' if inputs else 'has'} {several(len(wanted), 'column')}, but the "
            f"model reads {columns}: name those by --inputs A,B,... in the order in which it has learned them"
        )
    return TableSource(path, tuple(table.names.index(one) for one in wanted), header)
