"""Inputs and targets as named arrays of one or several files, which together are one set."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.guess import looks_channels_first
from dbmpi.errors import UserError
from dbmpi.prepare.columns import LARGEST
from dbmpi.prepare.labels import Codes
from dbmpi.prepare.source import TRAIN, Batch, Layout, batch_rows
from dbmpi.prepare.streams import Stream, opened
from dbmpi.prepare.targets import Targets, task_of
from dbmpi.text import listed, nearest, several, show

MOST_AXES = 4  # of inputs
LOOKED_AT = 4096  # targets, to see what they are
Names = Mapping[str, tuple[str, str]]  # split -> names of inputs and targets


@dataclass(frozen=True)
class Wanted:
    """What the command line says about arrays.

    Attributes
    ----------
    names
        Of the inputs and targets of each split.
    groups
        Name of an array of the training rows: those with the same value stay in one split; or None.
    channels_first, rows_last, flat
        Whether images are (N, C, H, W), None to refuse what looks so; rows of inputs are their last axis; the
        axes of a row become one.
    task
        One of `targets.TASKS`; None to see by the first targets.
    """

    names: Names
    groups: str | None = None
    channels_first: bool | None = None
    rows_last: bool = False
    flat: bool = False
    task: str | None = None


class ArraySource:
    """Arrays of files of one kind.

    Raises UserError where an array is missing, or arrays do not fit one another.
    """

    def __init__(self, files: Sequence[Path], wanted: Wanted) -> None:
        self.files, self._wanted, self._groups = files, wanted, Codes()
        self.expected: dict[str, int] = Counter()
        shapes = [self._looked_over(path) for path in files]
        self._shape, self._x_dtype, self._targets = shapes[0]
        for path, (shape, _, targets) in zip(files, shapes, strict=True):
            if (shape, targets.width) != (self._shape, self._targets.width):
                raise UserError(
                    f"{path}: has examples of another shape than {files[0]}: {shape}, not {self._shape}"
                )
        fields: list[tuple[str, object, tuple[int, ...]]] = [("x", self._x_dtype, self._shape)]
        fields.append(("y", *self._targets.stored))
        if wanted.groups:
            fields.append(("group", np.int32, ()))
        self.record = np.dtype(fields)

    def _looked_over(self, path: Path) -> tuple[tuple[int, ...], np.dtype, Targets]:
        """Return the shape and type of an example of a file, and what its targets are; count its rows."""
        with opened(path) as arrays:
            for split, names in self._wanted.names.items():
                x, y, *_ = self._streams(path, arrays, names)
                self._check(x, f"{path}: {names[0]}")
                if y.shape[0] != x.shape[0]:
                    raise UserError(f"{path}: {_of_other_rows(names, x, y)}")
                self.expected[split] += x.shape[0]
            x, y, *_ = self._streams(path, arrays, self._wanted.names[TRAIN])
            some = next(y.batches(LOOKED_AT), np.zeros((0, *y.shape[1:]), y.dtype))
        shape = (
            (*x.shape[2:], x.shape[1]) if self._wanted.channels_first and len(x.shape) == 4 else x.shape[1:]
        )
        shape = (int(np.prod(shape)),) if self._wanted.flat else shape
        x_dtype = np.dtype(np.uint8 if x.dtype in (np.uint8, np.bool_) else np.float32)
        return (
            shape,
            x_dtype,
            Targets(
                self._wanted.task or task_of(some, doubles=path.suffix == ".mat"),
                int(np.prod(y.shape[1:], dtype=int)),
            ),
        )

    def _streams(self, path: Path, arrays: Mapping[str, Stream], names: Sequence[str]) -> list[Stream]:
        """Return the arrays of names, the inputs first, with rows as their first axis."""
        x, *others = (_array(path, arrays, name) for name in names)
        x = x.turned() if self._wanted.rows_last else x
        return [x, *(one.turned() if _lies(one, x.shape[:1]) else one for one in others)]

    def _check(self, x: Stream, where: str) -> None:
        """Raise UserError unless inputs are rows of numbers, of a shape that a network takes."""
        if len(x.shape) < 2 or x.dtype.kind not in "uifb":
            raise UserError(f"{where} has shape {x.shape} and type {x.dtype}, not numbers (N, ...)")
        if len(x.shape) > MOST_AXES and not self._wanted.flat:
            raise UserError(
                f"{where} has shape {x.shape}, more than (N, H, W, C); --flat makes (N, features) of it"
            )
        if self._wanted.channels_first is None and looks_channels_first(x.shape):
            raise UserError(
                f"{where} has shape {x.shape}: are images (N, C, H, W)? --channels-first, or else "
                "--no-channels-first"
            )

    def batches(self) -> Iterator[Batch]:
        """Yield all rows, file by file."""
        for path in self.files:
            with opened(path) as arrays:
                for split, names in self._wanted.names.items():
                    yield from ((split, records) for records in self._records(path, arrays, split, names))

    def _records(
        self, path: Path, arrays: Mapping[str, Stream], split: str, names: tuple[str, str]
    ) -> Iterator[Array]:
        rows, done = batch_rows(self.record), 0
        wanted = [*names, self._wanted.groups] if self._wanted.groups and split == TRAIN else [*names]
        streams = self._streams(path, arrays, wanted)
        for x, y, *groups in zip(*(one.batches(rows) for one in streams), strict=True):
            where = f"{path}: {names[1]}, rows {done} to {done + len(y) - 1}"
            records = np.zeros(len(x), self.record)
            records["x"] = self._inputs(x, f"{path}: {names[0]}, rows {done} to {done + len(x) - 1}")
            records["y"] = self._targets.encode(y, where)
            for group in groups:
                records["group"] = [self._groups[str(one)] for one in group.reshape(len(group)).tolist()]
            done += len(x)
            yield records

    def _inputs(self, x: Array, where: str) -> Array:
        if self._wanted.channels_first and x.ndim == 4:
            x = np.moveaxis(x, 1, -1)
        x = x.reshape(len(x), *self._shape)
        if self._x_dtype == np.float32 and not (np.abs(x) <= LARGEST).all():
            raise UserError(f"{where}: not all values are finite, as 32 bits hold them; mend them")
        return x

    def layout(self) -> Layout:
        """Return that inputs and targets are kept, but for classes, which are numbered."""
        names, places = self._targets.named()
        dtype = self._targets.dtype()
        return Layout(
            x_shape=self._shape,
            x_dtype=self._x_dtype,
            y_shape=self._targets.stored[1],
            y_dtype=dtype,
            convert=partial(_converted, places=places, dtype=dtype),
            class_names=names,
            scale=1 / 255 if self._x_dtype == np.uint8 else 1.0,
            notes={"arrays": [f"{split}: {x}, {y}" for split, (x, y) in self._wanted.names.items()]},
        )


def _converted(records: Array, places: Array | None, dtype: np.dtype) -> tuple[Array, Array]:
    y = records["y"]
    return records["x"], (y if places is None else places[y]).astype(dtype)


def _lies(one: Stream, rows: tuple[int, ...]) -> bool:
    """Return whether the rows of an array are its last axis: a row of MATLAB, (1, N)."""
    return one.shape[:1] != rows and one.shape[-1:] == rows


def _of_other_rows(names: tuple[str, str], x: Stream, y: Stream) -> str:
    said = f"{names[1]} has {several(y.shape[0], 'row')}, but {names[0]} {x.shape[0]}"
    if x.shape[-1] == max(y.shape):
        return f"{said} (shape {x.shape}); add --rows-last if its last axis are the rows"
    return f"{said}; are they of the same rows?"


def _array(path: Path, arrays: Mapping[str, Stream], name: str) -> Stream:
    if name not in arrays:
        raise UserError(
            f"{path}: has no array {show(name)}{nearest(name, arrays)}; it has {listed([*arrays]) or 'none'}"
        )
    return arrays[name]
