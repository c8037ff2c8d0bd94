"""Whether a data set holds all the rows that it declares: if not, HDF5 reads zeros and says nothing.

Rows are missing where a program was ended while it wrote them, and where the index of a damaged file lost
them. What lies in other files, `data.sources` looks for. Local.
"""

from array import array
from math import prod

import h5py
import numpy as np

from dbmpi.errors import UserError

MOST_CHUNKS = 1 << 20  # looked at one by one, in some 2 s; more are only counted
CHECKSUM_BYTES = 4  # of the filter fletcher32
AGAIN = "write the file again, and to its end"


def check_stored(stored: h5py.Dataset, file_size: int, where: str) -> None:
    """Refuse a data set of which rows were never written, or lie where nothing is.

    Costs one walk through the index of the chunks; rows are not read. A damaged index can lead HDF5 to crash.

    Parameters
    ----------
    stored : h5py.Dataset
        Whose rows lie in its own file.
    file_size : int
        Bytes of that file.
    where : str
        File and data set, for messages.

    Raises
    ------
    UserError
    """
    if stored.chunks:
        _check_chunks(stored, file_size, where)
    else:
        _check_block(stored, file_size, where)


def _check_chunks(stored: h5py.Dataset, file_size: int, where: str) -> None:
    """Check the index of the chunks: every one is there, once, and none overlaps another."""
    grid = tuple(-(-extent // chunk) for extent, chunk in zip(stored.shape, stored.chunks, strict=True))
    wanted, present = prod(grid), stored.id.get_num_chunks()
    if present != wanted:
        raise UserError(
            f"{where} has shape {stored.shape}, but of its {wanted} chunks {present} were written; {AGAIN}"
        )
    if present > MOST_CHUNKS or not hasattr(stored.id, "chunk_iter"):
        return
    index, start, size = _index(stored, grid)
    order = np.argsort(start)
    apart = start[order][1:] >= (start + size)[order][:-1]
    whole = size.min() >= _least(stored) and start.min() > 0 and (start + size).max() <= file_size
    if not (whole and apart.all() and np.array_equal(np.sort(index), np.arange(wanted))):
        raise UserError(
            f"{where} has an index that leads to chunks which overlap, or lie nowhere: the file is damaged, "
            f"so copy it again, or {AGAIN}"
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


def _check_block(stored: h5py.Dataset, file_size: int, where: str) -> None:
    """Check rows that lie one after another: in one stretch of the file, or within the metadata."""
    size, start = stored.id.get_storage_size(), stored.id.get_offset()
    wanted = stored.size * stored.dtype.itemsize
    if size < wanted:
        raise UserError(
            f"{where} has shape {stored.shape}, but of its {wanted} bytes {size} were written; {AGAIN}"
        )
    if start is not None and start + size > file_size:
        raise UserError(f"{where} ends behind the end of the file, which is damaged: {AGAIN}")
