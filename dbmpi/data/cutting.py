"""Which rows of the training set become another split: chosen from a seed, so that classes keep their shares.

Rows are chosen in *units*, which stay together: blocks of consecutive rows, or all rows of a group. Letters:
N rows, U units, K classes. Calculates only, and in whole numbers, so that every machine chooses the same.
"""

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.stretches import Stretches

MOST_UNITS = 4096  # of more rows or groups, several make a unit
MOST_CLASSES = 1000  # of more, several count as one
CANDIDATES, FEWEST = 4, 8  # units that are drawn for one that is taken, and at least


def block_rows(rows: int) -> int:
    """Return how many consecutive rows are a unit: one each, up to `MOST_UNITS` rows."""
    return -(-rows // MOST_UNITS)


def units_of_groups(groups_N: Array, seed: int) -> Array:
    """Return the unit of each row, int64, where all rows of a group are to stay together."""
    names, group_N = np.unique(groups_N, return_inverse=True)
    drawn = _random(seed, 0).permutation(len(names))
    return np.asarray(drawn % MOST_UNITS)[group_N.reshape(-1)]


def choose(rows_UK: Array, shares: tuple[float, ...], seed: int) -> list[Array]:
    """Choose units for several splits, one after another. Pure.

    For each split some units are drawn from the seed, and of these one after another is taken: each time that
    one whose classes are most like what is still lacking.

    Parameters
    ----------
    rows_UK : int64 array
        Rows of each class in each unit.
    shares : tuple of float
        Of all rows, for each split; of 0 nothing is chosen.
    seed : int

    Returns
    -------
    list of int64 arrays
        The units of each split, disjoint; at least one where the share is not 0 and one is left.
    """
    free_U, chosen = rows_UK.sum(axis=1) > 0, []
    for number, share in enumerate(shares, start=1):
        units = _choose(rows_UK, free_U, share, _random(seed, number)) if share else np.zeros(0, np.int64)
        free_U[units] = False
        chosen.append(units)
    return chosen


def _choose(rows_UK: Array, free_U: Array, share: float, random: np.random.Generator) -> Array:
    drawn = random.permutation(np.flatnonzero(free_U))
    order = drawn[: max(FEWEST, int(np.ceil(CANDIDATES * share * len(drawn))))]
    # Whole numbers as float64: their products and sums are exact, in whatever order BLAS adds them.
    have_UK = rows_UK[order].astype(np.float64)
    size_U, length_U = have_UK.sum(axis=1), np.sqrt((have_UK**2).sum(axis=1))
    lacking_K = np.rint(share * rows_UK.sum(axis=0, dtype=np.float64))
    left, open_U, taken = max(1.0, float(np.rint(share * rows_UK.sum()))), size_U > 0, list[int]()
    while left > 0 and (fits_U := open_U & (size_U <= 2 * left)).any():
        likeness_U = np.where(fits_U, have_UK @ lacking_K / length_U, -np.inf)
        taken.append(at := int(likeness_U.argmax()))
        open_U[at], left, lacking_K = False, left - size_U[at], lacking_K - have_UK[at]
    if not taken and len(order):
        taken = [int(size_U.argmin())]
    return np.asarray(order[taken])


def stretches(unit_N: Array, chosen: list[Array]) -> list[Stretches]:
    """Return the rows of each split that was chosen, and at the end those that are left.

    Parameters
    ----------
    unit_N : int64 array
        The unit of each row.
    chosen : list of int64 arrays
        As `choose` returns them.
    """
    split_U = np.full(int(unit_N.max()) + 1, len(chosen))
    for number, units in enumerate(chosen):
        split_U[units] = number
    split_N = split_U[unit_N]
    return [Stretches.of_mask(split_N == number) for number in range(len(chosen) + 1)]


def _random(seed: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose,)))
