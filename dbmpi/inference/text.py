"""Records of predictions as lines of CSV. Pure."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from dbmpi.arrays import Array, Record

SEPARATOR = ";"  # between the labels of a row


class Lines:
    """Writes records (`records.layout`) as lines, without the header.

    Parameters
    ----------
    kind
        The type of a record.
    names
        Of classes or labels.
    probabilities
        Whether a column for each class or label follows, with its probability.
    """

    def __init__(self, kind: "np.dtype[np.void]", names: Sequence[str], probabilities: bool) -> None:
        self._names, self._fields, self._all = names, kind.names or (), probabilities
        self._cells = [_line([name]) for name in names]
        numbers = kind["y" if "y" in self._fields else "probabilities"]
        self._digits = "%.9g" if numbers.base == np.float32 else "%.17g"
        self._targets = int(np.prod(numbers.shape, dtype=int))

    @property
    def header(self) -> bytes:
        """The first line."""
        more = list(self._names) if self._all else []
        if "class" in self._fields:
            names = ["class", "probability", *more]
        elif "labels" in self._fields:
            names = ["labels", *more]
        else:
            names = ["y"] if self._targets == 1 else [f"y{number}" for number in range(self._targets)]
        return f"{_line(names)}\n".encode()

    def encode(self, records: Record) -> bytes:
        """Return the lines of records."""
        if "y" in self._fields:
            return self._lines([], records["y"].reshape(len(records), -1))
        more = records["probabilities"] if self._all else np.empty((len(records), 0))
        if "class" in self._fields:
            texts = [self._cells[at] for at in records["class"].tolist()]
            return self._lines(texts, np.column_stack([records["probability"], more]))
        return self._lines([self._joined(row) for row in records["labels"]], more)

    def _joined(self, right: Array) -> str:
        return _line([SEPARATOR.join(self._names[at] for at in np.flatnonzero(right).tolist())])

    def _lines(self, texts: Sequence[str], numbers: Array) -> bytes:
        """Return lines of a text, if there are any, and numbers."""
        form = ",".join([*(["%s"] if texts else []), *[self._digits] * numbers.shape[1]]) + "\n"
        rows = numbers.tolist()
        if texts:
            return "".join(form % (text, *row) for text, row in zip(texts, rows, strict=True)).encode()
        return "".join(form % tuple(row) for row in rows).encode()


def _line(cells: Sequence[str]) -> str:
    """Return cells as a line, in quotes where they need them."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()
