"""What a layer does with a minibatch on one partition: forward, and its exact transpose.

A `PartitionLayer` is one partition's share of a layer of the network, with the views of a workspace that it
works on, made once. What is local is computed while states and derivatives of other partitions travel.

Shape letters: B minibatch, I fan-in units, O own fan-out units of a layer.
"""

from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.layout import halo
from dbmpi.layout.boxes import Range, intersection, volume
from dbmpi.layout.network import IMAGE
from dbmpi.layout.network import Layer as NetworkLayer
from dbmpi.layout.partitioning import Partitioning
from dbmpi.model.boundary import Boundary
from dbmpi.model.workspace import Workspace
from kernels.layers import activations, dense
from kernels.layers.products import multiply


class PartitionLayer:
    """What every layer has: where its input and output are, and how remote parts are exchanged.

    Attributes
    ----------
    network_layer, index
        The layer of the network, and its number there.
    active
        Whether this partition computes any of the layer's units.
    shared
        Whether all partitions work with copies of the layer's parameters.
    x, y
        The input that this partition reads, and the output that it computes.
    dx, dy
        Derivatives by them; `dy` of the last layer is its output, where the loss writes them.
    """

    def __init__(
        self,
        network_layer: NetworkLayer,
        partitioning: Partitioning,
        partition: int,
        workspace: Workspace,
        boundary: Boundary,
    ) -> None:
        self.network_layer, self.partitioning, self.partition = network_layer, partitioning, partition
        self.workspace, self.boundary, self.index = workspace, boundary, network_layer.index
        below, above = self.index, self.index + 1
        self.own, self.need = partitioning.own(above, partition), partitioning.need(below, partition)
        self.active = volume(self.own) > 0
        self.shared = network_layer.weight is not None and network_layer.weight.shared
        self.x = workspace.view(workspace.states, below, self.need)
        self.y = workspace.view(workspace.states, above, self.own)
        self.dx = workspace.view(workspace.derivatives, below, self.need)
        self.dy = workspace.view(workspace.derivatives, above, self.own)
        self.code = activations.CODES[network_layer.activation]
        self._returned = self._returned_parts(above)
        self._leftover = self._unread_parts(below)

    def _unread_parts(self, below: int) -> list[Array]:
        """Return the derivatives by states of the layer below that this partition holds and does not read."""
        held = self.partitioning.held(below, self.partition)
        if held == self.need:
            return []
        boxes = halo.border(held, self.need) if len(held) == IMAGE else [held]
        return [self.workspace.view(self.workspace.derivatives, below, box) for box in boxes]

    def _returned_parts(self, above: int) -> list[tuple[Array, Array]]:
        """Return, for each reader of own outputs, its part of `dy` and the buffer of what it sends."""
        parts = []
        for reader, returned in sorted(self.workspace.returned[above].items()):
            box = intersection(self.own, self.partitioning.need(above, reader))
            assert box is not None
            parts.append((self.workspace.view(self.workspace.derivatives, above, box), returned))
        return parts

    def forward(self, w: Array | None, b: Array | None) -> None:
        """Compute `y` from `x`, waiting for what others compute of it."""
        raise NotImplementedError

    def backward(self, w: Array | None, dw: Array | None, db: Array | None) -> None:
        """From dy: overwrite `dx` (not of the first layer), `dw` and `db`.

        Derivatives by the input come first, to travel while those by the weights are computed.
        """
        self.activate_back(db)
        if self.index > 0:
            self.derive_input(w)
        self.derive_weights(dw)

    def activate_back(self, db: Array | None) -> None:
        """Turn dy into dz, the derivative before the activation; `db` is overwritten by its sums."""

    def derive_input(self, w: Array | None) -> None:
        """Compute `dx` from dz, and send the remote parts before the others are computed."""
        raise NotImplementedError

    def derive_weights(self, dw: Array | None) -> None:
        """Overwrite the gradient of the weights."""

    def wait_states(self) -> None:
        """Wait for the states of the layer below that others compute."""
        if self.index > 0:
            self.boundary.wait_states(self.index)

    def send_derivatives(self) -> None:
        """Send the derivatives by states of the layer below that others computed."""
        self.boundary.send_derivatives(self.index)

    def receive_derivatives(self) -> None:
        """Complete the derivatives by own outputs: add what others send, by partition, to the own share."""
        self.boundary.wait_derivatives(self.index + 1)
        for into, returned in self._returned:
            into += returned

    def clear(self) -> None:
        """Zero the derivatives by own states of the layer below that this partition does not read."""
        for part in self._leftover:
            part[...] = 0


class DenseLayer(PartitionLayer):
    """y_OB = f(W_OI x_IB + b_O); dW_OI = dz_OB x_IB^T; dx_IB = W_OI^T dz_OB."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.x = self.x.reshape(-1, self.workspace.width)  # an image is read as it lies
        self.dx = self.dx.reshape(-1, self.workspace.width)
        self._local, self._remote = self._columns()
        self._blocks = [self._local, *self._remote] if self._local[1] > self._local[0] else self._remote
        self._extra = np.empty_like(self.y)
        self._last = self.index == len(self.partitioning.network.layers) - 1

    def _columns(self) -> tuple[Range, list[Range]]:
        """Return the columns of the weights that meet own states, and those that meet remote ones."""
        everything = (0, self.network_layer.inputs)
        if self.index == 0 or self.partitioning.partitions == 1:
            return everything, []
        if len(self.network_layer.input) == IMAGE:
            return (0, 0), [everything]
        start, stop = self.partitioning.own(self.index, self.partition)[0]
        return (start, stop), [(a, b) for a, b in ((0, start), (stop, everything[1])) if b > a]

    def forward(self, w: Array | None, b: Array | None) -> None:
        """Multiply own columns first; then wait for the remote states, and take them."""
        assert w is not None and b is not None
        for i, (first, last) in enumerate(self._blocks):
            if (first, last) in self._remote:
                self.wait_states()
            if i == 2:
                dense.accumulate(self.y, self._extra)
            multiply(w[:, first:last], self.x[first:last], self._extra if i else self.y)
        if len(self._blocks) == 1:
            dense.bias_activation(self.y, b, self.code)
        else:
            dense.bias_activation_sum(self.y, self._extra, b, self.code)

    def activate_back(self, db: Array | None) -> None:
        """See `PartitionLayer.activate_back`; the loss has done the last layer."""
        if not self._last:
            dense.activation_backward(self.dy, self.y, db, self.code)

    def derive_input(self, w: Array | None) -> None:
        """Remote units come first: their derivatives travel while the rest is computed."""
        assert w is not None
        for first, last in self._remote:
            multiply(w[:, first:last].T, self.dy, self.dx[first:last])
        self.send_derivatives()
        first, last = self._local
        multiply(w[:, first:last].T, self.dy, self.dx[first:last])

    def derive_weights(self, dw: Array | None) -> None:
        """See `PartitionLayer.derive_weights`."""
        assert dw is not None
        multiply(self.dy, self.x.T, dw)
