"""The forward pass of a trained model, on one partition of it, and what its outputs say.

Shape letters: B examples, I inputs, O output units, own ones where there are several partitions.
"""

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.factors import of_box
from dbmpi.layout.partitioning import Partitioning
from dbmpi.model.boundary import Peers
from dbmpi.model.inputs import gather, scale_of
from dbmpi.model.partition import ALONE, PartitionModel
from dbmpi.model.tensors import tensors
from dbmpi.trained.model import TrainedModel


class Forward:
    """A partition of a trained model in memory, which computes. Its parameters are there once.

    Parameters
    ----------
    trained
        May be closed afterwards.
    partitioning, partition
        How the model is cut, and which part this is; none: it is whole.
    peers
        How the other partitions are reached.

    Raises
    ------
    UserError
        The parameters cannot be read.
    """

    def __init__(
        self,
        trained: TrainedModel,
        partitioning: Partitioning | None = None,
        partition: int = 0,
        peers: Peers = ALONE,
    ) -> None:
        cut = partitioning or Partitioning(trained.network, 1)
        labels = trained.format.outputs == "classes"
        self.model = PartitionModel(cut, partition, labels, trained.dtype, peers=peers)
        self.theta = tensors(cut, partition, trained.vector(cut, partition))
        self.window = cut.need(0, partition)
        shape, stored = cut.network.input, np.dtype(trained.format.input_dtype)
        scale, offset = (of_box(one, shape, self.window) for one in trained.format.of_inputs)
        self._scale = scale_of(scale, offset, trained.dtype, stored)

    def load(self, rows: Array) -> int:
        """Put examples into the input of the network; return how many.

        Parameters
        ----------
        rows : (B, *extents(window))
            As stored: the part of each example that this partition reads, of an integer or float dtype.
        """
        width = len(rows)
        x_IB = self.model.workspace(width).states[0].reshape(-1, width)
        gather(np.ascontiguousarray(rows).reshape(width, -1), np.arange(width), self._scale, x_IB)
        return width

    def outputs(self, rows: Array) -> Array:
        """Return what the own output units say of examples (`load`), a copy `(B, O)`: logits, or values.

        In step with the other partitions.
        """
        width = self.load(rows)
        return self.model.outputs_of(self.theta, width).T.copy()

    def close(self) -> None:
        """Free what MPI holds for the exchange with other partitions."""
        self.model.free()
