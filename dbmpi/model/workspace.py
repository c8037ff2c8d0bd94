"""The buffers of one partition for minibatches of one width.

Shape letters: B minibatch, U units of a flat space, H W C rows, columns, channels of an image.
"""

from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.layout.boxes import Box, extents, within
from dbmpi.layout.partitioning import STATS_ROWS, Partitioning


class Workspace:
    """States, derivatives and output statistics of one width of minibatch.

    Spaces are numbered as in `Network.spaces`. The buffer of a space holds the box that this
    partition computes or reads of it, (U, B) or (H, W, C, B); what other partitions compute of the box
    is received there.

    Attributes
    ----------
    states, derivatives : list of arrays, a space each
        States, and the partial derivatives of the loss by them. The output has no derivatives: the
        loss writes them to its states; nor has the input.
    output : (O, B) array
        The output units that this partition computes, a view of their states.
    returned : list of {partition: array}, a space each
        Derivatives by this partition's own units, as the other partitions send them.
    shared, shared_gradient : (n,) arrays
        The tensors that all partitions work with, one after another, and their gradient.
    partial_gradients : {partition: (n,) array}
        At partition 0: the gradients of shared tensors, as the others send them.
    draw : (seed, counter) or None
        What dropout masks follow from; None in evaluation, when nothing is dropped.
    weights : (B,) array or None
        What the losses of the examples are multiplied by in training.
    stats, merged : (P, 4, B) and (4, B) float64 arrays
        The output reduction (`kernels.losses`): each partition's part, and the whole.
    """

    def __init__(self, partitioning: Partitioning, partition: int, width: int, dtype: np.dtype[Any]) -> None:
        self.width = width
        self.draw: tuple[int, int] | None = None
        self.weights: Array | None = None
        spaces = range(len(partitioning.network.spaces))
        self.held: list[Box] = [partitioning.held(space, partition) for space in spaces]
        self.states = [np.zeros((*extents(box), width), dtype) for box in self.held]
        self.output = self.view(self.states, spaces[-1], partitioning.own(spaces[-1], partition))
        inner = range(1, len(spaces) - 1)
        self.derivatives = [
            # not zeros_like, which writes the zeros: evaluation alone never touches this memory
            np.zeros(state.shape, dtype) if space in inner else state
            for space, state in enumerate(self.states)
        ]
        self.returned: list[dict[int, Array]] = [{} for _ in spaces]
        for t in partitioning.transfers:
            if t.owner == partition:
                self.returned[t.space][t.reader] = np.zeros((*extents(t.box), width), dtype)

        shared = sum(tensor.size for tensor in partitioning.shared)
        self.shared, self.shared_gradient = np.zeros(shared, dtype), np.zeros(shared, dtype)
        others = range(1, partitioning.partitions) if partition == 0 else ()
        self.partial_gradients = {q: np.zeros(shared, dtype) for q in others}
        self.stats = np.zeros((partitioning.partitions, STATS_ROWS, width))
        self.stats[:, 0], self.stats[:, 3] = -np.inf, -1.0  # what a partition without outputs adds
        self.merged = np.zeros((STATS_ROWS, width))

    def view(self, buffers: list[Array], space: int, box: Box) -> Array:
        """Return a box of a space in its buffer, `(*extents, B)`; nothing is copied."""
        return buffers[space][within(box, self.held[space])]
