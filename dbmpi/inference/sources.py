"""Where rows come from, as every rank is told: a split of an HDF5 file, an array of an npz; or see `tables`.

Each rank opens the file for itself and reads what its partition needs of the blocks that are its replica's.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from dbmpi.arrays import Array
from dbmpi.data.fields import View
from dbmpi.data.split import Split
from dbmpi.errors import UserError
from dbmpi.inference.rows import Block, Load, Rows, SplitRows, check_shape, checked, cut
from dbmpi.layout.boxes import Box
from dbmpi.prepare import streams
from dbmpi.text import listed, nearest, show
from dbmpi.trained.model import TrainedModel

ALL = "all"  # of the rows of a file that has no splits


class Source(Protocol):
    """What is read, and how. Travels to all ranks."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def split(self) -> str:
        """Which of its rows: the name of a split, or "all"."""

    def rows(self, trained: TrainedModel, window: Box) -> AbstractContextManager[Rows]:
        """Open the part of each example that a partition reads, as a context. Raises UserError."""


@dataclass(frozen=True)
class StoredSource:
    """A split of an HDF5 file, or all of its rows.

    Attributes
    ----------
    view
        How it is read.
    outputs
        Units of the last layer: no label is beyond.
    """

    path: Path
    split: str
    view: View
    outputs: int

    @contextmanager
    def rows(self, trained: TrainedModel, window: Box) -> Iterator[Rows]:
        """See `Source.rows`."""
        with Split(self.path, self.split, window=window, view=self.view) as split:
            split.classes = self.outputs
            yield SplitRows(split, trained.format, bool(self.view.targets))


@dataclass(frozen=True)
class ArraySource:
    """An array of an .npz."""

    path: Path
    name: str
    split: str = ALL

    @contextmanager
    def rows(self, trained: TrainedModel, window: Box) -> Iterator[Rows]:
        """See `Source.rows`."""
        with streams.opened(self.path) as arrays:
            stream = arrays[self.name]
            check_shape(stream.shape, trained.stored_shape, self.where)
            yield _StreamRows(stream, trained, window, self.where)

    @property
    def where(self) -> str:
        """File and array, for messages."""
        return f"{self.path}: {self.name}"


@dataclass(frozen=True)
class _StreamRows:
    """The rows of an array that is read from its start to its end."""

    stream: streams.Stream
    trained: TrainedModel
    window: Box
    where: str

    @property
    def total(self) -> int:
        """See `Rows.total`."""
        return self.stream.shape[0]

    def blocks(self, most: int) -> Iterator[Load]:
        """See `Rows.blocks`."""
        start = 0
        for x in self.stream.batches(most):
            yield partial(self._block, x, start)
            start += len(x)

    def _block(self, x: Array, start: int) -> Block:
        x = checked(x, self.trained.format, (start, start + len(x)), self.where)
        return cut(x, self.trained, self.window), None


def array_source(path: Path, trained: TrainedModel, name: str | None) -> ArraySource:
    """Choose an array of an .npz: by its name, else x, else the one there is.

    Raises
    ------
    UserError
        There is none of that name, or none that is an example's.
    """
    with streams.opened(path) as arrays:
        usual = next((one for one in ("x", "X", "x_test", "inputs", "images", "data") if one in arrays), None)
        found = name or usual or (next(iter(arrays)) if len(arrays) == 1 else None)
        if not arrays:
            raise UserError(f"{path}: holds no arrays; write it by numpy.savez(..., x=x)")
        if found is None or found not in arrays:
            what = "several arrays" if name is None else f"no array {show(name)}{nearest(name, arrays)}"
            raise UserError(f"{path}: has {what}: name the inputs by --inputs, of {listed([*arrays])}")
        source = ArraySource(path, found)
        check_shape(arrays[found].shape, trained.stored_shape, source.where)
    return source
