"""What a data file must look like: every departure is a UserError that names the place and the remedy.

The format is that of docs/data.md. A file comes from anywhere, so nothing in it is taken for granted.
"""

import errno
import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path

import h5py
import numpy as np

from dbmpi.data.factors import Factor, factor
from dbmpi.data.watch import Changed
from dbmpi.errors import UserError
from dbmpi.files import working_directory
from dbmpi.text import SHOWN, has_control, several, show

FORMAT = "docs/data.md describes the format"
# Of decompressed chunks, for each open split: a portion may begin in the middle of the last one's chunks.
CACHE_BYTES = 16 << 20
# h5py picks one of these by the code that HDF5 gives, which for a damaged file can be any; and memory.
READ_ERRORS = MemoryError, OSError, RuntimeError, KeyError, ValueError, TypeError
MOST_NAMES = 8  # of what a group holds, in a message
# Of scale (the least too) and offset, in magnitude: beyond, float32 rounds inputs to 0 or overflows.
ATTRIBUTE_RANGE = 1e-30, 1e15


def opened(path: Path, cache_bytes: int = CACHE_BYTES) -> h5py.File:
    """Open a data file read-only and without locks. Local.

    Parameters
    ----------
    path : Path
    cache_bytes : int
        Memory for the decompressed chunks of each data set.

    Raises
    ------
    UserError
        It is missing, not a file, not readable, not HDF5, or damaged.
    """
    _check_file(path)
    with explain_errors(f"{path}: the file"):
        return h5py.File(path, "r", driver="sec2", locking=False, rdcc_nbytes=cache_bytes)


def _check_file(path: Path) -> None:
    """Say what is wrong with a file in better words than HDF5 does."""
    with explain_errors(f"{path}: the file"):
        try:
            mode = os.stat(path).st_mode
        except (FileNotFoundError, NotADirectoryError, ValueError):
            raise UserError(
                f"{path}: there is no such file (data.path; the working directory is {working_directory()}); "
                'name an HDF5 file, or "digits" for the embedded data set'
            ) from None
        if not stat.S_ISREG(mode):
            remedy = "name an HDF5 file; python -m dbmpi.prepare images makes one of a folder of images"
            raise UserError(f"{path}: is a directory or a device (data.path); {remedy}")
        if not os.access(path, os.R_OK):
            raise UserError(f"{path}: may not be read by this user (data.path); change its permissions")
        path.open("rb").close()
        if not h5py.is_hdf5(path):
            raise UserError(_other_format(path))


def _other_format(path: Path) -> str:
    from dbmpi.data.file_types import OTHER, type_of

    found = type_of(path)
    said = f"it {found.said(path)}" if found is not OTHER else FORMAT
    return f"{path}: is not an HDF5 file (data.path); {said}"


@contextmanager
def explain_errors(where: str) -> Iterator[None]:
    """Turn what HDF5 raises into one message.

    Parameters
    ----------
    where : str
        File and what is read of it.

    Raises
    ------
    UserError
        In place of `READ_ERRORS`.
    """
    try:
        yield
    except READ_ERRORS as error:
        raise _unreadable(where, error) from error


def _unreadable(where: str, error: Exception) -> UserError:
    """Return an error of `READ_ERRORS` as one message which names the file and what was read of it."""
    if isinstance(error, MemoryError):
        return UserError(
            f"{where} does not fit into memory: {error}; a damaged file can declare any size; if this "
            "one is whole, a row or chunk of it is too large"
        )
    if isinstance(error, Changed):
        return UserError(f"{where} cannot be read: {error}")
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return UserError(f"{where} cannot be read: {error}; raise the limit of open files: ulimit -n")
    said = error.args[0] if isinstance(error, KeyError) and error.args else error  # which quotes its text
    reason = " ".join(str(said).split())
    return UserError(
        f"{where} cannot be read: {reason}; the file is damaged, incomplete or out of reach: "
        "check that it is whole (h5dump -H shows its content), copy or write it again"
    )


def names(group: h5py.Group) -> str:
    """Name what a group holds, on one line whatever the names hold. Local."""
    return ", ".join(show(name).strip('"') for name in itertools.islice(group, MOST_NAMES)) or "nothing"


def examined_x(shape: tuple[int, ...], dtype: np.dtype, where: str) -> tuple[int, tuple[int, ...]]:
    """Return the number of rows and the shape of one. Local.

    Parameters
    ----------
    shape, dtype
        Of `x`.
    where : str
        File and data set, for messages.

    Raises
    ------
    UserError
        The shape is empty or none of the format's, or the type is neither uint8 nor float.
    """
    if not shape or not 2 <= len(shape) <= 4:
        raise UserError(
            f"{where} has shape {shape}; reshape it to (N, features), (N, H, W) or (N, H, W, C) "
            "when you write it"
        )
    if not (dtype == np.uint8 or _is_float(dtype)):
        raise UserError(
            f"{where} has type {dtype}; store uint8 or a float type, for instance x.astype('float32')"
        )
    if 0 in shape:
        raise UserError(f"{where} has shape {shape} and so holds no values; write at least one example")
    return shape[0], shape[1:]


