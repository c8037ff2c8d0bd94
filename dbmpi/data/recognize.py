"""Which labels are made of texts, one-hot rows, and integers as they are stored. Local."""

from collections.abc import Iterator, Sequence

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.fields import Fields
from dbmpi.data.labels import MOST_TEXTS, Labels, is_text, of_integers, of_texts, one_hot
from dbmpi.data.split import Split
from dbmpi.errors import UserError
from dbmpi.layout.boxes import Range

SCAN_VALUES = 1 << 20  # of targets in one read


def labels_of(splits: Sequence[Split], fields: Fields) -> Labels | None:
    """Return what makes labels of the targets of all splits; None where they are used as they are. Local.

    Texts and one-hot rows become labels, and so does a column of them. Integers do where there are as many as
    the last layer has units, but not from 0, or where `fields.labels` says so. Float targets do where they
    are one-hot and the loss is one of classes.

    Raises
    ------
    UserError
        Texts are no classes, or the splits differ.
    """
    kind, shape = splits[0].stored_targets_type
    for split in splits[1:]:
        if (is_text(split.stored_targets_type[0]), split.stored_targets_type[1]) != (is_text(kind), shape):
            raise UserError(
                f"{split.where('y')}: the targets are of another type or shape than {splits[0].where('y')}; "
                "write all splits in the same way"
            )
    if not all(split.has_labels for split in splits):
        return None
    width = int(np.prod(shape, dtype=np.int64))
    if is_text(kind) and width == 1:
        return of_texts(_pieces(splits), splits[0].class_names)
    if (
        width > 1
        and len(shape) == 1
        and (kind.kind in "biu" or (kind.kind == "f" and fields.loss != "squared"))
    ):
        return Labels() if all(one_hot(rows).all() for rows, *_ in _pieces(splits)) else None
    if kind.kind == "b" and width == 1:
        return Labels()
    return _of_integers(splits, shape, fields) if kind.kind in "iu" and width == 1 else None


def _of_integers(splits: Sequence[Split], shape: tuple[int, ...], fields: Fields) -> Labels | None:
    """Return what makes labels of integers: themselves, or their place among those that occur."""
    plain = Labels() if shape else None
    if fields.labels == "stored":
        return plain
    seen = np.zeros(0, np.int64)
    for rows, *_ in _pieces(splits):
        seen = np.union1d(seen, rows)
        if len(seen) > MOST_TEXTS:
            return plain
    names = splits[0].class_names
    gaps = not np.array_equal(seen, np.arange(len(seen)))
    if gaps and fields.units is None and names is not None and 0 <= seen[0] and seen[-1] < len(names):
        gaps = fields.labels == "classes"  # the names say which classes there are, be they without rows
    # As many as there are units, and not all with a unit of their own: neither a mistake nor of use as it is.
    meant = fields.units is None or len(seen) == fields.units
    if gaps and (fields.labels == "classes" or meant):
        return of_integers(seen, names)
    return plain


def _pieces(splits: Sequence[Split]) -> Iterator[tuple[Array, Range, str]]:
    """Yield the stored targets of all rows, some at a time, which rows these are, and of which data set."""
    for split in splits:
        width = max(1, int(np.prod(split.stored_targets_type[1], dtype=np.int64)))
        step = max(1, SCAN_VALUES // width)
        for start in range(0, split.rows, step):
            rows = start, min(start + step, split.rows)
            yield split.stored_targets([rows]), rows, split.where("y")
