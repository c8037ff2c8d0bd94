"""Files of named arrays, whose rows are read in order and not all at once: .npz, .mat and HDF5."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError


@dataclass(frozen=True)
class Stream:
    """One array.

    Attributes
    ----------
    shape, dtype
        Rows come first.
    batches
        Yields so many rows after another.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    batches: Callable[[int], Iterator[Array]]


@contextmanager
def opened(path: Path) -> Iterator[Mapping[str, Stream]]:
    """Open a file; yield its arrays by their names. Raises UserError for what cannot be read."""
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r", locking=False) as file:
                yield _hdf5(file, transposed=path.suffix == ".mat")
        elif path.suffix == ".mat":
            yield _old_mat(path)
        else:
            with zipfile.ZipFile(path) as archive:
                yield {name.removesuffix(".npy"): _npy(archive, name) for name in archive.namelist()}
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: cannot be read: {' '.join(str(error).split())}; is it whole, and of this kind?"
        ) from error


def _hdf5(file: h5py.File, transposed: bool) -> dict[str, Stream]:
    """Return the data sets of a file. MATLAB writes its arrays with the last axis first (`transposed`)."""
    found: dict[str, Stream] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape:
            found[name] = _dataset(item, transposed)

    file.visititems(visit)
    return found


def _dataset(item: h5py.Dataset, transposed: bool) -> Stream:
    shape = item.shape[::-1] if transposed else item.shape
    text = h5py.check_string_dtype(item.dtype) is not None

    def batches(rows: int) -> Iterator[Array]:
        for start in range(0, shape[0], rows):
            chosen = slice(start, min(start + rows, shape[0]))
            if transposed:
                yield item[..., chosen].T
            else:
                yield item.asstr()[chosen].astype(str) if text else item[chosen]

    return Stream(shape, np.dtype(str) if text else item.dtype, batches)


def _old_mat(path: Path) -> dict[str, Stream]:
    """Return the arrays of a .mat before 7.3, which SciPy reads as a whole."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UserError(f"{path}: a .mat before 7.3 needs scipy: pip install 'dbmpi[prepare]'") from error
    found = loadmat(path, squeeze_me=False)
    return {
        name: _whole(array) for name, array in found.items() if isinstance(array, np.ndarray) and array.ndim
    }


def _whole(array: Array) -> Stream:
    def batches(rows: int) -> Iterator[Array]:
        yield from (array[start : start + rows] for start in range(0, len(array), rows))

    return Stream(array.shape, array.dtype, batches)


def _npy(archive: zipfile.ZipFile, name: str) -> Stream:
    """Return an array of an .npz, which is read from the start to the end."""
    with archive.open(name) as file:
        shape, fortran, dtype = _header(file)
    if fortran and len(shape) > 1 or dtype.hasobject:
        return _whole(np.load(archive.open(name), allow_pickle=False))  # columns first: no rows without all

    def batches(rows: int) -> Iterator[Array]:
        each = dtype.itemsize * int(np.prod(shape[1:], dtype=object))
        with archive.open(name) as file:
            _header(file)
            for start in range(0, shape[0], rows):
                wanted = min(rows, shape[0] - start)
                yield np.frombuffer(file.read(wanted * each), dtype).reshape(wanted, *shape[1:])

    return Stream(shape, dtype, batches)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an .npy: its shape, whether columns come first, its type."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype
