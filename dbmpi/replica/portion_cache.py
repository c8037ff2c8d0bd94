"""Portions of a batch, kept in memory from pass to pass as far as there is room."""

from collections import deque
from collections.abc import Iterator

import numpy as np

from dbmpi.data.portions import PortionPlan
from dbmpi.replica.loader import Loader, Minibatch, Rows

Key = tuple[int, int]  # sample, portion


class PortionCache:
    """Minibatches of portions, in the order in which the rows lie in the file.

    Parameters
    ----------
    loader
        Reads portions ahead of their use, and fills the model's workspaces.
    plan
        Which rows each portion holds: one part; its epoch is the number of the sample.
    most_bytes
        Of the rows that are kept in memory. A batch that does not fit is kept in part: if the portions used
        last replaced others, the next pass would find none of those that it needs.
    """

    def __init__(self, loader: Loader, plan: PortionPlan, most_bytes: int) -> None:
        self._loader, self._plan, self._room = loader, plan, most_bytes
        self._most_bytes = most_bytes
        self._sample = 0
        self._held: dict[Key, Rows] = {}
        self._expected: deque[Key] = deque()

    def prepare(self, sample: int, index: int) -> None:
        """Begin to read a portion, unless it is in memory."""
        if (sample, index) not in self._held and (sample, index) not in self._expected:
            self._expected.append((sample, index))
            self._loader.request(self._plan.blocks(sample, 0, index))

    def minibatches(self, sample: int, index: int) -> Iterator[Minibatch]:
        """Yield the minibatches of a portion."""
        rows = self._take((sample, index))
        yield from self._loader.minibatches(rows, np.arange(len(rows[0])), self._plan.minibatch)

    def _take(self, key: Key) -> Rows:
        self.prepare(*key)
        while key not in self._held:
            first, rows = self._expected.popleft(), self._loader.take()
            self._keep(first, rows)
            if first == key:
                return rows
        return self._held[key]

    def _keep(self, key: Key, rows: Rows) -> None:
        """Keep a portion if there is room; a new sample takes the room of the old one."""
        if key[0] > self._sample:
            self._held.clear()
            self._sample, self._room = key[0], self._most_bytes
        size = sum(part.nbytes for part in rows)
        if size <= self._room and key[0] == self._sample:
            self._room -= size
            self._held[key] = rows
