"""Which rows become the test or the validation split, where the files do not say so themselves.

Rows come shuffled. Of each class the last ones are taken, so that every choice is equally likely; where the
order is kept they are the last ones of the files. All rows of a group (the frames of a recording) go the
same way.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError


class Cuts(Protocol):
    """Says of each row which split it goes to.

    Attributes
    ----------
    rows
        Of each split, in the order of their positions.
    """

    rows: dict[str, int]

    def positions(self, records: Array) -> Array:
        """Return for records (B,) the position of their split. Each record is asked for once, in order."""


def key(records: Array) -> Array:
    """Return the numbers by which records (B,) are cut: of their group, else of their class, else 0."""
    names = records.dtype.names or ()
    if "group" in names:
        return records["group"]
    if _has_classes(records.dtype):
        return records["y"]
    return np.zeros(len(records), np.int64)


class Tally:
    """Counts records by their `key`, and by their class, if they have one."""

    def __init__(self) -> None:
        self.counts, self.classes = np.zeros(1, np.int64), np.zeros(0, np.int64)

    def add(self, records: Array) -> None:
        """Count some."""
        self.counts = _added(self.counts, key(records))
        if _has_classes(records.dtype):
            self.classes = _added(self.classes, records["y"])


def _has_classes(record: np.dtype) -> bool:
    return record["y"].kind in "iu" and not record["y"].shape


def _added(counts: Array, numbers: Array) -> Array:
    """Return counts with those of some numbers added."""
    found = np.bincount(numbers, minlength=len(counts))
    found[: len(counts)] += counts
    return found


def cuts_of(
    record: np.dtype, counts: Array, given: str, fractions: Mapping[str, float], rng: np.random.Generator
) -> Cuts:
    """Return how the split that was `given` is cut.

    Parameters
    ----------
    record
        The type of its records.
    counts
        How many there are, by their `key`.
    fractions
        Of each split to be cut from it: the share of the rows, 0 to 1.
    rng
        Draws groups.

    Raises
    ------
    UserError
        There are too few groups.
    """
    grouped = "group" in (record.names or ()) and fractions
    return GroupCuts(counts, given, fractions, rng) if grouped else RowCuts(counts, given, fractions)


class RowCuts:
    """Takes the last rows of each class."""

    def __init__(self, counts: Array, given: str, fractions: Mapping[str, float]) -> None:
        left, cut = counts.copy(), []
        for fraction in fractions.values():
            cut.append(_shares(counts, left, fraction))
            left -= cut[-1]
        sizes = np.array([left, *cut])
        self.rows = dict(zip((given, *fractions), sizes.sum(axis=1).tolist(), strict=True))
        self._ends, self._seen = np.cumsum(sizes, axis=0)[:-1], np.zeros(len(counts), np.int64)

    def positions(self, records: Array) -> Array:
        """Return for records (B,) the position of their split."""
        numbers = key(records)
        nth = self._seen[numbers] + _occurrences(numbers)
        self._seen += np.bincount(numbers, minlength=len(self._seen))
        found: Array = (nth >= self._ends[:, numbers]).sum(axis=0)
        return found


def _shares(counts: Array, left: Array, fraction: float) -> Array:
    """Return how many rows of each class are cut, so that all of them are the fraction of all rows.

    Each class gives its share, or one more; a class of which one row would be `left` gives no more.
    """
    wanted = counts * fraction
    cut = np.minimum(np.floor(wanted).astype(np.int64), left)
    more = int(np.rint(wanted.sum())) - int(cut.sum())
    order = np.argsort(cut - wanted, kind="stable")  # the largest remainder first
    able = order[(left - cut > 1)[order] & (wanted > cut)[order]]
    cut[able[: max(0, more)]] += 1
    return cut


class GroupCuts:
    """Takes whole groups, drawn at random, until a split has its share of the rows."""

    def __init__(
        self, counts: Array, given: str, fractions: Mapping[str, float], rng: np.random.Generator
    ) -> None:
        names = (given, *fractions)
        order = [int(one) for one in rng.permutation(len(counts)) if counts[one]]
        if len(order) < len(names):
            raise UserError(
                f"there are groups: {len(order)}, for {len(names)} splits, and the rows of a group stay "
                "together; give more of them, or --test-fraction 0"
            )
        self._position_of = np.zeros(len(counts), np.int64)
        for position, fraction in enumerate(fractions.values(), start=1):
            left = fraction * counts.sum()
            while left > 0 and len(order) > len(names) - position:
                group = order.pop()
                self._position_of[group] = position
                left -= counts[group]
        rows = np.bincount(self._position_of, weights=counts, minlength=len(names))
        self.rows = dict(zip(names, rows.astype(int).tolist(), strict=True))

    def positions(self, records: Array) -> Array:
        """Return for records (B,) the position of their split."""
        found: Array = self._position_of[key(records)]
        return found


def _occurrences(numbers: Array) -> Array:
    """Return for each of the numbers (B,) how many of the same come before it."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    first = np.repeat(starts, np.diff(np.r_[starts, len(ordered)]))
    found = np.empty(len(numbers), np.int64)
    found[order] = np.arange(len(numbers)) - first
    return found
