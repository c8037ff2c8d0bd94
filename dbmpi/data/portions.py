"""The order of the training examples: parts, blocks and portions.

The rows of the training set are cut into `replicas` *parts* of consecutive rows, and each part into
*blocks* of consecutive rows (whole chunks of the file where that can be). In every epoch the blocks of a
part are drawn in a new random order; a *portion*, the unit of work that the coordinator hands out, is a
stretch of that sequence of blocks, and its rows are shuffled together. So the file is read in contiguous
ranges only, whereas the order of learning changes from epoch to epoch.

Everything is a pure function of the plan's numbers and of (seed, epoch, part, index): every partition of a
replica, the coordinator and a resumed run derive the same. No file is touched here.
"""

from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np

Range = tuple[int, int]  # rows start <= row < stop

AUTO_MINIBATCHES = 16  # a portion large enough to make asking for it cheap ...
AUTO_PORTIONS = 4  # ... and so small that a part has several, which a faster replica can take over
BLOCKS_PER_PORTION = 8  # enough different parts of the file in one shuffle
CHUNKS_PER_PART = 8  # with fewer chunks than this in a part, whole chunks could not be shuffled
MOST_BLOCKS = 1 << 20  # in a part: its block order takes 16 MiB at most, however small minibatches are
EPOCHS_KEPT = 4  # block orders remembered: one's own part, and those one helps with

_BLOCKS, _ROWS = 0, 1  # the two families of random streams


class PortionPlan:
    """Which rows each portion of each epoch holds, and in which order.

    Parameters
    ----------
    rows : int
        Examples in the training set.
    minibatch : int
        Examples in a minibatch.
    replicas : int
        Number of parts, one for each replica.
    seed : int
        Not negative.
    portion_minibatches : int or "auto"
        Minibatches in a portion. "auto": 16, but at most a quarter of a part, and at least 1.
    chunk_rows : int, optional
        Rows in a chunk of the file; None where it is not chunked.

    Raises
    ------
    ValueError
        A number is out of range (the configuration and the data file were checked before).
    """

    def __init__(
        self,
        rows: int,
        minibatch: int,
        replicas: int,
        seed: int,
        portion_minibatches: int | str = "auto",
        chunk_rows: int | None = None,
    ) -> None:
        portion = 1 if portion_minibatches == "auto" else int(portion_minibatches)
        if min(rows, minibatch, replicas, portion) < 1 or seed < 0:
            raise ValueError(f"no plan for {rows=} {minibatch=} {replicas=} {seed=} {portion_minibatches=}")
        self.all_rows = rows
        self.minibatch = minibatch
        self.replicas = replicas
        self.seed = seed
        self.portion_minibatches = portion if portion_minibatches != "auto" else self._auto_minibatches()
        self.chunk_rows = chunk_rows

    def _auto_minibatches(self) -> int:
        available = self.all_rows // (self.replicas * self.minibatch * AUTO_PORTIONS)
        return max(1, min(AUTO_MINIBATCHES, available))

    @property
    def portion_rows(self) -> int:
        """Return the rows of every portion but the last of a part, a multiple of the minibatch."""
        return self.portion_minibatches * self.minibatch

    @property
    def block_rows(self) -> int:
        """Return the rows of a block: whole chunks, or about an eighth of a portion."""
        fewest = _ceil_div(self.all_rows, self.replicas * MOST_BLOCKS)
        wanted = max(1, self.portion_rows // BLOCKS_PER_PORTION, fewest)
        chunk = self.chunk_rows
        if chunk is None or chunk * self.replicas * CHUNKS_PER_PART > self.all_rows:
            return wanted
        return max(1, round(wanted / chunk)) * chunk

    def numbers(self) -> dict[str, Any]:
        """Return what the plan was made from, by the names of its parameters: `PortionPlan(**numbers)`."""
        names = ("rows", "minibatch", "replicas", "seed", "portion_minibatches", "chunk_rows")
        return {name: getattr(self, "all_rows" if name == "rows" else name) for name in names}

    def part(self, part: int) -> Range:
        """Return the rows of a part; parts differ by at most one row, and may be empty."""
        if not 0 <= part < self.replicas:
            raise ValueError(f"part {part} of {self.replicas}")
        return self.all_rows * part // self.replicas, self.all_rows * (part + 1) // self.replicas

    def portions(self, epoch: int, part: int) -> int:
        """Return the number of portions of a part, the same in each epoch; 0 for an empty part."""
        start, stop = self.part(part)
        return _ceil_div(stop - start, self.portion_rows)

    def rows(self, epoch: int, part: int, index: int) -> int:
        """Return the number of rows of a portion."""
        first, last = self._stretch(part, index)
        return last - first

    def minibatches(self, epoch: int, part: int, index: int) -> int:
        """Return the number of minibatches of a portion; only a part's last one may be short."""
        return _ceil_div(self.rows(epoch, part, index), self.minibatch)

    def blocks(self, epoch: int, part: int, index: int) -> list[Range]:
        """Return the ranges of rows that a portion reads.

        Returns
        -------
        list of (start, stop)
            Ascending, disjoint and not adjacent: as few reads as there can be, forwards.
        """
        first, last = self._stretch(part, index)
        starts, ends = _sequence(*self.part(part), self.block_rows, self.seed, epoch, part)
        here = np.arange(np.searchsorted(ends, first, side="right"), np.searchsorted(ends, last) + 1)
        before = np.where(here > 0, ends[here - 1], 0)
        lo = starts[here] + np.maximum(first - before, 0)
        hi = starts[here] + np.minimum(last, ends[here]) - before
        return _merged(sorted(zip(lo.tolist(), hi.tolist(), strict=True)))

    def order(self, epoch: int, part: int, index: int) -> np.ndarray:
        """Return the order in which a portion's rows are learned from.

        Returns
        -------
        int64 array, shape (rows(epoch, part, index),)
            A permutation of the positions in the rows that `blocks` names, read one after another.
        """
        rows = self.rows(epoch, part, index)
        return _random(self.seed, _ROWS, epoch, part, index).permutation(rows)

    def _stretch(self, part: int, index: int) -> Range:
        """Return the positions of a portion in the part's sequence of rows."""
        start, stop = self.part(part)
        first = index * self.portion_rows
        if not 0 <= first < stop - start:
            raise ValueError(f"portion {index} of part {part}, which has {self.portions(0, part)}")
        return first, min(first + self.portion_rows, stop - start)


@lru_cache(maxsize=EPOCHS_KEPT)
def _sequence(
    start: int, stop: int, block_rows: int, seed: int, epoch: int, part: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return where each block of a part starts in the file, and where it ends in the epoch's sequence."""
    # Blocks lie on the grid of the whole file, so that their edges are those of the chunks; the
    # first and the last one are cut where the part begins and ends.
    grid = np.arange(start // block_rows, _ceil_div(stop, block_rows), dtype=np.int64)
    drawn = _random(seed, _BLOCKS, epoch, part).permutation(grid) * block_rows
    starts = np.maximum(drawn, start)
    return starts, np.cumsum(np.minimum(drawn + block_rows, stop) - starts)


def _random(seed: int, *key: int) -> np.random.Generator:
    """Return the random stream of one purpose; streams of different keys are independent."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _merged(ranges: list[Range]) -> list[Range]:
    """Join those of the sorted ranges that touch."""
    joined = ranges[:1]
    for start, stop in ranges[1:]:
        if start == joined[-1][1]:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def examples_in(epochs: float, rows: int) -> int:
    """Return the examples in a number of epochs, a fraction rounded up."""
    return ceil(round(epochs * rows, 6))  # 1.1 * 10 is a little above 11
