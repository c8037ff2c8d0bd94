"""Files that are listed in a table: where each lies, its labels and, if it has them, its split and group."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dbmpi.errors import UserError
from dbmpi.prepare.delimited import DelimitedFile, Dialect
from dbmpi.prepare.source import SPLITS, TRAIN
from dbmpi.prepare.splits import split_of
from dbmpi.text import listed, nearest, show

# How others call the columns.
PATHS = "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "wav"
LABELS = "label", "labels", "class", "category", "target", "tags"
SPLIT_NAMES = "split", "subset", "set"
GROUPS = ("group",)


class Listed(NamedTuple):
    """A file; the group is empty where the table has none. `where` names its line."""

    path: Path
    labels: tuple[str, ...]
    split: str
    group: str
    where: Callable[[], str]


@dataclass(frozen=True)
class Listing:
    """What the command line says about a table of files.

    Attributes
    ----------
    path
        Name of the column of paths, or a path with such names in braces, as "images/{id}.jpg".
    labels
        Names of the columns of labels.
    split, group
        Names of these columns.

    What is None, or has none, is found by the names that others give.
    """

    path: str | None = None
    labels: Sequence[str] = ()
    split: str | None = None
    group: str | None = None


def labels_of(table: Path, listing: Listing) -> list[str]:
    """Return the names of the columns of labels. Raises UserError."""
    return [*listing.labels] or [_usual(LABELS, "--label", _opened(table))]


def files_of(table: Path, listing: Listing = Listing()) -> Iterator[Listed]:
    """Yield what a table lists. A relative path starts at the folder of the table. Raises UserError."""
    file = _opened(table)
    path = listing.path or _usual(PATHS, "--path", file)
    template = path if "{" in path else f"{{{path}}}"
    labels = labels_of(table, listing)
    split, group = listing.split or _first(SPLIT_NAMES, file), listing.group or _first(GROUPS, file)
    for name in [*re.findall(r"\{(.*?)\}", template), *labels, *(one for one in (split, group) if one)]:
        if name not in file.names:
            meant = nearest(name, file.names)
            raise UserError(f"{table}: has no column {show(name)}{meant}; it has {listed(file.names)}")
    for block in file.blocks():
        cells = {name: block.cells(at) for at, name in enumerate(file.names)}
        for row in range(len(cells[labels[0]])):
            said = {name: column[row].strip() for name, column in cells.items()}
            where = partial(block.where, row)
            yield Listed(
                table.parent / _path(template, said, where),
                tuple(said[name] for name in labels),
                _split(said[split], where) if split else TRAIN,
                said[group] if group else "",
                where,
            )


def _opened(table: Path) -> DelimitedFile:
    if not table.exists():
        raise UserError(
            f"{table}: cannot be read as a CSV of paths and labels: there is no such file or folder"
        )
    return DelimitedFile(table, Dialect(header=True))


def _usual(names: Sequence[str], option: str, file: DelimitedFile) -> str:
    """Return the one column that has a usual name. Raises UserError where none has, or several."""
    found = [name for name in file.names if name.lower() in names]
    if len(found) != 1:
        problem = f"has the columns {listed(found)}" if found else f"has no column {names[0]}"
        raise UserError(f"{file.path}: {problem}: which is meant? {option} NAME; it has {listed(file.names)}")
    return found[0]


def _first(names: Sequence[str], file: DelimitedFile) -> str | None:
    return next((name for name in file.names if name.lower() in names), None)


def _path(template: str, said: dict[str, str], where: Callable[[], str]) -> str:
    empty = [name for name in re.findall(r"\{(.*?)\}", template) if not said[name]]
    if empty:
        raise UserError(f"{where()}: has no {empty[0]}; write it, or take the line out")
    return re.sub(r"\{(.*?)\}", lambda match: said[match[1]], template)


def _split(word: str, where: Callable[[], str]) -> str:
    split = split_of(word) if word else TRAIN
    if split is None:
        raise UserError(f"{where()}: the split is {show(word)}; it must be {listed([*SPLITS])}")
    return split
