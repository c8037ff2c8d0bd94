"""Labels of what files of others hold: texts, one-hot rows, integers from 1 or with gaps become 0, 1, 2, ...

What is to become of them is found out once, on rank 0, from all rows of all splits; every rank reads by that.
Letters: N rows, K classes.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import h5py
import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.sanity import row_of
from dbmpi.errors import UserError
from dbmpi.layout.boxes import Range
from dbmpi.text import has_control, show

MOST_TEXTS = 1 << 16  # different ones: more are no classes
CHANGED = "those when the run began; leave the file alone while a run reads it"


@dataclass(frozen=True, eq=False)
class Labels:
    """What makes labels of stored targets.

    Parameters
    ----------
    values : array (K,), optional
        The texts (as bytes) or integers that are classes, sorted; without them a row is one-hot, or holds its
        label or truth value.
    codes : int64 array (K,), optional
        The class of each of the values.
    names : tuple of str, optional
        Of the classes in order.
    unknown
        What is said of a value that is no class.
    """

    values: Array | None = None
    codes: Array | None = None
    names: tuple[str, ...] | None = None
    unknown: str = CHANGED

    def decode(self, stored: Array, ranges: Sequence[Range], where: str) -> Array:
        """Return the labels, int64 (N,), of rows as they are stored.

        Parameters
        ----------
        stored : array (N,), (N, 1) or one-hot (N, K)
        ranges, where
            The rows of the data set, and its name, for messages.

        Raises
        ------
        UserError
            A row is of no class.
        """
        if stored.ndim == 2 and stored.shape[1] > 1:
            return _of_one_hot(stored, ranges, where)
        stored = stored.reshape(-1)
        if self.values is None or self.codes is None:
            return stored.astype(np.int64)
        if is_text(stored.dtype):
            stored = as_bytes(stored)
        at = np.minimum(np.searchsorted(self.values, stored), len(self.values) - 1)
        if (odd := self.values[at] != stored).any():
            row = int(odd.argmax())
            raise UserError(
                f"{where} holds {_shown(stored[row])} in row {row_of(ranges, row)}, which is no class of "
                f"{self.unknown}"
            )
        return np.asarray(self.codes[at])

    @property
    def digest(self) -> str:
        """What differs where two runs would make other labels of the same file."""
        parts = [] if self.values is None or self.codes is None else [self.values, self.codes]
        return hashlib.sha256(repr([part.tolist() for part in parts]).encode()).hexdigest()


def is_text(dtype: np.dtype) -> bool:
    """Return whether a data set of this type holds texts."""
    return dtype.kind == "S" or h5py.check_string_dtype(dtype) is not None


def as_bytes(texts_N: Array) -> Array:
    """Return texts as h5py reads them in the fixed length that numpy compares fast."""
    return texts_N.astype("S") if texts_N.size else texts_N.astype("S1")


def of_texts(pieces: Iterator[tuple[Array, Range, str]], order: tuple[str, ...] | None) -> Labels:
    """Make labels of texts: in the order of the attribute class_names if it names all, else sorted.

    Parameters
    ----------
    pieces : iterator of (array, range, text)
        All rows, some at a time, where they lie, and in which file and data set.
    order : tuple of str, optional
        The attribute.
    """
    seen = np.zeros(0, "S1")
    names: tuple[str, ...] = ()
    for stored, (start, _), where in pieces:
        texts_N = as_bytes(stored.reshape(-1))
        if (empty := texts_N == b"").any():
            raise UserError(
                f"{where} holds an empty text in row {start + int(empty.argmax())}: name the class of every "
                "row, or leave such rows out"
            )
        seen = np.union1d(seen, texts_N)
        if len(seen) > MOST_TEXTS:
            raise UserError(
                f"{where} holds more than {MOST_TEXTS} different texts, which are no classes; "
                "name a data set of labels or numbers (data.targets)"
            )
        names = tuple(_decoded(text, where) for text in seen.tolist())
    place = {name: at for at, name in enumerate(order or ())}
    if order is not None and all(name in place for name in names):
        return Labels(seen, np.array([place[name] for name in names], np.int64), order)
    return Labels(seen, np.arange(len(seen)), names)


def of_integers(seen: Array, names: tuple[str, ...] | None) -> Labels:
    """Make labels of the different integers, sorted: the first is class 0. `names` are of the classes."""
    if names is None or len(names) != len(seen):
        names = tuple(map(str, seen.tolist()))
    return Labels(seen, np.arange(len(seen)), names)


def one_hot(rows_NK: Array) -> Array:
    """Return for each row whether it is 1 in one place and 0 elsewhere."""
    set_NK = rows_NK != 0
    return np.asarray((set_NK.sum(axis=1) == 1) & (rows_NK == set_NK).all(axis=1))


def _of_one_hot(rows_NK: Array, ranges: Sequence[Range], where: str) -> Array:
    right = one_hot(rows_NK)
    if not right.all():
        row = int(right.argmin())
        raise UserError(
            f"{where} holds {rows_NK[row].tolist()[:8]} in row {row_of(ranges, row)}, which is not one-hot; "
            "set 1 for its class and 0 for the others"
        )
    return rows_NK.argmax(axis=1)


def _decoded(text: bytes, where: str) -> str:
    try:
        name = text.decode()
    except UnicodeDecodeError:
        name = "\0"
    if has_control(name):
        raise UserError(f"{where} holds the text {_shown(text)}, which is no UTF-8 or has control characters")
    return name


def _shown(value: object) -> str:
    return show(value.decode(errors="replace")) if isinstance(value, bytes) else str(value)