def examined_y(shape: tuple[int, ...], dtype: np.dtype, rows: int, where: str) -> int | None:
    """Return the number of targets, None for integer labels. Local.

    Parameters
    ----------
    shape, dtype
        Of `y`.
    rows : int
        Rows of the `x` beside it.
    where : str
        File and data set, for messages.

    Raises
    ------
    UserError
        It is neither integer labels (N,) nor float targets (N,) or (N, T) nor integers or truth values (N, T)
        of more than one column, or N is another than `rows`.
    """
    binary = dtype.kind in "iub" and len(shape) == 2 and shape[1] > 1
    labels = dtype.kind in "iu" and not binary
    if not labels and not binary and not _is_float(dtype):
        raise UserError(
            f"{where} has type {dtype}; store labels as integers ({_as_labels(shape, dtype)}) or targets as "
            "floats"
        )
    if not shape or len(shape) > (1 if labels else 2) or 0 in shape:
        allowed = "(N,) for integer labels" if labels else "(N,) or (N, targets) for float targets"
        remedy = _as_labels(shape, dtype) if labels else "y.reshape(len(y), -1)"
        raise UserError(f"{where} has shape {shape}; it must be {allowed}: store {remedy}")
    check_rows(shape, rows, where)
    return None if labels else prod(shape[1:])


def check_rows(shape: tuple[int, ...], rows: int, where: str) -> None:
    """Raise UserError unless targets of such a shape are as many as the rows beside them. Local."""
    if not shape or shape[0] != rows:
        raise UserError(
            f"{where} has {several(shape[0] if shape else 0, 'row')} but x beside it has {rows}; write one "
            "for each example"
        )


def _as_labels(shape: tuple[int, ...], dtype: np.dtype) -> str:
    """Say what makes integer labels of a `y` of this shape and type, in numpy's words."""
    if len(shape) == 2 and shape[1] > 1:
        return "y.argmax(axis=1) if they are one-hot"
    if dtype.kind in "iub":
        return "y.reshape(-1).astype('int64')"
    return "numpy.searchsorted(names, y), with names = numpy.unique of both y together"


def attribute(x: h5py.Dataset, key: str, default: float, where: str) -> Factor:
    """Return an attribute of `x`: finite numbers, one or as many as inputs; where it is absent, `default`.

    Local.

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
    value = np.asarray(x.attrs[key] if key in x.attrs else default)  # get() takes a failure for absence
    numbers = _for_each(value, x.shape[1:]) if value.dtype.kind in "iuf" else None
    least, most = ATTRIBUTE_RANGE
    if (
        numbers is None
        or not (np.abs(numbers) <= most).all()
        or (key == "scale" and (np.abs(numbers) < least).any())
    ):
        wanted = f"up to {most:g} in magnitude"
        if key == "scale":
            wanted = f"other than 0, from {least:g} {wanted}"
        given = repr(value.tolist())[:SHOWN]
        raise UserError(
            f"{where} has the attribute {key} = {given}; it must be one finite number {wanted}, or an array "
            f"of such numbers that numpy broadcasts to the shape {x.shape[1:]} of an example"
        )
    return factor(numbers)


def _for_each(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return one number as it is, several as many as an example of a shape has; None where that cannot be."""
    if value.size == 1:
        return value
    try:
        return np.broadcast_to(value, shape)
    except ValueError:
        return None


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


def columns_of(x: h5py.Dataset) -> tuple[str, ...]:
    """Return the names of features that `dbmpi.prepare table` notes, the attribute `columns` of the file.

    Nothing where it is absent, or something else of that name.
    """
    names: tuple[str, ...] = ()
    with suppress(KeyError, OSError, TypeError, ValueError):  # it may be anything
        names = tuple(x.file.attrs["columns"])
    right = x.shape[1:] == (len(names),) and len(set(names)) == len(names)
    return names if right and all(isinstance(name, str) for name in names) else ()


def read_dtype(stored: np.dtype) -> np.dtype:
    """Return the type to read into: native byte order, and float16, which kernels lack, as float32."""
    if stored == np.uint8:
        return np.dtype(np.uint8)
    return np.dtype(np.float64 if stored.itemsize == 8 else np.float32)


def _is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f" and dtype.itemsize in (2, 4, 8)
