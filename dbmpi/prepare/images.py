"""Images that are listed, read by several processes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare.image_list import Item, Listing, counted
from dbmpi.prepare.picture import Form, NoPicture, read_picture
from dbmpi.prepare.pool import mapped
from dbmpi.prepare.source import Batch, Layout, smallest_dtype
from dbmpi.text import several

TASK, TASK_BYTES = 32, 32 << 20  # images in a task of a process, at most
MOST_NAMED = 5  # of what was left out, in the data file


class ImageSource:
    """Images that are listed.

    Parameters
    ----------
    listing
        Of `image_list.of_folder` or `of_table`.
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
        self._names, self.expected = counted(listing(), str(files[0]))
        self._same_size = form.size is None
        self._form = form if form.size else replace(form, size=_first_size(listing(), form, str(files[0])))
        self._shape = self._form.shape
        self.record = np.dtype([("x", np.uint8, self._shape), ("y", np.int32)])
        self._problems: list[str] = []
        self._left_out = 0

    def batches(self) -> Iterator[Batch]:
        """Yield all images that can be read."""
        numbers = {name: number for number, name in enumerate(self._names)}
        images = (self._numbered(item, numbers) for item in self._listing())
        work = partial(read_some, form=self._form, same_size=self._same_size)
        for x, y, splits, problems in mapped(work, _tasks(images, self.record.itemsize), self._jobs):
            self._leave_out(problems)
            records = np.empty(len(y), self.record)
            records["x"], records["y"] = x, y
            for split in np.unique(splits):
                yield str(split), records[splits == split]

    def _numbered(self, item: Item, numbers: Mapping[str, int]) -> tuple[str, str, int]:
        """Return an image with the number of its class. Raises UserError for one that is new."""
        split, path, label = item
        if label not in numbers or split not in self.expected:
            raise UserError(f"{path}: has come since reading began; leave {self.files[0]} alone meanwhile")
        return split, path, numbers[label]

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


Task = list[tuple[str, str, int]]  # split, path, label


def _tasks(images: Iterator[tuple[str, str, int]], image_bytes: int) -> Iterator[Task]:
    while task := [*islice(images, max(1, min(TASK, TASK_BYTES // image_bytes)))]:
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


def _first_size(items: Iterator[Item], form: Form, where: str) -> tuple[int, int]:
    """Return the height and width of the first image that can be read. Raises UserError if there is none."""
    for _, path, _ in items:
        try:
            height, width = read_picture(path, form).shape[:2]
        except NoPicture:
            continue
        return height, width
    raise UserError(f"{where}: none of the files can be read as an image; give a folder of images")
