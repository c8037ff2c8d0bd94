"""Inputs and targets as named arrays of one or several files, which together are one set."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod
from pathlib import Path

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.guess import looks_channels_first
from dbmpi.data.sanity import LARGEST
from dbmpi.errors import UserError
from dbmpi.prepare.labels import Codes
from dbmpi.prepare.source import TRAIN, Batch, Layout, batch_rows
from dbmpi.prepare.stream import Stream, turned
from dbmpi.prepare.streams import opened
from dbmpi.prepare.targets import BEYOND, Targets, check_rows, task_of
from dbmpi.text import listed, nearest, several, show

MOST_AXES = 4  # of inputs
NUMBERS, BYTES, TRUTH = "numbers", "bytes", "truth values"  # kinds of inputs
KINDS = {"u1": BYTES, "b1": TRUTH}
LOOKED_AT = 4096  # targets, to see what they are
MOST_NAMED = 20  # arrays, in a message
MOST_VALUES = 1 << 28  # of a row: its record must fit into memory, several times
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


@dataclass(frozen=True)
class Example:
    """What an example of the first array is, which those of all others must be; `where` that one lies."""

    where: str
    shape: tuple[int, ...]
    kind: str
    targets: Targets

    def check(self, where: str, shape: tuple[int, ...], kind: str, width: int) -> None:
        """Refuse inputs of another shape or type, or another number of targets."""
        ours, theirs = (
            f"{one} of {what} and {several(targets, 'target')}"
            for one, what, targets in (
                (self.shape, self.kind, self.targets.width),
                (shape, kind, width),
            )
        )
        if ours != theirs:
            raise UserError(
                f"{where}: an example has shape {theirs}, but {ours} in {self.where}; write all alike"
            )


class ArraySource:
    """Arrays of files of one kind.

    Raises UserError where an array is missing, or arrays do not fit one another.
    """

    def __init__(self, files: Sequence[Path], wanted: Wanted) -> None:
        self.files, self._wanted, self._groups = files, wanted, Codes()
        self.expected: dict[str, int] = Counter()
        first = self._looked_over(files[0], None)
        for path in files[1:]:
            self._looked_over(path, first)
        self._shape, self._targets = first.shape, first.targets
        self._x_dtype = np.dtype(np.float32 if first.kind == NUMBERS else np.uint8)
        self._scale = 1 / 255 if first.kind == BYTES else 1.0
        fields: list[tuple[str, object, tuple[int, ...]]] = [("x", self._x_dtype, self._shape)]
        fields.append(("y", *self._targets.stored))
        if wanted.groups:
            fields.append(("group", np.int32, ()))
        self.record = np.dtype(fields)

    def _looked_over(self, path: Path, first: Example | None) -> Example:
        """Check the arrays of a file against the first ones of all, count its rows, and return the first."""
        with opened(path) as arrays:
            for split, names in self._wanted.names.items():
                x, y, *groups = self._streams(path, arrays, split)
                self._check_inputs(x, f"{path}: {names[0]}")
                _check_targets(y, x, f"{path}: {names[1]}")
                self.expected[split] += x.shape[0]
                shape, kind = self._shape_of(x.shape[1:]), KINDS.get(x.dtype.str[1:], NUMBERS)
                if first is None:
                    some = next(y.batches(LOOKED_AT), np.zeros((0, *y.shape[1:]), y.dtype))
                    task = self._wanted.task or task_of(some, doubles=path.suffix == ".mat")
                    first = Example(f"{path}: {names[0]}", shape, kind, Targets(task, prod(y.shape[1:])))
                first.check(f"{path}: {names[0]}", shape, kind, prod(y.shape[1:]))
                for one in groups:
                    _check_groups(one, x.shape[0], f"{path}: {self._wanted.groups}")
        assert first is not None
        return first

    def _streams(self, path: Path, arrays: Mapping[str, Stream], split: str) -> list[Stream]:
        """Return inputs, targets and, for training, groups, with rows as their first axis."""
        names = [*self._wanted.names[split]]
        names += [self._wanted.groups] if self._wanted.groups and split == TRAIN else []
        x, *others = (_array(path, arrays, name) for name in names)
        x = turned(x) if self._wanted.rows_last else x
        return [x, *(turned(one) if _lies(one, x.shape[:1]) else one for one in others)]

    def _shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of an example as it is written."""
        if self._wanted.flat:
            return (prod(shape),)
        return (*shape[1:], shape[0]) if self._wanted.channels_first else shape

    def _check_inputs(self, x: Stream, where: str) -> None:
        """Raise UserError unless inputs are numbers of a shape that a network takes."""
        shown = f"{where} has shape {x.shape} and type {x.dtype}"
        if len(x.shape) < 2 or x.dtype.kind not in "uifb":
            raise UserError(
                f"{shown}, not numbers (N, features), (N, H, W) or (N, H, W, C); name another array"
            )
        if len(x.shape) > MOST_AXES and not self._wanted.flat:
            raise UserError(f"{shown}, more than (N, H, W, C); --flat makes (N, features) of it")
        if self._wanted.channels_first and len(x.shape) != MOST_AXES:
            raise UserError(f"{shown}, but --channels-first is of (N, C, H, W); leave it out")
        if self._wanted.channels_first is None and not self._wanted.flat and looks_channels_first(x.shape):
            raise UserError(
                f"{shown}: are images (N, C, H, W)? --channels-first, or else --no-channels-first"
            )
        _check_row(x, where)

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
        streams = self._streams(path, arrays, split)
        for x, y, *groups in zip(*(one.batches(rows) for one in streams), strict=True):
            records = np.zeros(len(x), self.record)
            records["x"] = self._inputs(x, f"{path}: {names[0]}", done)
            records["y"] = self._targets.encode(y, f"{path}: {names[1]}", done)
            for group in groups:
                records["group"] = [self._groups[str(one)] for one in group.reshape(len(group)).tolist()]
            done += len(x)
            yield records

    def _inputs(self, x: Array, where: str, first: int) -> Array:
        if self._wanted.channels_first and x.ndim == 4:
            x = np.moveaxis(x, 1, -1)
        if x.dtype.kind == "f" or x.dtype.itemsize == 8:
            wide = x if x.dtype.kind == "f" and x.dtype.itemsize != 2 else x.astype(np.float64)
            check_rows(np.abs(wide) <= LARGEST, x, where, first, f"{BEYOND}; mend it")
        return x.reshape(len(x), *self._shape)

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
            scale=self._scale,
            notes={"arrays": [f"{split}: {x}, {y}" for split, (x, y) in self._wanted.names.items()]},
        )


