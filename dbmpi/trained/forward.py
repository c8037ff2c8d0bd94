"""The forward pass of a trained model, on one partition of it, and what its outputs say.

Shape letters: B examples, I inputs, O output units, own ones where there are several partitions.
"""

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.factors import of_box
from dbmpi.errors import UserError
from dbmpi.layout.partitioning import Partitioning
from dbmpi.model.boundary import Peers
from dbmpi.model.inputs import gather, scale_of
from dbmpi.model.partition import ALONE, PartitionModel
from dbmpi.model.tensors import tensors
from dbmpi.trained.model import TrainedModel

REHEARSED = 2  # examples


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
        self._labels = trained.format.outputs == "classes"
        self.model = PartitionModel(cut, partition, self._labels, trained.dtype, peers=peers)
        self.theta = tensors(cut, partition, trained.vector(cut, partition))
        self.window = cut.need(0, partition)
        shape, stored = cut.network.input, np.dtype(trained.format.input_dtype)
        scale, offset = (of_box(one, shape, self.window) for one in trained.format.of_inputs)
        self._scale, self._stored = scale_of(scale, offset, trained.dtype, stored), stored

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

        In step with the other partitions. Raises UserError where one is not finite, and so no answer.
        """
        width = self.load(rows)
        with np.errstate(over="ignore", invalid="ignore"):
            z_BO = self.model.outputs_of(self.theta, width).T.copy()
        if not np.isfinite(z_BO).all():
            raise UserError(
                "the model computes what is no finite number of some rows: they are far from those it has "
                "learned from, or its parameters are of no use"
            )
        return z_BO

    def rehearse(self) -> None:
        """Compute and score zeros without the other partitions: kernels are compiled, or found to be."""
        model, width = self.model, REHEARSED
        alone = PartitionModel(model.partitioning, model.partition, self._labels, model.dtype)
        x_IB = alone.workspace(width).states[0].reshape(-1, width)
        gather(np.zeros((width, len(x_IB)), self._stored), np.arange(width), self._scale, x_IB)
        z_OB = alone.outputs_of(self.theta, width)
        targets = np.zeros(width, np.int64) if self._labels else np.zeros_like(z_OB)
        alone.evaluate(self.theta, width, targets)

    def close(self) -> None:
        """Free what MPI holds for the exchange with other partitions."""
        self.model.free()
