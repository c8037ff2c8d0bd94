"""Selections of a virtual data set as grids: the coordinates that are selected, dimension by dimension.

A grid is the product of ascending coordinates, one sequence a dimension, and its values run in row-major
order. All that h5py maps is one: stretches, strides, lists of rows. Calculates only.
"""

from collections.abc import Iterator
from math import prod

import h5py
import numpy as np

from dbmpi.layout.boxes import Range

Coordinates = range | np.ndarray
Grid = tuple[Coordinates, ...]


def grid_of(space: h5py.h5s.SpaceID, shape: tuple[int, ...]) -> Grid:
    """Return what is selected of a data set of such a shape; what has no limit ends with the data set.

    Raises
    ------
    ValueError
        More is selected than there is, or points that form no grid.
    """
    kind = space.get_select_type()
    if kind == h5py.h5s.SEL_ALL:
        return tuple(range(extent) for extent in shape)
    if kind != h5py.h5s.SEL_HYPERSLABS or space.get_simple_extent_ndims() != len(shape):
        raise ValueError("the selection is no stretch of rows")
    if space.is_regular_hyperslab():
        edges = zip(*space.get_regular_hyperslab(), shape, strict=True)
        return tuple(_regular(*(int(edge) for edge in one)) for one in edges)
    return _irregular(space, shape)


def _regular(start: int, stride: int, count: int, block: int, extent: int) -> Coordinates:
    """Return the coordinates of `count` blocks, `stride` apart."""
    unlimited = h5py.h5s.UNLIMITED in (count, block)
    if block == h5py.h5s.UNLIMITED:
        block = max(extent - start, 0)
    if count == h5py.h5s.UNLIMITED:
        count = max(-(-(extent - start) // stride), 0)
    if not unlimited and start + (count - 1) * stride + block > extent:
        raise ValueError(f"it takes more than there is, {extent} in one dimension")
    if count == 1 or block == stride:
        return range(start, min(start + count * block, extent))
    if block == 1:
        return range(start, start + count * stride, stride)
    found = np.add.outer(start + stride * np.arange(count), np.arange(block)).ravel()
    return found[found < extent]


def _irregular(space: h5py.h5s.SpaceID, shape: tuple[int, ...]) -> Grid:
    """Return the coordinates of blocks in any number, such as those of a list of rows."""
    blocks = space.get_select_hyper_blocklist().astype(np.int64)
    if (blocks[:, 1] >= shape).any():
        raise ValueError(f"it takes more than there is of {shape}")
    edges = (np.unique(blocks[:, :, d], axis=0) for d in range(len(shape)))
    found = tuple(np.unique(np.concatenate([np.arange(a, b + 1) for a, b in one])) for one in edges)
    if size(found) != space.get_select_npoints():
        raise ValueError("the selection is no grid")
    return found


def size(grid: Grid) -> int:
    """Return the number of values of a grid."""
    return prod(len(one) for one in grid)


def stretches(coordinates: Coordinates) -> Iterator[Range]:
    """Yield the positions [start, stop) of coordinates that follow one another without a gap."""
    breaks = np.flatnonzero(np.diff(np.asarray(coordinates)) != 1) + 1
    edges = [0, *breaks.tolist(), len(coordinates)]
    return zip(edges[:-1], edges[1:], strict=True)


def positions(grid: Grid, corner: tuple[int, ...]) -> tuple[slice | np.ndarray, ...]:
    """Return where a grid lies in an array that begins at a corner, as an index of that array."""
    ranges = [one for one in grid if isinstance(one, range)]
    if len(ranges) == len(grid):
        pairs = zip(ranges, corner, strict=True)
        return tuple(slice(one.start - at, one.stop - at, one.step) for one, at in pairs)
    return np.ix_(*(np.asarray(one) - at for one, at in zip(grid, corner, strict=True)))
