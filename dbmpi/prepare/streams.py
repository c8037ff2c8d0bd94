"""Files of named arrays, whose rows are read in order and not all at once: .npz, .npy, .mat and HDF5."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from dbmpi.arrays import Array
from dbmpi.data import file_types
from dbmpi.data.file_types import type_of
from dbmpi.errors import UserError


@dataclass(frozen=True)
class Stream:
    """One array.

    Attributes
    ----------
    shape, dtype
        Rows come first.
    batches
        Yields so many rows after another. Raises UserError where it holds no numbers or texts.
    turned
        Gives the array whose rows are the last axis of this one.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    batches: Callable[[int], Iterator[Array]]
    turned: Callable[[], "Stream"]


@contextmanager
def opened(path: Path) -> Iterator[Mapping[str, Stream]]:
    """Open a file, or a folder of .npy files; yield its arrays by their names.

    Raises UserError for what cannot be read.
    """
    try:
        if path.is_dir():
            yield {one.stem: _whole(np.load(one, mmap_mode="r")) for one in sorted(path.glob("*.npy"))}
        elif h5py.is_hdf5(path):
            with h5py.File(path, "r", locking=False) as file:
                yield _hdf5(file, transposed=path.suffix == ".mat")
        elif path.suffix == ".mat":
            yield _old_mat(path)
        else:
            _check_zip(path)
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".npy")]
                yield {name.removesuffix(".npy"): _npy(archive, name, path) for name in names}
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: cannot be read: {' '.join(str(error).split())}; is it whole, and of this kind?"
        ) from error


def _check_zip(path: Path) -> None:
    """Raise UserError where a file is of another format than .npz."""
    found = type_of(path)
    if found is file_types.NPY:
        raise UserError(f"{path}: is one array; give the folder of the .npy files of inputs and targets")
    if found is not file_types.NPZ:
        raise UserError(f"{path}: {found.said(path)}")


def _hdf5(file: h5py.File, transposed: bool) -> dict[str, Stream]:
    """Return the data sets of a file. MATLAB writes its arrays with the last axis first (`transposed`)."""
    found: dict[str, Stream] = {}

    def visit(name: str, item: Any) -> None:
        if "pandas_type" in item.attrs:
            raise UserError(f"{file.filename}: {file_types.PANDAS.said(Path(file.filename))}")
        if isinstance(item, h5py.Dataset) and item.shape and not name.startswith("#"):
            texts = _matlab_texts(item) if "MATLAB_class" in item.attrs else None
            found[name] = texts or _dataset(item, transposed)

    file.visititems(visit)
    return found


def _dataset(item: h5py.Dataset, transposed: bool, last: bool = False) -> Stream:
    """Return a data set, whose rows are its `last` axis, or its first one."""
    shape = item.shape[::-1] if transposed else item.shape
    shape = (shape[-1], *shape[:-1]) if last else shape
    text = h5py.check_string_dtype(item.dtype) is not None

    def take(chosen: slice) -> Array:
        if text:
            return np.asarray(item.asstr()[chosen]).astype(str)
        if transposed == last:  # the rows are the first axis of what HDF5 has
            found = np.asarray(item[chosen])
            return found.transpose(0, *range(found.ndim - 1, 0, -1)) if last else found
        found = np.asarray(item[..., chosen])
        return found.T if transposed else np.moveaxis(found, -1, 0)

    def batches(rows: int) -> Iterator[Array]:
        for start in range(0, shape[0], rows):
            yield take(slice(start, min(start + rows, shape[0])))

    return Stream(
        shape, np.dtype(str) if text else item.dtype, batches, lambda: _dataset(item, transposed, True)
    )


def _matlab_texts(item: h5py.Dataset) -> Stream | None:
    """Return the texts of MATLAB 7.3: an array of cells, or a matrix of characters; None for numbers."""
    kind = item.attrs["MATLAB_class"]
    if kind == b"char":
        return _whole(np.array(["".join(map(chr, row)).rstrip() for row in item[()].T]))
    if kind != b"cell":
        return None
    cells = [item.file[one] for one in item[()].T.ravel()]
    if not all(cell.attrs.get("MATLAB_class") == b"char" for cell in cells):
        return None
    return _whole(np.array(["".join(map(chr, cell[()].ravel())) for cell in cells]))


def _old_mat(path: Path) -> dict[str, Stream]:
    """Return the arrays of a .mat before 7.3, which SciPy reads as a whole."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UserError(f"{path}: a .mat before 7.3 needs scipy: pip install scipy") from error
    found = {name: one for name, one in loadmat(path).items() if isinstance(one, np.ndarray)}
    return {name: _whole(array) for name, array in _plain(found).items() if array.ndim}


def _plain(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return arrays with the fields of structures as arrays of their own, and cells of texts as texts."""
    found: dict[str, Array] = {}
    for name, array in arrays.items():
        if array.dtype.names and array.size == 1:
            found |= _plain({f"{name}/{one}": np.asarray(array[one].item()) for one in array.dtype.names})
        elif array.dtype == object and all(np.asarray(one).dtype.kind == "U" for one in array.flat):
            found[name] = np.array(["".join(np.asarray(one).flat) for one in array.flat])
        else:
            found[name] = array
    return found


def _whole(array: Array) -> Stream:
    def batches(rows: int) -> Iterator[Array]:
        yield from (array[start : start + rows] for start in range(0, len(array), rows))

    return Stream(array.shape, array.dtype, batches, lambda: _whole(np.moveaxis(array, -1, 0)))


def _npy(archive: zipfile.ZipFile, name: str, path: Path) -> Stream:
    """Return an array of an .npz, which is read from the start to the end."""
    with archive.open(name) as file:
        shape, fortran, dtype = _header(file)

    def whole() -> Array:
        if dtype.hasobject:
            remedy = "save texts or numbers, as by numpy.savez(..., y=y.astype(str))"
            raise UserError(f"{path}: {name.removesuffix('.npy')} holds objects of Python; {remedy}")
        return np.load(archive.open(name), allow_pickle=False)

    def turned() -> Stream:
        return _whole(np.moveaxis(whole(), -1, 0))

    def batches(rows: int) -> Iterator[Array]:
        if dtype.hasobject or fortran and len(shape) > 1:  # columns first: no rows without all
            yield from _whole(whole()).batches(rows)
            return
        each = dtype.itemsize * int(np.prod(shape[1:], dtype=object))
        with archive.open(name) as file:
            _header(file)
            for start in range(0, shape[0], rows):
                wanted = min(rows, shape[0] - start)
                yield np.frombuffer(file.read(wanted * each), dtype).reshape(wanted, *shape[1:])

    return Stream(shape, dtype, batches, turned)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an .npy: its shape, whether columns come first, its type."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype
