"""What each kind of input gives: records as they are read, and what is made of them in the end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from dbmpi.arrays import Array

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
Batch = tuple[str, Array]  # the split, and records of it
BATCH_BYTES = 1 << 20  # of records in a batch: small beside what is kept, large beside the cost of a call


@dataclass(frozen=True)
class Layout:
    """What is written of the records of a source. Known when the last of them has been read.

    Attributes
    ----------
    x_shape, x_dtype
        Of the inputs of an example.
    y_shape, y_dtype
        Of its label, (), or its targets, () or (T,).
    convert
        Makes x (B, *x_shape) and y (B, *y_shape) of records (B,).
    class_names
        In the order of the labels; None for targets.
    scale, offset
        The network sees `scale * x + offset`, if the inputs are not standardized.
    notes
        Attributes of the data file: what there is to know of how its rows were made.
    """

    x_shape: tuple[int, ...]
    x_dtype: np.dtype
    y_shape: tuple[int, ...]
    y_dtype: np.dtype
    convert: Callable[[Array], tuple[Array, Array]]
    class_names: tuple[str, ...] | None = None
    scale: float = 1.0
    offset: float = 0.0
    notes: Mapping[str, str | Sequence[str]] = field(default_factory=dict)


class Source(Protocol):
    """Files of one kind."""

    @property
    def record(self) -> np.dtype:
        """The type of a record: a structured one.

        The field `y` of integers is a class, and of floats a target. A field `group` of integers is a group,
        whose rows stay in one split.
        """

    @property
    def expected(self) -> Mapping[str, int]:
        """About how many records each split has, for progress and the size of what is kept."""

    @property
    def files(self) -> Sequence[Path]:
        """What it is read from, for the data file to say."""

    def batches(self) -> Iterator[Batch]:
        """Yield all records once, in the order of the files. Raises UserError for what is wrong with them."""

    def layout(self) -> Layout:
        """Return what is to be written. Raises UserError. Valid after the last batch."""


def batch_rows(record: np.dtype) -> int:
    """Return how many records make a batch."""
    return max(1, BATCH_BYTES // max(1, record.itemsize))


def smallest_dtype(classes: int) -> np.dtype:
    """Return the unsigned integer type that labels of so many classes fit in."""
    return np.min_scalar_type(max(0, classes - 1))
