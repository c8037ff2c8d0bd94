"""Which dot products of rows are computed together: tiles, of a few hubs with a few spokes each.

A tile reads each of its rows once for all its products. Its shape is in this file, beside the helpers that
depend on it: Numba keeps a compiled helper until its file changes, and mixed shapes would write to foreign
memory. Letters: K pairs, T tiles.
"""

import numpy as np

from kernels.jit import helper

_Array = np.ndarray

# 24 sums, 3 hubs and a spoke fit the 32 registers of AVX-512 (AVX2 has 16, and spills some sums).
HUBS = 3
SPOKES = 8
CELLS = HUBS * SPOKES


@helper
def cover(vectors: int, left: _Array, right: _Array) -> tuple[_Array, _Array]:
    """Cover pairs of rows with tiles.

    Local. To be called in a kernel. Of each pair the row that takes part in more pairs is the hub. Hubs are
    taken by `HUBS`, and the rows that these meet, the spokes, by `SPOKES`; spare places repeat a row.

    Parameters
    ----------
    vectors : int
        Number of rows there are.
    left, right : int64 array (K,)
        Rows of each pair.

    Returns
    -------
    int64 array (T, HUBS + SPOKES)
        The rows of each tile: its hubs, then its spokes.
    int64 array (K,)
        Where each pair is: t * CELLS + spoke * HUBS + hub, of tile t.
    """
    hubs, spokes = _oriented(vectors, left, right)
    number, slot, first = _numbered(vectors, hubs, spokes)
    tiles = np.full((first[-1], HUBS + SPOKES), -1)
    cells = np.empty(hubs.size, np.int64)
    for k in range(hubs.size):
        hub, spoke = number[hubs[k]], slot[number[hubs[k]] // HUBS, spokes[k]]
        t = first[hub // HUBS] + spoke // SPOKES
        if tiles[t, 0] < 0:
            tiles[t] = hubs[k]
        tiles[t, hub % HUBS] = hubs[k]
        tiles[t, HUBS + spoke % SPOKES] = spokes[k]
        cells[k] = t * CELLS + spoke % SPOKES * HUBS + hub % HUBS
    return tiles, cells


@helper
def _oriented(vectors: int, left: _Array, right: _Array) -> tuple[_Array, _Array]:
    """Return the hub and the spoke of each pair."""
    degree = np.zeros(vectors, np.int64)
    for k in range(left.size):
        degree[left[k]] += 1
        degree[right[k]] += 1
    hubs, spokes = np.empty_like(left), np.empty_like(left)
    for k in range(left.size):
        i, j = min(left[k], right[k]), max(left[k], right[k])  # so that (i, j) and (j, i) share a cell
        hubs[k], spokes[k] = (i, j) if degree[i] >= degree[j] else (j, i)
    return hubs, spokes


@helper
def _numbered(vectors: int, hubs: _Array, spokes: _Array) -> tuple[_Array, _Array, _Array]:
    """Number the hubs, and the spokes of each group of `HUBS`; return these, and the groups' first tiles."""
    groups = (vectors + HUBS - 1) // HUBS
    number, found = np.full(vectors, -1), 0
    slot, counts = np.full((groups, vectors), -1), np.zeros(groups, np.int64)
    for k in range(hubs.size):
        if number[hubs[k]] < 0:
            number[hubs[k]] = found
            found += 1
        group = number[hubs[k]] // HUBS
        if slot[group, spokes[k]] < 0:
            slot[group, spokes[k]] = counts[group]
            counts[group] += 1
    first = np.zeros(groups + 1, np.int64)
    for group in range(groups):
        first[group + 1] = first[group] + (counts[group] + SPOKES - 1) // SPOKES
    return number, slot, first
