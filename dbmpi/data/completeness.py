"""Whether a data set holds all the rows that it declares: if not, HDF5 reads zeros and says nothing.

Rows are missing where a program was ended while it wrote them, where the index of a damaged file lost them,
and where those of a virtual or external data set lie in other files. Local.
"""

import os
from array import array
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dbmpi.data.hdf5 import opened
from dbmpi.errors import UserError

MOST_LEVELS = 8  # virtual data sets above each other; more is a circle, in which HDF5 would never end
MOST_CHUNKS = 1 << 20  # looked at one by one, in some 2 s; more are only counted
CHECKSUM_BYTES = 4  # of the filter fletcher32
_AGAIN = "write the file again, and to its end"


def check_complete(
    stored: h5py.Dataset, path: Path, where: str, stand_in: bool = False, level: int = 1
) -> None:
    """Refuse a data set of which rows were never written, or lie where they cannot be read.

    Costs one walk through the index of the chunks; rows are not read. A damaged index can lead HDF5 to crash.

    Parameters
    ----------
    stored : h5py.Dataset
    path : Path
        Of its file.
    where : str
        File and data set, for messages.
    stand_in : bool
        Whether one of which nothing at all was written passes too: it shows shapes, to plan a run by.
    level : int
        How many data sets, this one included, the rows came through.

    Raises
    ------
    UserError
    """
    if stand_in and not (stored.is_virtual or stored.external or stored.id.get_storage_size()):
        return
    if stored.is_virtual:
        _check_virtual(stored, path, where, level)
    elif stored.external:
        _check_external(stored, where)
    elif stored.chunks:
        _check_chunks(stored, path, where)
    else:
        _check_block(stored, path, where)


def _check_chunks(stored: h5py.Dataset, path: Path, where: str) -> None:
    """Check the index of the chunks: every one is there, once, and none overlaps another."""
    grid = tuple(-(-extent // chunk) for extent, chunk in zip(stored.shape, stored.chunks, strict=True))
    wanted, present = prod(grid), stored.id.get_num_chunks()
    if present != wanted:
        raise UserError(
            f"{where} has shape {stored.shape}, but of its {wanted} chunks {present} were written; {_AGAIN}"
        )
    if present > MOST_CHUNKS or not hasattr(stored.id, "chunk_iter"):
        return
    index, start, size = _index(stored, grid)
    order = np.argsort(start)
    apart = start[order][1:] >= (start + size)[order][:-1]
    whole = size.min() >= _least(stored) and start.min() > 0 and (start + size).max() <= path.stat().st_size
    if not (whole and apart.all() and np.array_equal(np.sort(index), np.arange(wanted))):
        raise UserError(
            f"{where} has an index that leads to chunks which overlap, or lie nowhere: the file is damaged, "
            f"so copy it again, or {_AGAIN}"
        )


def _index(stored: h5py.Dataset, grid: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each chunk its number in row-major order, -1 off the grid, its start and its size."""
    found = array("d")  # exact to 2**53, and never out of range
    stored.id.chunk_iter(
        lambda chunk: found.extend((*chunk.chunk_offset, chunk.byte_offset or 0, chunk.size))
    )
    table = np.frombuffer(found).reshape(-1, stored.ndim + 2)
    at, odd = np.divmod(table[:, : stored.ndim], stored.chunks)
    inside = (odd == 0).all(axis=1) & (at < grid).all(axis=1)
    number = np.ravel_multi_index(at[inside].astype(int).T, grid)
    index = np.full(len(table), -1)
    index[inside] = number
    return index, table[:, -2], table[:, -1]


def _least(stored: h5py.Dataset) -> int:
    """Return the fewest bytes of a chunk: of a shorter one HDF5 reads the checksum before its start."""
    filters = stored.id.get_create_plist()
    if filters.get_nfilters() == 0:
        return prod(stored.chunks) * stored.dtype.itemsize
    return CHECKSUM_BYTES + 1


def _check_block(stored: h5py.Dataset, path: Path, where: str) -> None:
    """Check rows that lie one after another: in one stretch of the file, or within the metadata."""
    size, start = stored.id.get_storage_size(), stored.id.get_offset()
    wanted = stored.size * stored.dtype.itemsize
    if size < wanted:
        raise UserError(
            f"{where} has shape {stored.shape}, but of its {wanted} bytes {size} were written; {_AGAIN}"
        )
    if start is not None and start + size > path.stat().st_size:
        raise UserError(f"{where} ends behind the end of the file, which is damaged: {_AGAIN}")


def _check_external(stored: h5py.Dataset, where: str) -> None:
    """Check the raw files; HDF5 looks for them in the working directory, or where a variable says."""
    prefix = os.environ.get("HDF5_EXTFILE_PREFIX", "")
    for name, start, size in () if prefix else stored.external:
        wanted = start + min(size, stored.size * stored.dtype.itemsize)
        if not os.path.isfile(name) or os.path.getsize(name) < wanted:
            raise UserError(
                f"{where} takes rows from {name}, which is missing or has fewer than {wanted} bytes; start "
                "the program in the directory that holds it, or store the rows in the file itself"
            )


def _check_virtual(stored: h5py.Dataset, path: Path, where: str, level: int) -> None:
    if level > MOST_LEVELS:
        raise UserError(
            f"{where} is virtual and takes rows from itself, or through more than {MOST_LEVELS} others; "
            "store the rows in the file itself"
        )
    sources = stored.virtual_sources()
    mapped = sum(_points(source.vspace) for source in sources)
    if mapped < stored.size:
        raise UserError(
            f"{where} is virtual and takes {mapped:.0f} values from elsewhere, but has {stored.size}: "
            "map all of its rows"
        )
    for source, file_name in _located(stored, path):
        _check_mapping(source, file_name, where, level)


def _points(space: h5py.h5s.SpaceID) -> float:
    """Return how many values a mapping gives; one without limit, which HDF5 cannot count, gives all."""
    try:
        return float(space.get_select_npoints())
    except RuntimeError:
        return np.inf


def _fits(source: Any, found: h5py.Dataset) -> bool:
    """Return whether what a mapping takes lies within the data set that it takes it from."""
    space = source.src_space
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return _points(source.vspace) in (found.size, np.inf)
    try:
        last = space.get_select_bounds()[1]
    except RuntimeError:  # without limit: as many rows as there are
        return True
    return len(last) == found.ndim and all(np.less(last, found.shape))


def _located(stored: h5py.Dataset, path: Path) -> Iterator[tuple[Any, Path]]:
    """Yield the sources whose file can be known, each with it; `hdf5.data_set` saw that they exist."""
    for source in stored.virtual_sources():
        if source.file_name == ".":
            yield source, path
        elif "%" not in source.file_name and "HDF5_VDS_PREFIX" not in os.environ:
            beside = path.parent / source.file_name
            yield source, beside if beside.exists() else Path(source.file_name)


def _check_mapping(source: Any, file_name: Path, where: str, level: int) -> None:
    """Look at the data set that a virtual one takes rows from."""
    with opened(file_name) as file:
        found = file.get(source.dset_name)
        if not isinstance(found, h5py.Dataset):
            raise UserError(f"{where} takes rows from {file_name}, which has no data set {source.dset_name}")
        if not _fits(source, found):
            raise UserError(
                f"{where} takes more than there is from {file_name}: {source.dset_name}, which has shape "
                f"{found.shape}; {_AGAIN}"
            )
        check_complete(found, file_name, f"{file_name}: {source.dset_name}", level=level + 1)
