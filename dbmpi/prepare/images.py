"""Images that are listed, read by several processes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare.columns import CATEGORY, BadCell, Texts
from dbmpi.prepare.image_list import Item, Items, counted
from dbmpi.prepare.labels import Codes
from dbmpi.prepare.picture import Form, NoPicture, read_picture
from dbmpi.prepare.pool import mapped
from dbmpi.prepare.source import Batch, Layout
from dbmpi.prepare.target_columns import TargetColumns
from dbmpi.text import several, show

TASK, TASK_BYTES = 32, 32 << 20  # images in a task of a process, at most
MOST_NAMED = 5  # of what was left out, in the data file
WHERE = "paths of a CSV start at its folder, and --path 'FOLDER/{NAME}' says of a column where its files lie"


class ImageSource:
    """Images that are listed.

    Parameters
    ----------
    items
        Of `image_list.of_folder` or `of_table`.
    targets
        What their labels are.
    grouped
        Whether images of one group stay in one split.
    form
        What the images are made to be; without a size they must all have that of the first one.
    jobs
        Processes that decode.
    strict
        Whether one that cannot be read is an error; else it is left out.
    files
        What they are listed by.
    left_out
        What is not listed, if anything.

    Raises
    ------
    UserError
        There is no image to train with, or a class that no training image has.
    """

    def __init__(
        self,
        items: Items,
        targets: TargetColumns,
        grouped: bool,
        form: Form,
        jobs: int,
        strict: bool,
        files: Sequence[Path],
        left_out: str = "",
    ) -> None:
        self._items, self._targets, self._groups = items, targets, Codes() if grouped else None
        self._jobs, self._strict, self.files = jobs, strict, files
        self._names, self.expected = counted(items(), targets.kind == CATEGORY, str(files[0]))
        self._same_size = form.size is None
        self._form = form if form.size else replace(form, size=_first_size(items(), form, str(files[0])))
        self._shape = self._form.shape
        fields: list[tuple[str, object, tuple[int, ...]]] = [("y", *targets.record)]
        fields += [("group", np.int32, ())] if grouped else []
        self._said = np.dtype(fields)
        self.record = np.dtype([("x", np.uint8, self._shape), *fields])
        self._problems: list[str] = []
        self._left_out, self._not_listed = 0, left_out

    def batches(self) -> Iterator[Batch]:
        """Yield all images that can be read."""
        work = partial(read_some, form=self._form, same_size=self._same_size)
        for x, said, splits, problems in mapped(work, self._tasks(), self._jobs):
            self._leave_out(problems)
            records = np.empty(len(said), self.record)
            records["x"] = x
            for name in self._said.names or ():
                records[name] = said[name]
            for split in np.unique(splits):
                yield str(split), records[splits == split]
        if self._left_out == sum(self.expected.values()):
            raise UserError(f"{self.files[0]}: none of the images can be read: {self._problems[0]}; {WHERE}")

    def _tasks(self) -> Iterator["Task"]:
        items, most = self._items(), max(1, min(TASK, TASK_BYTES // self.record.itemsize))
        while some := [*islice(items, most)]:
            self._check_unchanged(some)
            said = np.zeros(len(some), self._said)
            said["y"] = self._targets_of(some)
            if self._groups is not None:
                said["group"] = [self._groups[one.group] for one in some]
            yield [one.split for one in some], [one.path for one in some], said

    def _check_unchanged(self, items: Sequence[Item]) -> None:
        """Raise UserError for an image of a split or a class that is new."""
        classes = self._targets.kind == CATEGORY
        new = [
            one.path
            for one in items
            if one.split not in self.expected or (classes and one.labels[0] not in self._names)
        ]
        if new:
            raise UserError(f"{new[0]}: has come since reading began; leave {self.files[0]} alone meanwhile")

    def _targets_of(self, items: Sequence[Item]) -> Array:
        """Return the targets of some images, as records have them. Raises UserError."""
        if self._targets.kind == CATEGORY:
            return np.array([self._targets.codes[one.labels[0]] for one in items], np.int32)
        try:
            columns = zip(
                self._targets.columns, zip(*(one.labels for one in items), strict=True), strict=True
            )
            found = {column.name: column.values(cells) for column, cells in columns}
        except BadCell as bad:
            raise UserError(f"{items[bad.row].where()}: {show(bad.name)} {bad.problem}") from None
        codes = self._targets.codes
        return self._targets.of(
            {name: one.coded(codes) if isinstance(one, Texts) else one for name, one in found.items()}
        )

    def _leave_out(self, problems: list[str]) -> None:
        if problems and self._strict:
            raise UserError(f"{problems[0]}; without --strict it is left out")
        self._left_out += len(problems)
        self._problems += problems[: MOST_NAMED - len(self._problems)]

    def layout(self) -> Layout:
        """Return that images are kept as bytes, 0 to 255 for 0 to 1."""
        targets, notes = self._targets.stored(), {"fit": self._form.fit, "jpeg": "by Pillow, draft()"}
        left_out = [self._not_listed] if self._not_listed else []
        if self._left_out:
            left_out.append(f"{several(self._left_out, 'image')}: {'; '.join(self._problems)}")
        if left_out:
            notes["left_out"] = "; ".join(left_out)
        return Layout(
            x_shape=self._shape,
            x_dtype=np.dtype(np.uint8),
            y_shape=targets.shape,
            y_dtype=targets.dtype,
            convert=lambda records: (records["x"], targets.convert(records["y"])),
            class_names=targets.class_names,
            scale=1 / 255,
            notes=notes,
        )


Task = tuple[list[str], list[str], Array]  # of images: their splits, their paths, and what is said of them


def read_some(images: Task, form: Form, same_size: bool) -> tuple[Array, Array, Array, list[str]]:
    """Read images.

    Returns
    -------
    uint8 array (B, H, W) or (B, H, W, 3), structured array (B,), array of str (B,), list of str
        What could be read, with what is said of it, and its splits; what is wrong with each of the others.

    Raises
    ------
    UserError
        All are to have the `same_size`, that of the form, and one has another.
    """
    splits, paths, said = images
    found, kept, problems = [], [], []
    for number, path in enumerate(paths):
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
        kept.append(number)
    x = np.array(found, np.uint8).reshape(-1, *form.shape)
    return x, said[kept], np.array(splits, str)[kept], problems


def _first_size(items: Iterator[Item], form: Form, where: str) -> tuple[int, int]:
    """Return the height and width of the first image that can be read. Raises UserError if there is none."""
    first = ""
    for one in items:
        try:
            height, width = read_picture(one.path, form).shape[:2]
        except NoPicture as problem:
            first = first or f"{one.path}: cannot be read as an image ({problem})"
            continue
        return height, width
    raise UserError(f"{where}: none of the images can be read: {first}; {WHERE}")
