"""What a data file must look like: every departure is a UserError that names the place and the remedy.

The format is that of docs/data.md. A file comes from anywhere, so nothing in it is taken for granted.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import h5py
import numpy as np

from dbmpi.errors import UserError
from dbmpi.text import SHOWN, has_control, show

FORMAT = "docs/data.md describes the format"
# Of decompressed chunks, for each open split: a portion may begin in the middle of the last one's chunks.
CACHE_BYTES = 16 << 20
# h5py picks one of these by the code that HDF5 gives, which for a damaged file can be any; and memory.
READ_ERRORS = MemoryError, OSError, RuntimeError, KeyError, ValueError, TypeError
MOST_NAMES = 8  # of what a group holds, in a message
# Of scale (the least too) and offset, in magnitude: beyond, float32 rounds inputs to 0 or overflows.
ATTRIBUTE_RANGE = 1e-30, 1e15


def opened(path: Path) -> h5py.File:
    """Open a data file read-only and without locks. Local.

    Parameters
    ----------
    path : Path

    Raises
    ------
    UserError
        It is missing, not a file, not readable, not HDF5, or damaged.
    """
    if not os.path.exists(path):
        raise UserError(
            f"{path}: there is no such file (data.path; the working directory is {os.getcwd()}); "
            'name an HDF5 file, or "digits" for the embedded data set'
        )
    if not os.path.isfile(path):
        raise UserError(f"{path}: is a directory or a device (data.path); name an HDF5 file")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: may not be read by this user (data.path); change its permissions")
    if not h5py.is_hdf5(path):
        raise UserError(f"{path}: is not an HDF5 file (data.path); {FORMAT}")
    with explain_errors(path, "the file"):
        return h5py.File(path, "r", driver="sec2", locking=False, rdcc_nbytes=CACHE_BYTES)


@contextmanager
def explain_errors(path: Path, what: str) -> Iterator[None]:
    """Raise as `unreadable` what HDF5 raises."""
    try:
        yield
    except READ_ERRORS as error:
        raise unreadable(path, what, error) from error


def unreadable(path: Path, what: str, error: Exception) -> UserError:
    """Return an error of `READ_ERRORS` as one message which names the file and what was read of it. Local."""
    if isinstance(error, MemoryError):
        return UserError(
            f"{path}: {what} does not fit into memory: {error}; a damaged file can declare any size; if this "
            "one is whole, a row or chunk of it is too large"
        )
    reason = " ".join(str(error).strip("'\"").split())
    return UserError(
        f"{path}: {what} cannot be read: {reason}; the file is damaged, incomplete or out of reach: "
        "check that it is whole (h5dump -H shows its content), copy or write it again"
    )


def data_set(file: h5py.File, path: Path, name: str, key: str) -> h5py.Dataset:
    """Return the data set `key` of the group `name`. Local.

    Parameters
    ----------
    file : h5py.File
    path : Path
        Of the file, for messages.
    name, key : str
        "train" or "test", and "x" or "y".

    Raises
    ------
    UserError
        Either is missing, or rows of it lie in another file which is missing.
    """
    if not isinstance(file.get(name), h5py.Group):
        there = _names(file)
        raise UserError(f"{path}: has no group {name!r}, only {there}; {FORMAT}")
    found = file[name].get(key)
    if not isinstance(found, h5py.Dataset):
        there = _names(file[name])
        raise UserError(f"{path}: group {name!r} has no data set {key!r}, only {there}; {FORMAT}")
    for source in found.virtual_sources() if found.is_virtual else ():
        _check_source(path, f"{path}: {name}/{key}", source.file_name)
    return found


def _names(group: h5py.Group) -> str:
    """Name what a group holds, on one line whatever the names hold."""
    return ", ".join(show(name).strip('"') for name in itertools.islice(group, MOST_NAMES)) or "nothing"


def _check_source(path: Path, where: str, source: str) -> None:
    """Look for one file of a virtual data set: if it is missing, HDF5 reads zeros and says nothing."""
    candidates = (path.parent / source, Path(source))
    patterned = "%" in source or "HDF5_VDS_PREFIX" in os.environ
    if source != "." and not patterned and not any(one.exists() for one in candidates):
        raise UserError(
            f"{where} is virtual and takes rows from {source}, which is missing; put it beside {path}"
        )


def examined_x(x: h5py.Dataset, where: str) -> tuple[int, tuple[int, ...]]:
    """Return the number of rows and the shape of one. Local.

    Parameters
    ----------
    x : h5py.Dataset
    where : str
        File and data set, for messages.

    Raises
    ------
    UserError
        The shape is empty or none of the format's, or the type is neither uint8 nor float.
    """
    if not x.shape or not 2 <= x.ndim <= 4:
        raise UserError(
            f"{where} has shape {x.shape}; reshape it to (N, features), (N, H, W) or (N, H, W, C) "
            "when you write it"
        )
    if not (x.dtype == np.uint8 or _is_float(x.dtype)):
        raise UserError(
            f"{where} has type {x.dtype}; store uint8 or a float type, for instance x.astype('float32')"
        )
    if 0 in x.shape:
        raise UserError(f"{where} has shape {x.shape} and so holds no values; write at least one example")
    return int(x.shape[0]), tuple(int(extent) for extent in x.shape[1:])


def examined_y(y: h5py.Dataset, rows: int, where: str) -> int | None:
    """Return the number of float targets, None for integer labels. Local.

    Parameters
    ----------
    y : h5py.Dataset
    rows : int
        Rows of the `x` beside it.
    where : str
        File and data set, for messages.

    Raises
    ------
    UserError
        It is neither integer labels (N,) nor float targets (N,) or (N, T), or N is another than `rows`.
    """
    labels = y.dtype.kind in "iu"
    if not labels and not _is_float(y.dtype):
        raise UserError(
            f"{where} has type {y.dtype}; store labels as integers (y.astype('int64')) or targets as floats"
        )
    if not y.shape or y.ndim > (1 if labels else 2) or 0 in y.shape:
        allowed = "(N,) for integer labels" if labels else "(N,) or (N, targets) for float targets"
        raise UserError(f"{where} has shape {y.shape}; it must be {allowed}, reshape it when you write it")
    if y.shape[0] != rows:
        raise UserError(
            f"{where} has {y.shape[0]} rows but x beside it has {rows}; write one for each example"
        )
    return None if labels else prod(y.shape[1:])


def attribute(x: h5py.Dataset, key: str, default: float, where: str) -> float:
    """Return an attribute of `x` that is one finite number, `default` where it is absent. Local.

    Parameters
    ----------
    x : h5py.Dataset
    key : {"scale", "offset"}
    default : float
    where : str
        File and data set, for messages.

    Raises
    ------
    UserError
        It is anything else, or a scale of 0, or nothing that float32 could compute with.
    """
    value = np.asarray(x.attrs.get(key, default))
    number = float(value.item()) if value.size == 1 and value.dtype.kind in "iuf" else np.nan
    least, most = ATTRIBUTE_RANGE
    if not abs(number) <= most or (key == "scale" and abs(number) < least):
        wanted = f"up to {most:g} in magnitude"
        if key == "scale":
            wanted = f"other than 0, from {least:g} {wanted}"
        given = repr(value.tolist())[:SHOWN]
        raise UserError(f"{where} has the attribute {key} = {given}; it must be one finite number {wanted}")
    return number


def class_names(y: h5py.Dataset, where: str) -> tuple[str, ...] | None:
    """Return the attribute `class_names` of labels, the name of each class in order; None where it is absent.

    Parameters
    ----------
    y : h5py.Dataset
    where : str
        File and data set, for messages.

    Raises
    ------
    UserError
        It is anything but a list of texts.
    """
    if "class_names" not in y.attrs:
        return None
    names = np.asarray(y.attrs["class_names"])
    try:
        texts = [name.decode() if isinstance(name, bytes) else name for name in names.tolist()]
    except (TypeError, UnicodeDecodeError):
        texts = [None]
    if names.ndim != 1 or not all(isinstance(text, str) and not has_control(text) for text in texts):
        raise UserError(
            f"{where} has an attribute class_names that is no list of texts; write y.attrs['class_names'] = "
            "['cat', 'dog'], the name of class 0 first"
        )
    return tuple(texts)


def read_dtype(stored: h5py.Dataset) -> np.dtype:
    """Return the type to read into: native byte order, and float16, which kernels lack, as float32."""
    if stored.dtype == np.uint8:
        return np.dtype(np.uint8)
    return np.dtype(np.float64 if stored.dtype.itemsize == 8 else np.float32)


def _is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f" and dtype.itemsize in (2, 4, 8)