def _converted(records: Array, places: Array | None, dtype: np.dtype) -> tuple[Array, Array]:
    y = records["y"]
    return records["x"], (y if places is None else places[y]).astype(dtype)


def _lies(one: Stream, rows: tuple[int, ...]) -> bool:
    """Return whether the rows of an array are its last axis: a row of MATLAB, (1, N)."""
    return one.shape[:1] != rows and one.shape[-1:] == rows


def _check_targets(y: Stream, x: Stream, where: str) -> None:
    if y.dtype.kind not in "uifbUS":
        raise UserError(f"{where} has type {y.dtype}; give labels as integers or texts, or numbers")
    if not y.shape or y.shape[0] != x.shape[0]:
        rows, last = several(y.shape[0] if y.shape else 0, "row"), x.shape[-1] in y.shape
        remedy = "add --rows-last, if its last axis are the rows" if last else "give one for each example"
        raise UserError(f"{where} has {rows}, but the inputs {x.shape[0]}, of shape {x.shape}; {remedy}")
    _check_row(y, where)


def _check_row(array: Stream, where: str) -> None:
    if not 1 <= prod(array.shape[1:]) <= MOST_VALUES:
        raise UserError(
            f"{where} has shape {array.shape}, but a row has from 1 to {MOST_VALUES:,} values; check the file"
        )


def _check_groups(groups: Stream, rows: int, where: str) -> None:
    if groups.dtype.kind not in "uibUS" or groups.shape not in ((rows,), (rows, 1)):
        raise UserError(
            f"{where} has shape {groups.shape} and type {groups.dtype}; give an integer or a text for "
            f"each of the {several(rows, 'row')}"
        )


def _array(path: Path, arrays: Mapping[str, Stream], name: str) -> Stream:
    """Return an array by its name. Raises UserError where there is none, or none that can be used."""
    if name not in arrays:
        raise UserError(
            f"{path}: has no array {show(name)}{nearest(name, arrays)}; it has {_some(arrays) or 'none'}"
        )
    found = arrays[name]
    if found.problem:
        raise UserError(f"{path}: {name} {found.problem}")
    return found


def _some(arrays: Mapping[str, Stream]) -> str:
    """List the names of arrays for a message."""
    more = f" and {len(arrays) - MOST_NAMED:,} more" if len(arrays) > MOST_NAMED else ""
    return listed([*islice(arrays, MOST_NAMED)]) + more
