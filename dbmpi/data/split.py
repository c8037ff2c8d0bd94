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
from dbmpi.data.factors import Factor
from dbmpi.data.hdf5 import attribute, class_names, examined_x, examined_y, explain_errors, opened, read_dtype
from dbmpi.data.rows import Rows
from dbmpi.data.sanity import LARGEST, check_binary, check_labels, check_values, check_weights
from dbmpi.data.sources import Sources
from dbmpi.errors import UserError
from dbmpi.layout.boxes import Box, Range, extents, volume, whole


class Split:
    """The rows of one split, of which a partition reads the inputs that its units see.

    Local: each rank opens the file for itself, read-only and without locks, which Lustre and NFS often lack.

    Parameters
    ----------
    path : str or Path
        As `data.path`: an HDF5 file, or "digits".
    name : {"train", "test"}
        The group.
    columns : (start, stop), optional
        Of the inputs, flattened in row-major order (H, W, C); all without it. May be empty.
    window : Box, optional
        Instead of columns, a box of every example: ((h0, h1), (w0, w1), (c0, c1)) of an image, one stored
        as (H, W) included; ((i0, i1),) of features. May be empty.
    weights : str, optional
        Data set beside `y` that holds a weight for each row.

    Attributes
    ----------
    rows, inputs : int
        N, and the number of all input columns.
    input_shape : tuple of int
        Of one example, as stored.
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
        weights: str | None = None,
    ) -> None:
        self.path, self.name, self._weights_key = digits.located(path), name, weights
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
        x, y = (self._sources.data_set(self.name, key) for key in ("x", "y"))
        self._x, self._y = self._opened("x", x), self._opened("y", y)
        self.rows, self.input_shape = examined_x(self._x.shape, x.dtype, self._where("x"))
        self.targets_width = examined_y(self._y.shape, y.dtype, self.rows, self._where("y"))
        self.inputs = prod(self.input_shape)
        self.binary = self.targets_width is not None and y.dtype.kind != "f"
        self.dtype, self._y_dtype = read_dtype(x.dtype), read_dtype(y.dtype)
        if self.binary:
            self._y_dtype = np.dtype(bool if y.dtype.kind == "b" else np.int64)
        unscaled = 1 / 255 if self.dtype == np.uint8 else 1.0
        self.scale, self.offset = self._attribute(x, "scale", unscaled), self._attribute(x, "offset", 0.0)
        scale, offset = np.abs(self.scale), np.abs(self.offset)
        self._bound = float(np.min((LARGEST - offset) / scale))
        self._weights = self._opened_weights()
        self.chunk_rows = int(x.chunks[0]) if x.chunks else None
        self.class_names = class_names(y, self._where("y"))

    def _opened_weights(self) -> Rows | None:
        """Open the weights of the rows, if there are to be any."""
        if self._weights_key is None:
            return None
        stored = self._sources.data_set(self.name, self._weights_key)
        rows = self._opened(self._weights_key, stored)
        if rows.shape != (self.rows,) or stored.dtype.kind not in "iuf":
            raise UserError(
                f"{self._where(self._weights_key)} (data.weights) has type {stored.dtype} and shape "
                f"{rows.shape}; store a number for each of the {self.rows} rows"
            )
        return rows

    def _opened(self, key: str, stored: h5py.Dataset) -> Rows:
        """Open all that a data set takes rows from; messages say where it lies if a link led there."""
        lies = Path(stored.file.filename)
        where = self._where(key) if lies == self.path else f"{self._where(key)} (in {lies})"
        return self._sources.rows(stored, where)

    def _attribute(self, x: h5py.Dataset, key: str, default: float) -> Factor:
        """Return an attribute of `x`, which must have it itself if what it takes rows from has it."""
        if key not in x.attrs and self._x.carries(key):
            raise UserError(
                f"{self._where('x')} is virtual and has no attribute {key}, but a source of it has: give it "
                f"the {key} that all its rows need"
            )
        return attribute(x, key, default, self._where("x"))

    def check_complete(self, stand_in: bool) -> None:
        """Raise UserError unless all rows were written, as far as the index of the file tells.

        With `stand_in` a data set of which nothing at all was written passes too.
        """
        for rows in (self._x, self._y):
            if not (stand_in and rows.blank()):
                rows.check_complete()

    @property
    def has_labels(self) -> bool:
        """Whether any labels or targets were written; if not, all are alike."""
        return not self._y.blank()

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
            self._stored, self._cut = _window(self.input_shape, *self._part[0])
        else:
            self._stored = window[: len(self.input_shape)]
            self._cut = slice(0, volume(window))
        self._shape = extents(self._part)

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
        values = np.ascontiguousarray(rows.reshape(len(rows), volume(self._stored))[:, self._cut])
        check_values(values, self._bound, ranges, self._where("x"), self._part, self._space)
        return values.reshape(len(rows), *self._shape)

    def labels(self, ranges: Sequence[Range]) -> np.ndarray:
        """Read integer labels: int64, shape (N of the ranges,). Parameters and errors as for `read`."""
        if self.targets_width is not None:
            raise ValueError(f"{self._where('y')} holds float targets, not labels")
        labels = self._read(self._y, ranges, (), np.dtype(np.int64))
        check_labels(labels, self.classes, ranges, self._where("y"))
        return labels

    def targets(self, ranges: Sequence[Range]) -> np.ndarray:
        """Read targets: float32, float64 or, if binary, int8, shape (N of the ranges, T). Else as `read`."""
        if self.targets_width is None:
            raise ValueError(f"{self._where('y')} holds labels, not targets")
        stored = self._read(self._y, ranges, whole(self._y.shape[1:]), self._y_dtype)
        targets_NT = stored.reshape(len(stored), self.targets_width)
        shape = targets_NT.shape[1:]
        if self.binary:
            check_binary(targets_NT, ranges, self._where("y"))
            return targets_NT.astype(np.int8)
        check_values(targets_NT, LARGEST, ranges, self._where("y"), whole(shape), shape)
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
        where = self._where(str(self._weights_key))
        found = self._read(self._weights, ranges, (), np.dtype(np.float64))
        check_weights(found, ranges, where)
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

    def _where(self, key: str) -> str:
        return f"{self.path}: {self.name}/{key}"


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
