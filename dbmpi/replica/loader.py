"""From portions to minibatches: what the file holds, transposed into the model's input as it is used.

Shape letters: N rows of a portion, I inputs, B minibatch, O own output units.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from dbmpi.arrays import Array
from dbmpi.comm.assignments import PlanNumbers, Portion
from dbmpi.comm.wait import Cause
from dbmpi.data.describe import Description, check_whole
from dbmpi.data.portions import PortionPlan
from dbmpi.data.prefetch import Prefetcher
from dbmpi.data.split import Split
from dbmpi.layout.boxes import Range
from dbmpi.model.partition import PartitionModel
from kernels.layers.input import gather_transpose

Rows = tuple[Array, Array]  # as stored, and their labels or targets
Minibatch = tuple[int, Array]  # width, targets; the input is in the model's workspace


class Loader:
    """Minibatches of one partition, from the training set (read ahead) and from what is held out.

    Parameters
    ----------
    description
        Of the data file, as it was when the run began.
    model
        Whose workspaces are filled, and whose waiter says how long to wait for the file system.
    """

    def __init__(self, description: Description, model: PartitionModel) -> None:
        self._model = model
        self._train = self._opened(description, "train")
        held_out = [name for name in ("validation", "test") if description.rows(name)]
        self._held_out = [self._opened(description, name) for name in held_out]
        self._ahead = Prefetcher(self._train)
        self._expected: deque[Portion] = deque()
        self.labels = self._train.targets_width is None

    def _opened(self, description: Description, name: str) -> Split:
        """Open a split for this partition's share of it; what is read of it must suit the network."""
        window = self._model.partitioning.need(0, self._model.partition)
        split = Split(description.path, name, window=window, view=description.view(name))
        split.classes = self._model.partitioning.network.outputs
        check_whole(split, description)
        return split

    def prepare(self, portion: Portion) -> None:
        """Begin to read a portion; portions are learned from in the order in which they are prepared."""
        self._expected.append(portion)
        self.request(_plan(portion.plan).blocks(portion.epoch, portion.part, portion.index))

    def train(self) -> Iterator[Minibatch]:
        """Return the minibatches of the portion that was prepared first; it counts as begun, read or not."""
        portion = self._expected.popleft()
        rows = self.take()
        width = portion.plan.minibatch
        order = _plan(portion.plan).order(portion.epoch, portion.part, portion.index)[portion.first * width :]
        return self.minibatches(rows, order[: portion.minibatches * width], width)

    def request(self, ranges: Sequence[Range]) -> None:
        """Begin to read rows of the training set."""
        self._ahead.request(ranges)

    def take(self) -> Rows:
        """Return the rows that were requested first, of those not yet taken."""
        waiter = self._model.peers.waiter
        with waiter.counted(Cause.DATA):
            return self._ahead.take(waiter.look().passed)

    def minibatches(self, rows: Rows, order: Array, width: int) -> Iterator[Minibatch]:
        """Yield rows of the training set in an order, minibatch by minibatch."""
        raw_NI, targets = rows
        for start in range(0, len(order), width):
            yield self._fill(self._train, raw_NI, targets, order[start : start + width])

    def evaluation(self, start: int, stop: int, width: int) -> Iterator[Minibatch]:
        """Yield minibatches of the held-out rows [start, stop), of one split, each once.

        They are counted through: those for validation first, then those for test.
        """
        split = self._held_out[0]
        if start >= split.rows:
            start, stop, split = start - split.rows, stop - split.rows, self._held_out[1]
        for first in range(start, stop, width):
            rows = [(first, min(first + width, stop))]
            raw_NI, targets = split.read(rows), split.labels_or_targets(rows)
            yield self._fill(split, raw_NI, targets, np.arange(len(raw_NI)))

    def _fill(self, split: Split, raw_NI: Array, targets: Array, rows_B: Array) -> Minibatch:
        x_IB = self._model.workspace(len(rows_B)).states[0].reshape(-1, len(rows_B))
        raw_NI = raw_NI.reshape(len(raw_NI), -1)
        gather_transpose(raw_NI, rows_B, split.scale, split.offset, x_IB)
        if self.labels:
            return len(rows_B), targets[rows_B]
        first, last = self._model.outputs
        t_OB = np.empty((last - first, len(rows_B)), self._model.dtype)
        gather_transpose(np.ascontiguousarray(targets[:, first:last]), rows_B, 1.0, 0.0, t_OB)
        return len(rows_B), t_OB

    def close(self) -> None:
        """End the reading thread and close the files."""
        self._ahead.close()
        for split in (self._train, *self._held_out):
            split.close()


@lru_cache(maxsize=8)  # a run has few at a time, and looks one up twice a portion
def _plan(numbers: PlanNumbers) -> PortionPlan:
    return PortionPlan(**vars(numbers))
