"""From portions to minibatches: what the file holds, transposed into the model's input as it is used.

Shape letters: N rows of a portion, I inputs, B minibatch, O own output units.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial

import numpy as np

from dbmpi.arrays import Array
from dbmpi.comm.assignments import PlanNumbers, Portion
from dbmpi.comm.wait import Cause
from dbmpi.data.augment import Augmentation
from dbmpi.data.describe import Description, check_whole
from dbmpi.data.factors import Factor, of_box
from dbmpi.data.portions import PortionPlan
from dbmpi.data.prefetch import Prefetcher
from dbmpi.data.split import Split
from dbmpi.layout.boxes import Range, whole
from dbmpi.model.inputs import Scale, gather, scale_of
from dbmpi.model.partition import PartitionModel

Rows = tuple[Array, ...]  # as stored, their labels or targets, and weights where there are any
Minibatch = tuple[int, Array]  # width, targets; the input, and weights, are in the model's workspace


class Loader:
    """Minibatches of one partition, from the training set (read ahead) and from what is held out.

    Parameters
    ----------
    description
        Of the data file, as it was when the run began.
    model
        Whose workspaces are filled, and whose waiter says how long to wait for the file system.
    class_weights
        Of each class; none: all are 1.
    augmentation
        What is done with training images: then they are read whole, of whatever tile this partition is.
    """

    def __init__(
        self,
        description: Description,
        model: PartitionModel,
        class_weights: Sequence[float] = (),
        augmentation: Augmentation | None = None,
    ) -> None:
        self._model, self._class_weights = model, np.asarray(class_weights)
        self._augmentation, self._tile = augmentation, model.partitioning.need(0, model.partition)
        self._inputs, self._targets = self._scales(description)
        self._train = self._opened(description, "train")
        held_out = [name for name in ("validation", "test") if description.rows(name)]
        self._held_out = [self._opened(description, name) for name in held_out]
        self._ahead = Prefetcher(self._train)
        self._expected: deque[Portion] = deque()
        self.labels = self._train.targets_width is None

    def _opened(self, description: Description, name: str) -> Split:
        """Open a split for this partition's share of it; what is read of it must suit the network."""
        whole_images = name == "train" and self._augmentation is not None
        window = whole(self._model.partitioning.network.input) if whole_images else self._tile
        split = Split(description.path, name, window=window, view=description.view(name))
        split.classes = self._model.partitioning.network.outputs
        check_whole(split, description)
        return split

    def _scales(self, description: Description) -> tuple[Scale, Scale]:
        """Return scale and offset of what this partition sees of inputs, and computes of targets."""
        model, kinds = self._model, (np.dtype(description.dtype), np.dtype(np.float64))
        shape, window = model.partitioning.network.input, model.partitioning.need(0, model.partition)
        inputs = [of_box(one, shape, window) for one in description.of_inputs]
        outputs, scaling = model.outputs, description.scaling
        targets: list[Factor] = [1.0, 0.0]
        if scaling is not None and scaling.target_scale:
            every = tuple(scaling.target_scale), tuple(scaling.target_offset)
            targets = [one[slice(*outputs)] for one in every]
        return (
            scale_of(inputs[0], inputs[1], model.dtype, kinds[0]),
            scale_of(targets[0], targets[1], model.dtype, kinds[1]),
        )

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
        order = order[: portion.minibatches * width]
        if self._augmentation is None:
            return self.minibatches(rows, order, width)
        blocks = _plan(portion.plan).blocks(portion.epoch, portion.part, portion.index)
        numbers = np.concatenate([np.arange(*block) for block in blocks])
        cut = partial(self._augmentation.cut, epoch=portion.epoch, tile=self._tile)
        return self.minibatches(rows, order, width, lambda raw, at_B: cut(raw, at_B, rows_B=numbers[at_B]))

    def request(self, ranges: Sequence[Range]) -> None:
        """Begin to read rows of the training set."""
        self._ahead.request(ranges)

    def take(self) -> Rows:
        """Return the rows that were requested first, of those not yet taken."""
        waiter = self._model.peers.waiter
        with waiter.counted(Cause.DATA):
            return self._ahead.take(waiter.look().passed)

    def minibatches(
        self, rows: Rows, order: Array, width: int, cut: Callable[[Array, Array], Array] | None = None
    ) -> Iterator[Minibatch]:
        """Yield rows of the training set in an order, minibatch by minibatch; `cut` makes others of some."""
        raw_NI, targets, *weights = rows
        for start in range(0, len(order), width):
            rows_B = order[start : start + width]
            weights_B = self._weights_of(targets, weights, rows_B)
            if cut is None:
                yield self._fill(raw_NI, targets, rows_B, weights_B)
            else:
                seen = cut(raw_NI, rows_B)
                yield self._fill(seen, targets[rows_B], np.arange(len(rows_B)), weights_B)

    def _weights_of(self, targets: Array, weights: Sequence[Array], rows_B: Array) -> Array | None:
        """Return what the losses of some rows are multiplied by; None where nothing is."""
        factors = [weights_N[rows_B] for weights_N in weights]
        if self._class_weights.size:
            factors.append(self._class_weights[targets[rows_B]])
        return np.prod(factors, axis=0).astype(self._model.dtype) if factors else None

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
            yield self._fill(raw_NI, targets, np.arange(len(raw_NI)))

    def _fill(
        self, raw_NI: Array, targets: Array, rows_B: Array, weights_B: Array | None = None
    ) -> Minibatch:
        workspace = self._model.workspace(len(rows_B))
        workspace.weights, x_IB = weights_B, workspace.states[0].reshape(-1, len(rows_B))
        raw_NI = raw_NI.reshape(len(raw_NI), -1)
        gather(raw_NI, rows_B, self._inputs, x_IB)
        if self.labels:
            return len(rows_B), targets[rows_B]
        first, last = self._model.outputs
        t_OB = np.empty((last - first, len(rows_B)), self._model.dtype)
        gather(np.ascontiguousarray(targets[:, first:last]), rows_B, self._targets, t_OB)
        return len(rows_B), t_OB

    def close(self) -> None:
        """End the reading thread and close the files."""
        self._ahead.close()
        for split in (self._train, *self._held_out):
            split.close()


@lru_cache(maxsize=8)  # a run has few at a time, and looks one up twice a portion
def _plan(numbers: PlanNumbers) -> PortionPlan:
    return PortionPlan(**vars(numbers))
