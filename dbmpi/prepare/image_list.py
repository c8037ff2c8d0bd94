"""Which images there are: folders of them, one for each class, or a table of paths and labels."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dbmpi.errors import UserError
from dbmpi.prepare.listing import Listing, files_of
from dbmpi.prepare.regular import reason
from dbmpi.prepare.source import SPLITS, TRAIN
from dbmpi.prepare.splits import folders_of
from dbmpi.text import several, show


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
            if _is_folder(label):
                for path in _files(label):
                    yield Item(split, path, (label.name,), "", partial(str, path))


def not_listed(folder: Path) -> str:
    """Say what `of_folder` does not list: folders beside those of splits, files beside those of classes."""
    tops = folders_of(folder)
    beside = [] if folder in tops.values() else _entries(folder)
    unused = [one.name for one in beside if _is_folder(one) and folder / one.name not in tops.values()]
    loose = [one.name for top in {folder, *tops.values()} for one in _entries(top) if not _is_folder(one)]
    said = [f"the folder {name}, which is no split" for name in unused]
    if loose:
        some = ", ".join(loose[:MOST_NAMED]) + (", ..." if len(loose) > MOST_NAMED else "")
        said.append(f"{several(len(loose), 'file')} in no folder of a class: {some}")
    return "; ".join(said)


def _entries(folder: str | Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """Return what a folder holds, but for hidden names and what systems leave there, in order."""
    try:
        with os.scandir(folder) as entries:
            seen = [one for one in entries if not one.name.startswith((".", *LEFT_BY_SYSTEMS))]
    except OSError as error:
        place = os.fspath(folder)
        raise UserError(f"{place}: cannot be listed: {reason(error)}; leave it out, or mend it") from error
    return sorted(seen, key=lambda one: one.name)


def _files(folder: os.DirEntry[str]) -> Iterator[str]:
    """List what lies in a folder and below it, but for folders that links lead to; all may be no images."""
    for one in _entries(folder):
        if one.is_dir(follow_symlinks=False):
            yield from _files(one)
        elif not _is_folder(one):
            yield one.path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a folder, or a link to one; a link that leads nowhere is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def of_table(table: Path, listing: Listing) -> Iterator[Item]:
    """List the images of a table, see `listing.files_of`. Raises UserError."""
    for one in files_of(table, listing):
        yield Item(one.split, str(one.path), one.labels, one.group, one.where)


def counted(items: Iterator[Item], classes: bool, where: str) -> tuple[set[str], dict[str, int]]:
    """Return the classes, if they are `classes`, and how many images each split has.

    Raises UserError, by `where`, if none is to train with; or, of classes, if an image has no label, or a
    class that no image to train with has.
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
            f"{where}: there is no image to train with: give the folder that holds train/CLASS/* or CLASS/*, "
            "or a CSV of paths and labels"
        )
    for split in SPLITS[1:]:
        for label, path in first.get(split, {}).items():
            if label not in names:
                raise UserError(
                    f"{path}: is of the class {show(label)}, of which no training image is; add some, or "
                    "leave it out"
                )
    return {*names}, dict(rows)
