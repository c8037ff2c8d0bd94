"""Which images there are: folders of them, one for each class, or a table of paths and labels."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dbmpi.errors import UserError
from dbmpi.prepare.listing import Listing, files_of
from dbmpi.prepare.source import SPLITS, TRAIN
from dbmpi.prepare.splits import folders_of
from dbmpi.text import listed, several, show


class Item(NamedTuple):
    """An image: what the listing says of it. `where` names the place that says it."""

    split: str
    path: str
    labels: tuple[str, ...]
    group: str
    where: Callable[[], str]


Items = Callable[[], Iterator[Item]]  # lists them anew each time: millions of paths need not be kept
LEFT_BY_SYSTEMS = "Thumbs.db", "desktop.ini", "__MACOSX"
MOST_NAMED = 3  # files that lie beside the folders


def of_folder(folder: Path) -> Iterator[Item]:
    """List the images of `folder/SPLIT/CLASS/*` or `folder/CLASS/*`, and what is below. Raises UserError."""
    for split, top in folders_of(folder).items():
        for label in _entries(top):
            if label.is_dir():
                for path in _files(label):
                    yield Item(split, path, (label.name,), "", partial(str, path))


def not_listed(folder: Path) -> str:
    """Say what `of_folder` does not list: folders beside those of splits, files beside those of classes."""
    tops = folders_of(folder)
    unused = (
        [one.name for one in _entries(folder) if one.is_dir()]
        if TRAIN in tops and tops[TRAIN] != folder
        else []
    )
    unused = [name for name in unused if folder / name not in tops.values()]
    loose = [one.name for top in {folder, *tops.values()} for one in _entries(top) if one.is_file()]
    said = [f"the folder {name}, which is no split" for name in unused]
    if loose:
        some = listed(loose[:MOST_NAMED]) + (", ..." if len(loose) > MOST_NAMED else "")
        said.append(f"{several(len(loose), 'file')} in no folder of a class: {some}")
    return "; ".join(said)


def _entries(folder: str | Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """Return what a folder holds, but for hidden names and what systems leave there, in order."""
    with os.scandir(folder) as entries:
        seen = (one for one in entries if not one.name.startswith(".") and one.name not in LEFT_BY_SYSTEMS)
        return sorted(seen, key=lambda one: one.name)


def _files(folder: os.DirEntry[str]) -> Iterator[str]:
    for one in _entries(folder):
        if one.is_dir(follow_symlinks=False):
            yield from _files(one)
        elif one.is_file():
            yield one.path


def of_table(table: Path, listing: Listing) -> Iterator[Item]:
    """List the images of a table, see `listing.files_of`. Raises UserError."""
    for one in files_of(table, listing):
        yield Item(one.split, str(one.path), one.labels, one.group, one.where)


def counted(items: Iterator[Item], classes: bool) -> dict[str, int]:
    """Return how many images each split has.

    Raises UserError where none is to train with; or, where their label is of `classes`, one has no label, or
    a class that no image to train with has.
    """
    first: dict[str, dict[str, str]] = {}  # split -> class -> the first of its images
    rows: Counter[str] = Counter()
    for one in items:
        if classes and not one.labels[0]:
            raise UserError(f"{one.where()}: has no label; write it, or take the line out")
        first.setdefault(one.split, {}).setdefault(one.labels[0] if classes else "", one.path)
        rows[one.split] += 1
    names = first.get(TRAIN)
    if not names:
        raise UserError(
            "there is no image to train with: give the folder that holds train/CLASS/* or CLASS/*, or a CSV "
            "of paths and labels"
        )
    for split in SPLITS[1:]:
        for label, path in first.get(split, {}).items():
            if label not in names:
                raise UserError(
                    f"{path}: is of the class {show(label)}, of which no training image is; add some, or "
                    "leave it out"
                )
    return dict(rows)
