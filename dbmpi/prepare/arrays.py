"""Arrays of inputs and targets by their names: in .npz and .mat files, in any HDF5 file, or in several of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare.labels import Codes
from dbmpi.prepare.source import TEST, TRAIN, VALIDATION, Batch, Layout, batch_rows, smallest_dtype
from dbmpi.text import listed, nearest, several, show


class Store(Protocol):
    """A file of named arrays that is open; each has `shape` and `dtype`, and gives rows by a slice."""

    def names(self) -> list[str]:
        """Return the names of its arrays."""

    def array(self, name: str) -> Any:
        """Return one."""


Opener = Callable[[Path], AbstractContextManager[Store]]


@dataclass(frozen=True)
class Wanted:
    """What the command line says about arrays.

    Attributes
    ----------
    names
        Of each split: the names of inputs and targets.
    groups
        Name of the array of groups of the training rows, or None.
    channels_first
        Whether images are (N, C, H, W).
    task
        "classes" or "numbers"; None to see by the type of the targets.
    """

    names: Mapping[str, tuple[str, str]]
    groups: str | None = None
    channels_first: bool = False
    task: str | None = None


class ArraySource:
    """Arrays of one or several files, which together are one set.

    Raises UserError where an array is missing, or those of the files do not fit one another.
    """

    def __init__(self, files: Sequence[Path], opener: Opener, wanted: Wanted) -> None:
        self.files, self._opener, self._wanted = files, opener, wanted
        self.expected: dict[str, int] = {}
        self._forms: dict[str, tuple[Any, ...]] = {}
        for path in files:
            with opener(path) as store:
                for split, names in wanted.names.items():
                    self._look(path, store, split, names)
        self._codes = Codes()
        x_shape, x_dtype, y_shape, self._kind = self._forms["form"]
        ...
