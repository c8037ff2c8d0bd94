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
from dbmpi.data.sanity import LARGEST
from dbmpi.data.split import Split
from dbmpi.errors import UserError
from dbmpi.inference.columns import Input, Texts, chosen
from dbmpi.inference.rows import Block, Load, Rows, SplitRows, as_stored, check_shape, checked, cut
from dbmpi.layout.boxes import Box
from dbmpi.prepare import streams, table_file
from dbmpi.prepare.delimited import DelimitedFile, Dialect
from dbmpi.text import listed, nearest, several, show
from dbmpi.trained.model import TrainedModel

ALL = "all"  # of the rows of a file that has no splits


class Source(Protocol):
    """What is read, and how. Travels to all ranks."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def split(self) -> str:
        """Which of its rows: the name of a split, or "all"."""

    def rows(self, trained: TrainedModel, window: Box) -> AbstractContextManager[Rows]:
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
    def rows(self, trained: TrainedModel, window: Box) -> Iterator[Rows]:
        """See `Source.rows`."""
        with Split(self.path, self.split, window=window, view=self.view) as split:
            split.classes = self.outputs
            yield SplitRows(split, trained.format, bool(self.view.targets))


@dataclass(frozen=True)
class ArraySource:
    """An array of an .npz."""

    path: Path
    name: str
    split: str = ALL

    @contextmanager
    def rows(self, trained: TrainedModel, window: Box) -> Iterator[Rows]:
        """See `Source.rows`."""
        with streams.opened(self.path) as arrays:
            stream = arrays[self.name]
            check_shape(stream.shape, trained.stored_shape, self.where)
            yield _StreamRows(stream, trained, window, self.where)

    @property
    def where(self) -> str:
        """File and array, for messages."""
        return f"{self.path}: {self.name}"


@dataclass(frozen=True)
class _StreamRows:
    """The rows of an array that is read from its start to its end."""

    stream: streams.Stream
    trained: TrainedModel
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
        x = checked(x, self.trained.format, (start, start + len(x)), self.where)
        return cut(x, self.trained, self.window), None


@dataclass(frozen=True)
class TableSource:
    """Columns of a CSV file or a relative of it.

    Attributes
    ----------
    columns
        One for each input in row-major order.
    header
        Whether the first line names the columns; None: it must look so.
    """

    path: Path
    columns: tuple[Input, ...]
    header: bool | None
    split: str = ALL

    @contextmanager
    def rows(self, trained: TrainedModel, window: Box) -> Iterator[Rows]:
        """See `Source.rows`."""
        yield _TableRows(DelimitedFile(self.path, Dialect(header=self.header)), self.columns, trained, window)


class _TableRows:
    """The rows of a table: a block is what lies in half a megabyte of text."""

    total = None

    def __init__(
        self, table: DelimitedFile, columns: tuple[Input, ...], trained: TrainedModel, window: Box
    ) -> None:
        self._table, self._trained, self._window = table, trained, window
        self._numbers = [one.place for one in columns if one.text is None]
        self._texts = Texts(columns, table.names) if len(self._numbers) < len(columns) else None
        self._alone = self._numbers == [*range(len(table.names))]

    def blocks(self, most: int) -> Iterator[Load]:
        """See `Rows.blocks`."""
        for block in self._table.blocks():
            yield partial(self._read, block)

    def _read(self, block: table_file.Block) -> Block:
        found_NI = self._found(block)
        if self._texts is not None:
            found_NI = self._texts.filled(block, found_NI)
        x = as_stored(found_NI, self._trained.format, (0, len(found_NI)), f"{block.where(0)} and below")
        return cut(x, self._trained, self._window), None

    def _found(self, block: table_file.Block) -> Array:
        """Return the columns of numbers, float64. Raises UserError where a cell is none."""
        if not self._numbers:
            return np.empty((len(block.cells(0)), 0))
        found_NP = block.numbers(self._numbers, self._alone)
        if found_NP is None:
            found_NP = self._of_cells(block)
        if not (np.abs(found_NP) <= LARGEST).all():
            raise self._odd(block)
        return found_NP

    def _of_cells(self, block: table_file.Block) -> Array:
        """Return the same cell by cell: some are in quotes, or rows are too long or short, which is said."""
        try:
            return np.array([block.cells(place) for place in self._numbers], np.float64).T
        except ValueError:
            raise self._odd(block) from None

    def _odd(self, block: table_file.Block) -> UserError:
        """Return the error for the first cell that is no number, by columns."""
        for place in self._numbers:
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


def array_source(path: Path, trained: TrainedModel, name: str | None) -> ArraySource:
    """Choose an array of an .npz: by its name, else x, else the one there is.

    Raises
    ------
    UserError
        There is none of that name, or none that is an example's.
    """
    with streams.opened(path) as arrays:
        usual = next((one for one in ("x", "X", "x_test", "inputs", "images", "data") if one in arrays), None)
        found = name or usual or (next(iter(arrays)) if len(arrays) == 1 else None)
        if not arrays:
            raise UserError(f"{path}: holds no arrays; write it by numpy.savez(..., x=x)")
        if found is None or found not in arrays:
            what = "several arrays" if name is None else f"no array {show(name)}{nearest(name, arrays)}"
            raise UserError(f"{path}: has {what}: name the inputs by --inputs, of {listed([*arrays])}")
        source = ArraySource(path, found)
        check_shape(arrays[found].shape, trained.stored_shape, source.where)
    return source


def table_source(path: Path, trained: TrainedModel, inputs: str | None, header: bool | None) -> TableSource:
    """Choose columns of a table: those that are named, with commas between them; else those whose names the
    model knows, in any order and among others; else all.

    Raises
    ------
    UserError
        They are not as many as the model reads, or one is not there.
    """
    table = DelimitedFile(path, Dialect(header=header))
    known = () if header is False else trained.format.columns
    wanted = [one.strip() for one in inputs.split(",")] if inputs else known or table.names
    found = chosen(path, table.names, wanted)
    columns = prod(trained.format.input_shape)
    if len(wanted) != columns:
        raise UserError(
            f"{path}: {'--inputs names' if inputs else 'has'} {several(len(wanted), 'column')}, but the "
            f"model reads {columns}: name those by --inputs A,B,... in the order in which it has learned them"
        )
    return TableSource(path, found, header)
