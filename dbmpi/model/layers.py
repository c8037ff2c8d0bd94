"""What a layer does with a minibatch on one partition: forward, and its exact transpose.

A stage belongs to one layer, partition and workspace, and holds the views that it works on. What is
local is computed while the states and derivatives of other partitions are on their way.

Shape letters: B minibatch, I fan-in units, O own fan-out units of a layer.
"""

from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.layout.boxes import Range, meet, volume
from dbmpi.layout.network import IMAGE, Layer
from dbmpi.layout.partitioning import Partitioning
from dbmpi.model.boundary import Boundary
from dbmpi.model.workspace import Workspace
from kernels.layers import activations, dense


class Stage:
    """What every layer has: where its input and output are, and how remote parts come and go.

    Attributes
    ----------
    x, y
        The input that this partition reads, and the output that it computes.
    dx, dy
        Derivatives by them; `dy` of the last layer is its output, where the loss leaves it.
    """

    def __init__(
        self, layer: Layer, partitioning: Partitioning, partition: int, space: Workspace, boundary: Boundary
    ) -> None:
        self.layer, self.partitioning, self.partition = layer, partitioning, partition
        self.space, self.boundary = space, boundary
        below, above = layer.index, layer.index + 1
        self.own, self.need = partitioning.own(above, partition), partitioning.need(below, partition)
        self.active = volume(self.own) > 0
        self.x = space.view(space.states, below, self.need)
        self.y = space.own(above)
        self.dx = space.view(space.derivatives, below, self.need)
        self.dy = space.view(space.derivatives, above, self.own)
        self.code = activations.CODES[layer.activation]
        self._leftover = partitioning.held(below, partition) != self.need

    def forward(self, w: Array | None, b: Array | None) -> None:
        """Compute `y` from `x`, waiting for what others compute of it."""
        raise NotImplementedError

    def backward(self, w: Array | None, dw: Array | None, db: Array | None) -> None:
        """From dy: overwrite `dx` (not of the first layer), `dw` and `db`.

        Derivatives by the input come first, to travel while those by the weights are computed.
        """
        self.activate_back(db)
        if self.layer.index > 0:
            self.derive_input(w)
        self.derive_weights(dw)

    def activate_back(self, db: Array | None) -> None:
        """Turn dy into dz, the derivative before the activation; `db` is overwritten by its sums."""

    def derive_input(self, w: Array | None) -> None:
        """Compute `dx` from dz, and send the remote parts as soon as they are there."""
        raise NotImplementedError

    def derive_weights(self, dw: Array | None) -> None:
        """Overwrite the gradient of the weights."""

    def wait(self) -> None:
        """Wait for the states of the layer below that others compute."""
        if self.layer.index > 0:
            self.boundary.wait_states(self.layer.index)

    def send(self) -> None:
        """Send the derivatives by states of the layer below that others computed."""
        self.boundary.send_derivatives(self.layer.index)

    def receive_derivatives(self) -> None:
        """Complete the derivatives by own outputs: own share is there, the others' by partition index."""
        above = self.layer.index + 1
        self.boundary.wait_derivatives(above)
        for reader in sorted(self.space.returned[above]):
            box = meet(self.own, self.partitioning.need(above, reader))
            assert box is not None
            into = self.space.view(self.space.derivatives, above, box)
            into += self.space.returned[above][reader]

    def clear(self) -> None:
        """Zero the derivatives by own states of the layer below that this partition does not read."""
        if self._leftover:
            self.space.derivatives[self.layer.index][...] = 0


class DenseStage(Stage):
    """y_OB = f(W_OI x_IB + b_O); dW_OI = dz_OB x_IB^T; dx_IB = W_OI^T dz_OB."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.x = self.x.reshape(-1, self.space.width)  # an image is read as it lies
        self.dx = self.dx.reshape(-1, self.space.width)
        self._local, self._remote = self._columns()
        self._extra = np.empty_like(self.y)
        self._last = self.layer.index == len(self.partitioning.network.layers) - 1

    def _columns(self) -> tuple[Range, list[Range]]:
        """Return the columns of the weights that meet own states, and those that meet remote ones."""
        everything = (0, self.layer.inputs)
        if self.layer.index == 0 or self.partitioning.partitions == 1:
            return everything, []
        if len(self.layer.input) == IMAGE:
            return (0, 0), [everything]
        start, stop = self.partitioning.own(self.layer.index, self.partition)[0]
        return (start, stop), [(a, b) for a, b in ((0, start), (stop, self.layer.inputs)) if b > a]

    def forward(self, w: Array | None, b: Array | None) -> None:
        """Multiply own columns first; then wait for the remote states, and take them."""
        assert w is not None and b is not None
        blocks = [self._local, *self._remote] if self._local[1] > self._local[0] else self._remote
        for i, (first, last) in enumerate(blocks):
            if (first, last) in self._remote:
                self.wait()
            if i == 2:
                dense.accumulate(self.y, self._extra)
            np.matmul(w[:, first:last], self.x[first:last], out=self._extra if i else self.y)
        if len(blocks) == 1:
            dense.bias_activation(self.y, b, self.code)
        else:
            dense.bias_activation_sum(self.y, self._extra, b, self.code)

    def activate_back(self, db: Array | None) -> None:
        """See `Stage.activate_back`; the loss has done the last layer."""
        if not self._last:
            dense.activation_backward(self.dy, self.y, db, self.code)

    def derive_input(self, w: Array | None) -> None:
        """Remote units come first: their derivatives travel while the rest is computed."""
        assert w is not None
        for first, last in self._remote:
            np.matmul(w[:, first:last].T, self.dy, out=self.dx[first:last])
        self.send()
        first, last = self._local
        np.matmul(w[:, first:last].T, self.dy, out=self.dx[first:last])

    def derive_weights(self, dw: Array | None) -> None:
        """See `Stage.derive_weights`."""
        np.matmul(self.dy, self.x.T, out=dw)
