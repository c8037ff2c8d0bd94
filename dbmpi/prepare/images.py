"""Folders of images, one for each class, or a table of paths and labels."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare.labels import in_order
from dbmpi.prepare.picture import Form, NoPicture, read_picture
from dbmpi.prepare.pool import mapped
from dbmpi.prepare.source import SPLITS, TRAIN, Batch, Layout, smallest_dtype
from dbmpi.text import listed, several, show

TASK = 32  # images in a task of a process
MOST_NAMED = 5  # of what was left out, in the data file
Item = tuple[str, Path, str]  # split, path, class
Listing = Callable[[], Iterator[Item]]  # lists them anew each time: millions of paths need not be kept


class ImageSource:
    """Images that are listed.

    Parameters
    ----------
    listing
        Of `of_folder` or `of_table`.
    form
        What the images are made to be; without a size they must all have that of the first one.
    jobs
        Processes that decode.
    strict
        Whether one that cannot be read is an error; else it is left out.
    files
        What they are listed by.

    Raises
    ------
    UserError
        There is no image to train with, or a class that no training image has.
    """

    def __init__(self, listing: Listing, form: Form, jobs: int, strict: bool, files: Sequence[Path]) -> None:
        self._listing, self._jobs, self._strict, self.files = listing, jobs, strict, files
        self._names, self.expected = _counted(listing())
        self._same_size = form.size is None
        self._form = form if form.size else replace(form, size=_first_size(listing(), form))
        self._shape = self._form.shape
        self.record = np.dtype([("x", np.uint8, self._shape), ("y", np.int32)])
        self._problems: list[str] = []
        self._left_out = 0

    def batches(self) -> Iterator[Batch]:
        """Yield all images that can be read."""
        numbers = {name: number for number, name in enumerate(self._names)}
        images = ((split, path, numbers[label]) for split, path, label in self._listing())
        work = partial(read_some, form=self._form, same_size=self._same_size)
        for x, y, splits, problems in mapped(work, _tasks(images), self._jobs):
            self._leave_out(problems)
            records = np.empty(len(y), self.record)
            records["x"], records["y"] = x, y
            for split in np.unique(splits):
                yield str(split), records[splits == split]

    def _leave_out(self, problems: list[str]) -> None:
        if problems and self._strict:
            raise UserError(f"{problems[0]}; without --strict it is left out")
        self._left_out += len(problems)
        self._problems += problems[: MOST_NAMED - len(self._problems)]

    def layout(self) -> Layout:
        """Return that images are kept as bytes, 0 to 255 for 0 to 1."""
        y_dtype, notes = (
            smallest_dtype(len(self._names)),
            {"fit": self._form.fit, "jpeg": "by Pillow, draft()"},
        )
        if self._left_out:
            notes["left_out"] = f"{several(self._left_out, 'image')}: {'; '.join(self._problems)}"
        return Layout(
            x_shape=self._shape,
            x_dtype=np.dtype(np.uint8),
            y_shape=(),
            y_dtype=y_dtype,
            convert=lambda records: (records["x"], records["y"].astype(y_dtype)),
            class_names=self._names,
            scale=1 / 255,
            notes=notes,
        )


Task = list[tuple[str, Path, int]]  # split, path, label


def _tasks(images: Iterator[tuple[str, Path, int]]) -> Iterator[Task]:
    while task := [*islice(images, TASK)]:
        yield task


def read_some(images: Task, form: Form, same_size: bool) -> tuple[Array, Array, Array, list[str]]:
    """Read images.

    Returns
    -------
    uint8 array (B, H, W) or (B, H, W, 3), int array (B,), array of str (B,), list of str
        What could be read, with its labels and splits; and what is wrong with each of the others.

    Raises
    ------
    UserError
        All are to have the `same_size`, that of the form, and one has another.
    """
    found, labels, splits, problems = [], [], [], []
    for split, path, label in images:
        try:
            picture = read_picture(path, replace(form, size=None) if same_size else form)
        except NoPicture as problem:
            problems.append(f"{path}: cannot be read as an image ({problem})")
            continue
        if picture.shape != form.shape:
            size, first = ("x".join(map(str, shape[1::-1])) for shape in (picture.shape, form.shape))
            raise UserError(
                f"{path}: has {size} pixels, the first image {first}: make all of one size, --size {first}"
            )
        found.append(picture)
        labels.append(label)
        splits.append(split)
    x = np.array(found, np.uint8).reshape(-1, *form.shape)
    return x, np.array(labels, np.int32), np.array(splits, str), problems


def of_folder(folder: Path) -> Iterator[Item]:
    """List the images of `folder/SPLIT/CLASS/*` or `folder/CLASS/*`, and what is below. Raises UserError."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: is no folder; give the folder that holds train/CLASS/* or CLASS/*, or a CSV of paths"
        )
    splits = {name: folder / name for name in SPLITS if (folder / name).is_dir()} or {TRAIN: folder}
    for split, top in splits.items():
        for label in _entries(top):
            if label.is_dir():
                yield from ((split, Path(path), label.name) for path in _files(label))


def _entries(folder: str | Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """Return what a folder holds, but for hidden names, in order."""
    with os.scandir(folder) as entries:
        return sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: one.name)


def _files(folder: os.DirEntry[str]) -> Iterator[str]:
    for one in _entries(folder):
        if one.is_dir(follow_symlinks=False):
            yield from _files(one)
        elif one.is_file():
            yield one.path


def of_table(path: Path) -> Iterator[Item]:
    """List the images of a CSV with the columns path and label, and split if it has one. Raises UserError.

    A relative path starts at the folder of the table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = [name for name in ("path", "label") if name not in (rows.fieldnames or ())]
            if missing:
                raise UserError(
                    f"{path}: has no column {listed(missing)}; line 1 must name them, as in path,label,split"
                )
            for row in rows:
                yield _item(row, path, rows.line_num)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a CSV of paths and labels: {error}") from error


def _item(row: Mapping[str, str], table: Path, line: int) -> Item:
    split = row.get("split") or TRAIN
    if split not in SPLITS:
        raise UserError(f"{table}: line {line}: the split is {show(split)}; it must be {listed([*SPLITS])}")
    if not row["path"] or not row["label"]:
        raise UserError(f"{table}: line {line}: has no path or no label; write both, or take the line out")
    return split, table.parent / row["path"], row["label"]


def _counted(items: Iterator[Item]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the classes in order, and how many images each split has. Raises UserError."""
    first: dict[str, dict[str, Path]] = {}  # split -> class -> the first of its images
    rows: Counter[str] = Counter()
    for split, path, label in items:
        first.setdefault(split, {}).setdefault(label, path)
        rows[split] += 1
    names = first.get(TRAIN)
    if not names:
        raise UserError(
            "there is no image to train with: give the folder that holds train/CLASS/* or CLASS/*"
        )
    for classes in first.values():
        for label, path in classes.items():
            if label not in names:
                raise UserError(
                    f"{path}: is of the class {show(label)}, of which no training image is; add some, or "
                    "leave it out"
                )
    return in_order(names), dict(rows)


def _first_size(items: Iterator[Item], form: Form) -> tuple[int, int]:
    """Return the height and width of the first image that can be read. Raises UserError if there is none."""
    for _, path, _ in items:
        try:
            height, width = read_picture(path, form).shape[:2]
        except NoPicture:
            continue
        return height, width
    raise UserError("none of the files can be read as an image; give a folder of images")
