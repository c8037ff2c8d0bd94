"""Arrays as MATLAB stores them: also those in structures, and texts."""

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from dbmpi.prepare.stream import Stream, in_memory, unusable

CELLS = "is a cell array or struct of other things than texts: save numbers"
SPARSE = "is a sparse matrix: save full(...) of it"
CLASS = "MATLAB_class"  # attribute that says what a data set of version 7.3 is


def arrays(found: Mapping[str, Any]) -> dict[str, Stream]:
    """Return the arrays of a file before 7.3, as SciPy reads it; fields of a structure as set/field."""
    streams: dict[str, Stream] = {}
    for name, array in found.items():
        if isinstance(array, np.ndarray) and array.dtype.names and array.size == 1:
            streams |= arrays({f"{name}/{one}": np.asarray(array[one].item()) for one in array.dtype.names})
        elif getattr(array, "ndim", 0):
            streams[name] = _stream(array)
    return streams


def _stream(array: Any) -> Stream:
    if not isinstance(array, np.ndarray):
        return unusable(array.shape, SPARSE)
    if not array.dtype.hasobject:
        return in_memory(array)
    texts = [one.item() if isinstance(one, np.ndarray) and one.size == 1 else one for one in array.flat]
    if array.dtype.names or not all(isinstance(text, str) for text in texts):
        return unusable(array.shape, CELLS)
    return in_memory(np.array(texts, str).reshape(array.shape))


def texts(stored: h5py.Dataset) -> Stream | None:
    """Return the texts of a data set of 7.3: cells, or a matrix of characters; None where it has numbers."""
    kind = stored.attrs.get(CLASS)
    if kind == b"char" and stored.ndim == 2:
        return in_memory(np.array(["".join(map(chr, row)).rstrip() for row in stored[()].T]))
    if kind != b"cell":
        return None
    cells = [stored.file[one] for one in stored[()].T.ravel()]
    if not all(one.attrs.get(CLASS) == b"char" for one in cells):
        return unusable(stored.shape[::-1], CELLS)
    return in_memory(np.array(["".join(map(chr, one[()].ravel())) for one in cells]))
