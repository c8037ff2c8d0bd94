"""Which images there are: folders of them, one for each class, or a table of paths and labels."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from dbmpi.errors import UserError
from dbmpi.prepare.labels import in_order
from dbmpi.prepare.listing import files_of
from dbmpi.prepare.regular import reason
from dbmpi.prepare.source import SPLITS, TRAIN
from dbmpi.text import show

Item = tuple[str, str, str]  # split, path, class
Listing = Callable[[], Iterator[Item]]  # lists them anew each time: millions of paths need not be kept


def of_folder(folder: Path) -> Iterator[Item]:
    """List the images of `folder/SPLIT/CLASS/*` or `folder/CLASS/*`, and what is below. Raises UserError."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: is no folder; give the folder that holds train/CLASS/* or CLASS/*, or a CSV of paths"
        )
    splits = {name: folder / name for name in SPLITS if (folder / name).is_dir()} or {TRAIN: folder}
    for split, top in splits.items():
        for label in _entries(top):
            if _is_folder(label):
                yield from ((split, path, label.name) for path in _files(label))


def _entries(folder: str | Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """Return what a folder holds, but for hidden names, in order."""
    try:
        with os.scandir(folder) as entries:
            return sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: one.name)
    except OSError as error:
        place = os.fspath(folder)
        raise UserError(f"{place}: cannot be listed: {reason(error)}; leave it out, or mend it") from error


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


def of_table(table: Path) -> Iterator[Item]:
    """List the images of a table, see `listing.files_of`. Raises UserError."""
    for one in files_of(table):
        if not one.label:
            raise UserError(f"{table}: line {one.line}: has no label; write it, or take the line out")
        yield one.split, str(one.path), one.label


def counted(items: Iterator[Item], where: str) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the classes in order, and how many images each split has. Raises UserError, with `where`."""
    first: dict[str, dict[str, str]] = {}  # split -> class -> the first of its images
    rows: Counter[str] = Counter()
    for split, path, label in items:
        first.setdefault(split, {}).setdefault(label, path)
        rows[split] += 1
    names = first.get(TRAIN)
    if not names:
        raise UserError(
            f"{where}: there is no image to train with: give the folder that holds train/CLASS/* or CLASS/*"
        )
    for classes in first.values():
        for label, path in classes.items():
            if label not in names:
                raise UserError(
                    f"{path}: is of the class {show(label)}, of which no training image is; add some, or "
                    "leave it out"
                )
    return in_order(names), dict(rows)
