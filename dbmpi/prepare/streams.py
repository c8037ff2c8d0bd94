"""Files of named arrays: .npz, folders of .npy, and .mat; HDF5 by `data_sets`."""

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import h5py
import numpy as np

from dbmpi.arrays import Array
from dbmpi.data import file_types
from dbmpi.data.file_types import type_of
from dbmpi.errors import UserError
from dbmpi.prepare import matlab, regular
from dbmpi.prepare.data_sets import DataSets
from dbmpi.prepare.stream import Stream, explained, in_memory, unusable

OBJECTS = (
    "holds objects of Python, which would run as code when they are loaded: save numbers, or texts, as by "
    "numpy.savez(..., y=y.astype(str))"
)
END = ".npy"


@contextmanager
def opened(path: Path) -> Iterator[Mapping[str, Stream]]:
    """Open a file, or a folder of .npy files; yield its arrays by their names. Raises UserError."""
    with ExitStack() as files:
        with explained(str(path)):
            arrays = _arrays(path, files)
        yield arrays


def _arrays(path: Path, files: ExitStack) -> Mapping[str, Stream]:
    if path.is_dir():
        found = {one.stem: _alone(one) for one in sorted(path.glob(f"*{END}"))}
        if not found:
            raise UserError(f"{path}: is a directory without {END} files; name a file, or a folder of these")
        return found
    if h5py.is_hdf5(path):
        return DataSets(path, path.suffix == ".mat", files)
    file = files.enter_context(regular.opened(path))
    if path.suffix == ".mat":
        return _old_mat(path, file)
    _check_type(path)
    return ZipArrays(path, files.enter_context(zipfile.ZipFile(file)))


def _check_type(path: Path) -> None:
    """Raise UserError where a file is of another type than .npz."""
    found = type_of(path)
    if found is file_types.NPY:
        raise UserError(f"{path}: is one array; give the folder of the .npy files of inputs and targets")
    if found not in (file_types.NPZ, file_types.OTHER):
        raise UserError(f"{path}: is not a zip file of arrays; it {found.said(path)}")


def _alone(path: Path) -> Stream:
    """Return the array of an .npy. Raises UserError where it is damaged."""
    with explained(str(path)), regular.opened(path) as file:
        shape, _, dtype = _header(file)
        return unusable(shape, OBJECTS) if dtype.hasobject else in_memory(np.load(path, mmap_mode="r"))


def _old_mat(path: Path, file: IO[bytes]) -> dict[str, Stream]:
    """Return the arrays of a .mat before 7.3, which SciPy reads as a whole."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UserError(f"{path}: a .mat before 7.3 needs scipy: pip install scipy") from error
    return matlab.arrays(loadmat(file, squeeze_me=False))


class ZipArrays(Mapping[str, Stream]):
    """The arrays of an .npz, each of which is read from the start to the end. Other members do not matter."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path, self._archive = path, archive
        self._members = {
            one.filename.removesuffix(END): one for one in archive.infolist() if one.filename.endswith(END)
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> Stream:
        """Return an array. Raises UserError where it is damaged."""
        member, where = self._members[name], f"{self._path}: {name}"
        with explained(where), self._archive.open(member) as file:
            shape, fortran, dtype = _header(file)
            if dtype.hasobject:
                return unusable(shape, OBJECTS)
            wanted, there = dtype.itemsize * int(np.prod(shape, dtype=object)), member.file_size - file.tell()
            if wanted != there or min(shape, default=0) < 0:
                raise ValueError(f"it declares shape {shape} of {dtype}, {wanted} bytes, but holds {there}")
            if fortran and len(shape) > 1:  # columns first: no rows without all
                file.seek(0)
                return in_memory(np.lib.format.read_array(file, allow_pickle=False))

        def batches(rows: int) -> Iterator[Array]:
            each = wanted // max(1, shape[0])
            with explained(where):
                file = self._archive.open(member)
                _header(file)
            with file:
                for start in range(0, shape[0], rows):
                    count = min(rows, shape[0] - start)
                    with explained(f"{where}, from row {start} on"):
                        some = np.frombuffer(file.read(count * each), dtype).reshape(count, *shape[1:])
                    yield some

        return Stream(shape, dtype, batches)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an .npy: its shape, whether columns come first, its type."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it was written by Python 2
        shape, fortran, dtype = read(file)
    return tuple(int(extent) for extent in shape), fortran, dtype
