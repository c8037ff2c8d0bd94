"""The rows of a table: columns of numbers and texts become inputs, and others what is right of them.

Shape letters: N rows, I inputs, P columns of numbers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.sanity import LARGEST
from dbmpi.errors import UserError
from dbmpi.inference.columns import Input, Texts, chosen, places_of
from dbmpi.inference.rows import Block, Load, Rows, as_stored, cut
from dbmpi.inference.sources import ALL
from dbmpi.layout.boxes import Box
from dbmpi.prepare import table_file
from dbmpi.prepare.delimited import DelimitedFile, Dialect
from dbmpi.text import listed, several, show
from dbmpi.trained.model import TrainedModel


@dataclass(frozen=True)
class TableSource:
    """Columns of a CSV file or a relative of it: a `sources.Source`.

    Attributes
    ----------
    columns
        One for each input in row-major order.
    header
        Whether the first line names the columns; None: it must look so.
    targets
        The places of the columns of what is right; none where that is not asked for.
    """

    path: Path
    columns: tuple[Input, ...]
    header: bool | None
    targets: tuple[int, ...] = ()
    split: str = ALL

    @contextmanager
    def rows(self, trained: TrainedModel, window: Box) -> Iterator[Rows]:
        """See `Source.rows`."""
        yield _TableRows(DelimitedFile(self.path, Dialect(header=self.header)), self, trained, window)


class _TableRows:
    """The rows of a table: a block is what lies in half a megabyte of text."""

    total = None

    def __init__(self, table: DelimitedFile, source: TableSource, trained: TrainedModel, window: Box) -> None:
        self._table, self._trained, self._window = table, trained, window
        self._numbers = [one.place for one in source.columns if one.text is None]
        texts = len(self._numbers) < len(source.columns)
        self._texts = Texts(source.columns, table.names) if texts else None
        self._alone = self._numbers == [*range(len(table.names))]
        self._targets = source.targets

    def blocks(self, most: int) -> Iterator[Load]:
        """See `Rows.blocks`."""
        for block in self._table.blocks():
            yield partial(self._read, block)

    def _read(self, block: table_file.Block) -> Block:
        found_NI = numbers(block, self._numbers, self._table.names, self._alone)
        if self._texts is not None:
            found_NI = self._texts.filled(block, found_NI)
        x = as_stored(found_NI, self._trained.format, (0, len(found_NI)), f"{block.where(0)} and below")
        return cut(x, self._trained, self._window), self._right(block) if self._targets else None

    def _right(self, block: table_file.Block) -> Array:
        """Return labels, or truth values or targets. Raises UserError where a cell is none."""
        names, form = self._table.names, self._trained.format
        if form.outputs == "classes":
            return labels(block, self._targets[0], names, classes_of(self._trained))
        right_NP = numbers(block, self._targets, names)
        if form.outputs == "labels" and not ((right_NP == 0) | (right_NP == 1)).all():
            row, column = (int(at) for at in np.argwhere((right_NP != 0) & (right_NP != 1))[0])
            raise UserError(
                f"{block.where(row)}: column {names[self._targets[column]]} is {right_NP[row, column]:g}, "
                "but should be 1 where the label is right, and 0 elsewhere"
            )
        return right_NP


def classes_of(trained: TrainedModel) -> tuple[str, ...]:
    """Return what the classes of a model are called in a table: by their names, else by their numbers."""
    return tuple(trained.format.class_names) or tuple(map(str, range(trained.network.outputs)))


def labels(block: table_file.Block, place: int, names: Sequence[str], classes: Sequence[str]) -> Array:
    """Return the labels of a column of classes, int64 (N,). Raises UserError where a cell is none."""
    known, cells = (
        {name: at for at, name in enumerate(classes)},
        [cell.strip() for cell in block.cells(place)],
    )
    for row, cell in enumerate(cells):
        if cell not in known:
            raise UserError(
                f"{block.where(row)}: column {names[place]} is {show(cell)}, but the model tells apart "
                f"{listed([*classes])}; write one of these, or leave the row out"
            )
    return np.array([known[cell] for cell in cells], np.int64)


def numbers(
    block: table_file.Block, places: Sequence[int], names: Sequence[str], alone: bool = False
) -> Array:
    """Return columns of numbers, float64 (N, P), if `alone` all. Raises UserError where a cell is none."""
    if not places:
        return np.empty((len(block.cells(0)), 0))
    found_NP = block.numbers(places, alone)
    if found_NP is None:  # some are in quotes, or rows are too long or short, which is said
        try:
            found_NP = np.array([block.cells(place) for place in places], np.float64).T
        except ValueError:
            raise _odd(block, places, names) from None
    if not (np.abs(found_NP) <= LARGEST).all():
        raise _odd(block, places, names)
    return found_NP


def _odd(block: table_file.Block, places: Sequence[int], names: Sequence[str]) -> UserError:
    """Return the error for the first cell that is no number, by columns."""
    for place in places:
        for row, cell in enumerate(block.cells(place)):
            if not _is_number(cell):
                return UserError(
                    f"{block.where(row)}: column {names[place]} is {show(cell.strip())}, and the model reads "
                    f"finite numbers up to {LARGEST:g}; fill it, or leave the row out"
                )
    return UserError(f"{block.where(0)} or below: no table of numbers; look at its quotes")


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) <= LARGEST
    except ValueError:
        return False


def table_source(
    path: Path, trained: TrainedModel, inputs: str | None, header: bool | None, targets: str | None = None
) -> TableSource:
    """Choose columns of a table.

    Parameters
    ----------
    inputs
        Their names, with commas between them; None: those whose names the model knows, in any order and among
        others; else all but the targets.
    header
        As in `TableSource`.
    targets
        The same of what is right; None: it is not asked for.

    Raises
    ------
    UserError
        They are not as many as the model reads or computes, or one is not there.
    """
    table = DelimitedFile(path, Dialect(header=header))
    right = () if targets is None else _targets(path, trained, table.names, targets)
    known = () if header is False else trained.format.columns
    others = [name for at, name in enumerate(table.names) if at not in right]
    wanted = _names(inputs) if inputs else known or others
    found = chosen(path, table.names, wanted)
    columns = prod(trained.format.input_shape)
    if len(wanted) != columns:
        raise UserError(
            f"{path}: {'--inputs names' if inputs else 'has'} {several(len(wanted), 'column')}, but the "
            f"model reads {columns}: name those by --inputs A,B,... in the order in which it has learned them"
        )
    return TableSource(path, found, header, right)


def _targets(path: Path, trained: TrainedModel, there: Sequence[str], targets: str) -> tuple[int, ...]:
    """Return the places of the columns of what is right."""
    classes = trained.format.outputs == "classes"
    wanted, needed = _names(targets), 1 if classes else trained.network.outputs
    if not targets or len(wanted) != needed:
        raise UserError(
            f"{path}: what is right stands in {several(needed, 'column')}, but --targets names "
            f"{len(wanted) if targets else 'none'}: give {'its name' if needed == 1 else 'their names'}, of "
            f"{listed([*there])}"
        )
    return places_of(path, there, wanted)


def _names(given: str) -> list[str]:
    return [one.strip() for one in given.split(",")]
