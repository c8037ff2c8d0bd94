"""The inputs of a model among the columns of a table, by name: numbers, and a 0 or 1 for each text. Pure.

Shape letters: N rows, I inputs, P inputs that are numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare.cells import AS_PYTHON
from dbmpi.prepare.columns import MISSING_CATEGORY
from dbmpi.prepare.table_file import Block
from dbmpi.text import listed, nearest, show

IS = "="  # of the name of an input: the column, and the text that it is 1 for


class Input(NamedTuple):
    """An input: a column of numbers, or whether the cell of a column is a text."""

    place: int
    text: str | None = None


def chosen(path: Path, there: Sequence[str], wanted: Sequence[str]) -> tuple[Input, ...]:
    """Return the inputs of some names, as `dbmpi.prepare table` gives them, among the columns of a table.

    Raises
    ------
    UserError
        There is no such column.
    """
    places = {name: place for place, name in enumerate(there)}
    return tuple(_chosen(path, places, name) for name in wanted)


def _chosen(path: Path, places: dict[str, int], wanted: str) -> Input:
    if wanted in places:
        return Input(places[wanted])
    parts = wanted.split(IS)
    for first in range(len(parts) - 1, 0, -1):  # names and texts may have the sign, too
        if (column := IS.join(parts[:first])) in places:
            return Input(places[column], IS.join(parts[first:]))
    raise UserError(
        f"{path}: has no column {show(parts[0])}{nearest(parts[0], places)}, which the model reads; it has "
        f"{listed([*places])}; name those that it reads by --inputs A,B,... in the order in which it has "
        "learned them"
    )


def places_of(path: Path, there: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Return the places of columns. Raises UserError where there is none of a name."""
    for name in wanted:
        if name not in there:
            raise UserError(
                f"{path}: has no column {show(name)}{nearest(name, there)}; it has {listed([*there])}"
            )
    return tuple(there.index(name) for name in wanted)


class Texts:
    """The columns of texts among inputs."""

    def __init__(self, inputs: Sequence[Input], names: Sequence[str]) -> None:
        self._inputs, self._names = len(inputs), names
        self._numbers = [at for at, one in enumerate(inputs) if one.text is None]
        self._known: dict[int, dict[str, int]] = {}
        for at, one in enumerate(inputs):
            if one.text is not None:
                self._known.setdefault(one.place, {})[one.text] = at

    def filled(self, block: Block, numbers_NP: Array) -> Array:
        """Return all inputs of a block, float64 (N, I), by those that are numbers.

        Raises
        ------
        UserError
            A text is none that the model has learned from.
        """
        x_NI = np.zeros((len(numbers_NP), self._inputs))
        x_NI[:, self._numbers] = numbers_NP
        for place, known in self._known.items():
            for row, cell in enumerate(block.cells(place)):
                text = MISSING_CATEGORY if AS_PYTHON.is_missing(cell.strip()) else cell.strip()
                if text not in known:
                    raise UserError(
                        f"{block.where(row)}: column {self._names[place]} is {show(cell.strip())}, but the "
                        f"model has learned from {listed([*known])}; write one of these, or leave the row out"
                    )
                x_NI[row, known[text]] = 1
        return x_NI
