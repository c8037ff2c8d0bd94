"""One split (train or test) of a data file: opened without locks, checked, read in ranges of rows.

Only what is asked for is read: files larger than memory work. Letters: N rows, I input columns, T targets,
H rows, W columns and C channels of an image.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from math import prod
from pathlib import Path

import h5py
import numpy as np

from dbmpi.data import digits
from dbmpi.data.factors import Factor, factor, of_box
from dbmpi.data.fields import View, plain
from dbmpi.data.hdf5 import (
    attribute,
    check_rows,
    class_names,
    columns_of,
    examined_x,
    examined_y,
    explain_errors,
    opened,
    read_dtype,
)
from dbmpi.data.labels import Labels, is_text
from dbmpi.data.rows import Rows
from dbmpi.data.sanity import LARGEST, check_binary, check_labels, check_values, check_weights
from dbmpi.data.sources import Sources
from dbmpi.data.stretches import CutRows, places_of
from dbmpi.errors import UserError
from dbmpi.layout.boxes import Box, Range, extents, volume, whole


class Split:
    """The rows of one split, of which a partition reads the inputs that its units see.

    Local: each rank opens the file for itself, read-only and without locks, which Lustre and NFS often lack.

    Parameters
    ----------
    path : str or Path
        As `data.path`: an HDF5 file, or "digits".
    name : {"train", "validation", "test"}
        The group, if nothing else is said.
    columns : (start, stop), optional
        Of the inputs, flattened in row-major order (H, W, C); all without it. May be empty.
    window : Box, optional
        Instead of columns, a box of every example: ((h0, h1), (w0, w1), (c0, c1)) of an image, one stored
        as (H, W) included; ((i0, i1),) of features. May be empty.
    view : View, optional
        How the split is read; without it, as docs/data.md says. One without targets has neither labels nor
        targets to read.

    Attributes
    ----------
    rows, inputs : int
        N, and the number of all input columns.
    stored_rows : int
        Of the data sets, of which N are this split's.
    input_shape : tuple of int
        Of one example, channels last.
    dtype : numpy.dtype
        Of what `read` returns: uint8, float32 (also for float16) or float64.
    scale, offset : float or tuple of I floats
        The value of an input is scale * stored + offset.
    targets_width : int or None
        T for float or binary targets, None for integer labels.
    binary : bool
        Whether targets are 0 or 1: several labels may be right at once.
    chunk_rows : int or None
        Rows in a chunk of `x`, None where it is not chunked.
    class_names : tuple of str or None
        Of the classes in order, where the file names them.
    columns : tuple of str
        Of features in order, where the file names them.
    classes : int or None
        None at first; once set, a label of so much or more is an error to read.

    Raises
    ------
    UserError
        There is no such file, it is not HDF5, or its content is not in the format.
    """

    def __init__(
        self,
        path: str | Path,
        name: str,
        columns: Range | None = None,
        window: Box | None = None,
        view: View | None = None,
    ) -> None:
        self.path, self.name = digits.located(path), name
        self._view = view or plain(name)
        self.classes: int | None = None
        self._files = ExitStack()
        try:
            with explain_errors(f"{self.path}: {name}"):
                self._examine(self._files.enter_context(opened(self.path)))
            self._choose(columns, window)
        except BaseException:
            self.close()
            raise

    def _examine(self, file: h5py.File) -> None:
        """Look at everything but the rows themselves."""
        self._sources = Sources(self.path, file, self._files)
        view = self._view
        self._y: Rows | None = None
        x = self._sources.data_set(view.inputs)
        self._x = self._opened("x", x)
        self.stored_rows, stored_shape = examined_x(self._x.shape, x.dtype, self.where("x"))
        self.input_shape = self._channels_last(stored_shape)
        self._examine_targets()
        self._weights = None if view.weights is None else self._opened_weights(view.weights)
        if view.rows is not None:
            self._x = CutRows(self._x, view.rows)
            self._y = self._y and CutRows(self._y, view.rows)
            self._weights = self._weights and CutRows(self._weights, view.rows)
        self.rows = self._x.shape[0]
        self.inputs = prod(self.input_shape)
        self.dtype = read_dtype(x.dtype)
        unscaled = 1 / 255 if self.dtype == np.uint8 else 1.0
        self.scale, self.offset = self._attribute(x, "scale", unscaled), self._attribute(x, "offset", 0.0)
        self.columns = columns_of(x)
        self.chunk_rows = int(x.chunks[0]) if x.chunks else None

    def _examine_targets(self) -> None:
        """Look at the targets, if they are wanted."""
        view = self._view
        self.class_names: tuple[str, ...] | None = None
        self.targets_width: int | None = None
        self.binary = False
        if not view.targets:
            return
        y = self._sources.data_set(view.targets)
        self._y = self._opened("y", y)
        self._y_type, self._shape_of_y = y.dtype, self._y.shape
        self.convert(view.labels, view.undecided)
        self.class_names = class_names(y, self.where("y"))
        if view.labels is not None and view.labels.names is not None:
            self.class_names = view.labels.names

    def convert(self, labels: Labels | None, undecided: bool = False) -> None:
        """Say what makes labels of the targets; None where they are integers or floats as they are.

        Raises
        ------
        UserError
            They are not, unless it is still `undecided` what they are.
        """
        where, shape, kind = self.where("y"), self._shape_of_y, self._y_type
        self._labels = labels
        if labels is None and not undecided:
            self.targets_width = examined_y(shape, kind, self.stored_rows, where)
        else:
            check_rows(shape, self.stored_rows, where)
            self.targets_width = None if labels or kind.kind != "f" else prod(shape[1:])
        self.binary = self.targets_width is not None and kind.kind != "f"

    @property
    def stored_targets_type(self) -> tuple[np.dtype, tuple[int, ...]]:
        """Type of the targets in the file, and the shape of those of one row."""
        return self._y_type, self._shape_of_y[1:]

    def _channels_last(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of an example, of which the channels may be stored first."""
        self._axes: tuple[int, ...] = tuple(range(len(shape)))
        if not self._view.channels_first:
            return shape
        if len(shape) != 3:
            raise UserError(
                f"{self.where('x')} has shape {(self.stored_rows, *shape)}, but data.layout = "
                '"channels_first" is of images (N, C, H, W); leave it out'
            )
        self._axes = (2, 0, 1)  # where channels, rows and columns stand once they are last
        return shape[1], shape[2], shape[0]

    def _opened_weights(self, place: str) -> Rows:
        """Open the weights of all rows of the data sets."""
        stored = self._sources.data_set(place)
        rows = self._opened("weights", stored)
        if rows.shape != (self.stored_rows,) or stored.dtype.kind not in "iuf":
            raise UserError(
                f"{self.where('weights')} (data.weights) has type {stored.dtype} and shape {rows.shape}; "
                f"store a number for each of the {self.stored_rows} rows"
            )
        return rows

    def _opened(self, key: str, stored: h5py.Dataset) -> Rows:
        """Open all that a data set takes rows from; messages say where it lies if a link led there."""
        lies = Path(stored.file.filename)
        where = self.where(key) if lies == self.path else f"{self.where(key)} (in {lies})"
        return self._sources.rows(stored, where)

    def _attribute(self, x: h5py.Dataset, key: str, default: float) -> Factor:
        """Return an attribute of `x`, which must have it itself if what it takes rows from has it."""
        if key not in x.attrs and self._x.carries(key):
            raise UserError(
                f"{self.where('x')} is virtual and has no attribute {key}, but a source of it has: give it "
                f"the {key} that all its rows need"
            )
        value = attribute(x, key, default, self.where("x"))
        if self._view.channels_first and not isinstance(value, float):
            return factor(np.reshape(value, x.shape[1:]).transpose(1, 2, 0))
        return value

    def check_complete(self, stand_in: bool, inputs: bool = True) -> None:
        """Raise UserError unless all rows were written, as far as the index of the file tells.

        With `stand_in` a data set of which nothing at all was written passes too; without `inputs` only the
        targets are looked at.
        """
        for rows in (self._x, self._y, self._weights)[not inputs :]:
            if rows is not None and not (stand_in and rows.blank()):
                rows.check_complete()

    @property
    def has_labels(self) -> bool:
        """Whether any labels or targets were written; if not, all are alike."""
        return self._y is not None and not self._y.blank()

    @property
    def weighted(self) -> bool:
        """Whether the rows have weights."""
        return self._weights is not None

    @property
    def image(self) -> tuple[int, ...] | None:
        """Shape (H, W, C) of an image, C = 1 for one stored as (H, W); None for features."""
        return None if len(self.input_shape) == 1 else (*self.input_shape, 1)[:3]

    def _choose(self, columns: Range | None, window: Box | None) -> None:
        """Find out what to read of each row: a box as it is stored and, of its values, a range."""
        self._space: tuple[int, ...] = (self.inputs,)
        self._part: Box = whole(self._space) if columns is None else (columns,)
        if window is not None:
            self._space, self._part = self.image or self.input_shape, window
        if (window and columns) or not _is_box(self._part, self._space):
            raise ValueError(f"columns {columns}, window {window} of examples {self.input_shape}")
        if window is None:
            self._box, self._cut = _window(self.input_shape, *self._part[0])
        else:
            self._box = window[: len(self.input_shape)]
            self._cut = slice(0, volume(window))
        self._stored = tuple(self._box[axis] for axis in self._axes)
        self._shape = extents(self._part)
        scale, offset = (np.abs(of_box(one, self._space, self._part)) for one in (self.scale, self.offset))
        self._bound = (LARGEST - offset) / scale

    def read(self, ranges: Sequence[Range]) -> np.ndarray:
        """Read inputs as they are stored.

        Parameters
        ----------
        ranges : sequence of (start, stop)
            Of rows, read one after another; ascending ranges read the file forwards.

        Returns
        -------
        array of `dtype`, shape (N of the ranges, I of `columns`) or (N, *extents of `window`), C-ordered

        Raises
        ------
        UserError
            The file cannot be read any more or has changed, or holds a value that is not finite or, scaled,
            larger than `LARGEST`.
        """
        rows = self._read(self._x, ranges, self._stored, self.dtype)
        if self._view.channels_first:
            rows = rows.transpose(0, 2, 3, 1)
        values = np.ascontiguousarray(rows.reshape(len(rows), volume(self._box))[:, self._cut])
        check_values(values, self._bound, self._places(ranges), self.where("x"), self._part, self._space)
        return values.reshape(len(rows), *self._shape)

    def labels(self, ranges: Sequence[Range]) -> np.ndarray:
        """Read integer labels: int64, shape (N of the ranges,). Parameters and errors as for `read`."""
        if self.targets_width is not None:
            raise ValueError(f"{self.where('y')} holds float targets, not labels")
        labels, where, places = self.stored_targets(ranges), self.where("y"), self._places(ranges)
        if self._labels is not None:
            labels = self._labels.decode(labels, places, where)
        check_labels(labels, self.classes, places, where)
        return labels

    def stored_targets(self, ranges: Sequence[Range]) -> np.ndarray:
        """Read targets as they are stored, integers as int64. Parameters and errors as for `read`."""
        kind = self._y_type
        if not is_text(kind) and kind.kind != "b":
            kind = np.dtype(np.int64) if kind.kind in "iu" else read_dtype(kind)
        assert self._y is not None
        return self._read(self._y, ranges, whole(self._y.shape[1:]), kind)

    def targets(self, ranges: Sequence[Range]) -> np.ndarray:
        """Read targets: float32, float64 or, if binary, int8, shape (N of the ranges, T). Else as `read`."""
        if self.targets_width is None:
            raise ValueError(f"{self.where('y')} holds labels, not targets")
        stored = self.stored_targets(ranges)
        targets_NT, places = stored.reshape(len(stored), self.targets_width), self._places(ranges)
        shape = targets_NT.shape[1:]
        if self.binary:
            check_binary(targets_NT, places, self.where("y"))
            return targets_NT.astype(np.int8)
        check_values(targets_NT, LARGEST, places, self.where("y"), whole(shape), shape)
        return targets_NT

    def labels_or_targets(self, ranges: Sequence[Range]) -> np.ndarray:
        """Read whichever of `labels` and `targets` the file holds."""
        return self.labels(ranges) if self.targets_width is None else self.targets(ranges)

    def weights(self, ranges: Sequence[Range]) -> tuple[np.ndarray, ...]:
        """Read the weights of rows: float64, shape (N of the ranges,), alone; nothing where there are none.

        Otherwise as `read`.
        """
        if self._weights is None:
            return ()
        found = self._read(self._weights, ranges, (), np.dtype(np.float64))
        check_weights(found, self._places(ranges), self.where("weights"))
        return (found,)

    def close(self) -> None:
        """Close the file; the split can't be read after it. Raises UserError where the system says so."""
        with explain_errors(f"{self.path}: {self.name}, as the file is closed,"):
            self._files.close()

    def __enter__(self) -> "Split":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _read(self, source: Rows, ranges: Sequence[Range], window: Box, dtype: np.dtype) -> np.ndarray:
        """Return the window of the rows of the ranges, one after another."""
        if not all(0 <= start <= stop <= self.rows for start, stop in ranges):
            raise ValueError(f"rows {ranges} of {self.rows}")
        with explain_errors(f"{self.path}: {self.name}"):
            out = np.empty((_total(ranges), *extents(window)), dtype)
            filled = 0
            for start, stop in ranges:
                source.read(out[filled : filled + stop - start], ((start, stop), *window))
                filled += stop - start
            source.check()
            self._sources.watch.check()
        return out

    @property
    def group(self) -> str:
        """The group of the inputs in the file; empty for the file itself."""
        return self._view.inputs.strip("/").rpartition("/")[0]

    def _places(self, ranges: Sequence[Range]) -> list[Range]:
        """Return which rows of the data sets the rows of some ranges are."""
        return places_of(self._view.rows, ranges)

    def where(self, key: str) -> str:
        """Return file and data set of the inputs, "x", the targets, "y", or the weights, for messages."""
        place = {"x": self._view.inputs, "y": self._view.targets}.get(key, self._view.weights)
        return f"{self.path}: {str(place).strip('/')}"


def _is_box(box: Box, shape: tuple[int, ...]) -> bool:
    return len(box) == len(shape) and all(
        0 <= start <= stop <= extent for (start, stop), extent in zip(box, shape, strict=True)
    )


def _window(shape: tuple[int, ...], start: int, stop: int) -> tuple[Box, slice]:
    """Return the smallest box of a row which holds the columns, and where these lie in the box, flattened."""
    box: list[Range] = []
    while len(shape) > 1 and start < stop and start // prod(shape[1:]) == (stop - 1) // prod(shape[1:]):
        outer, inner = start // prod(shape[1:]), prod(shape[1:])
        box.append((outer, outer + 1))
        start, stop, shape = start - outer * inner, stop - outer * inner, shape[1:]
    inner = prod(shape[1:])
    first, last = start // inner, -(-stop // inner)
    if start == stop:
        last = first
    return (*box, (first, last), *whole(shape[1:])), slice(start - first * inner, stop - first * inner)


def _total(ranges: Sequence[Range]) -> int:
    return sum(stop - start for start, stop in ranges)
