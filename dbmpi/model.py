"""One partition of a model replica: its parameters, and forward and backward over its units.

Matrix products go to BLAS, everything between them to `kernels`. What is local is computed while
the states and derivatives of other partitions are on their way.

Shape letters: B minibatch, I fan-in units, O own fan-out units of a layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbmpi import loss as losses
from dbmpi.boundary import Boundary, Workspace
from dbmpi.loss import Score
from dbmpi.partition import Partitioning, Range, Traffic
from dbmpi.waiting import Waiter
from kernels import activations, dense, rules

if TYPE_CHECKING:
    from mpi4py import MPI

Array = NDArray[Any]


@dataclass
class Tensors:
    """A partition's vector, and views of it as weights and biases, layer by layer."""

    flat: Array
    weights: list[Array]
    biases: list[Array]


def tensors(plan: Partitioning, partition: int, flat: Array) -> Tensors:
    """View the vector of a partition, `(sizes[partition],)`, as its tensors; nothing is copied."""
    views = [flat[s.offset : s.offset + s.size].reshape(s.shape) for s in plan.slices(partition)]
    return Tensors(flat, views[0::2], views[1::2])


class PartitionModel:
    """The part of a replica that one rank computes.

    Parameters
    ----------
    plan, partition
        The network cut into partitions, and which one this is.
    labels
        Whether targets are class labels.
    dtype
        float32 or float64.
    l2
        Penalty: l2/2 * sum of squared weights (not biases) is added to the loss.
    comm
        The replica's communicator; None when there is one partition.
    poke
        Called between layers, so that messages in flight make progress.
    """

    def __init__(
        self,
        plan: Partitioning,
        partition: int,
        labels: bool,
        dtype: np.dtype[Any],
        l2: float = 0.0,
        comm: "MPI.Intracomm | None" = None,
        waiter: Waiter | None = None,
        poke: Callable[[], object] = lambda: None,
    ) -> None:
        self.plan, self.partition, self.dtype, self.l2 = plan, partition, dtype, l2
        self._labels = labels
        self.outputs: Range = plan.units[-1][partition]
        self.poke = poke
        self._layers = plan.network.layers
        self._codes = [activations.CODES[layer.spec.activation] for layer in self._layers]
        self._loss = losses.make(plan.network.loss, labels, partition, self.outputs[0])
        self._comm, self._waiter = comm, waiter or Waiter(timeout_s=300.0)
        self._spaces: dict[int, tuple[Workspace, Boundary]] = {}
        self._sent_before = Traffic(0, 0)

    @property
    def parameters(self) -> int:
        """Length of this partition's parameter vector."""
        return self.plan.sizes[self.partition]

    def space(self, width: int) -> Workspace:
        """Return the buffers for minibatches of `width` examples; the input goes to `.states[0]`."""
        return self._pair(width)[0]

    def _pair(self, width: int) -> tuple[Workspace, Boundary]:
        if width not in self._spaces:
            space = Workspace(self.plan, self.partition, width, self.dtype)
            boundary = Boundary(self._comm, self.plan, self.partition, space, self._waiter, self._labels)
            self._spaces[width] = (space, boundary)
        return self._spaces[width]

    def evaluate(self, theta: Tensors, width: int, targets: Array) -> Score:
        """Return the score of the minibatch in `space(width)`. In step with the other partitions."""
        space, boundary = self._pair(width)
        self._forward(theta, space, boundary)
        score = self._loss.evaluate(space, boundary, targets)
        boundary.finish()
        return score

    def differentiate(self, theta: Tensors, gradient: Tensors, width: int, targets: Array) -> Score:
        """Score the minibatch in `space(width)`, and overwrite `gradient` with that of the mean loss.

        In step with the other partitions of the replica.

        Parameters
        ----------
        theta, gradient
            This partition's parameters, read, and gradient, overwritten.
        targets
            Labels, int64 `(B,)`, or float targets of the own output units, `(O, B)`.
        """
        space, boundary = self._pair(width)
        self._forward(theta, space, boundary)
        dy_OB, code = space.own[-1], self._codes[-1]
        y_OB = dy_OB.copy() if code != activations.IDENTITY else dy_OB
        score = self._loss.derivative(space, boundary, targets, gradient.biases[-1])
        if code != activations.IDENTITY:
            dense.activation_backward(dy_OB, y_OB, gradient.biases[-1], code)
        self._backward(theta, gradient, space, boundary)
        boundary.finish()
        return score

    def _forward(self, theta: Tensors, space: Workspace, boundary: Boundary) -> None:
        """y_OB = f(W_OI x_IB + b_O), layer by layer."""
        boundary.begin_forward()
        for layer, (w_OI, b_O, code) in enumerate(zip(theta.weights, theta.biases, self._codes, strict=True)):
            if len(w_OI):
                self._products(layer, w_OI, b_O, code, space, boundary)
                boundary.send_states(layer)
            self.poke()

    def _products(
        self, layer: int, w_OI: Array, b_O: Array, code: int, space: Workspace, boundary: Boundary
    ) -> None:
        """Multiply own columns first; then wait for the remote ones, and take them."""
        x_IB, z_OB = space.states[layer], space.own[layer]
        local, remote = self._columns(layer)
        blocks = [local, *remote] if local[1] > local[0] else remote
        for i, (a, b) in enumerate(blocks):
            if (a, b) in remote:
                boundary.wait_states(layer - 1)
            if i == 2:
                dense.accumulate(z_OB, space.extra[layer])
            np.matmul(w_OI[:, a:b], x_IB[a:b], out=space.extra[layer] if i else z_OB)
        if len(blocks) == 1:
            dense.bias_activation(z_OB, b_O, code)
        else:
            dense.bias_activation_sum(z_OB, space.extra[layer], b_O, code)

    def _columns(self, layer: int) -> tuple[Range, list[Range]]:
        """Return the columns of a layer's weights that meet own states, and those that meet remote ones."""
        if layer == 0:
            return (0, self.plan.network.inputs), []
        start, stop = self.plan.units[layer - 1][self.partition]
        around = [(0, start), (stop, self._layers[layer].inputs)]
        return (start, stop), [(a, b) for a, b in around if b > a]

    def _backward(self, theta: Tensors, gradient: Tensors, space: Workspace, boundary: Boundary) -> None:
        """dx_IB = W_OI^T dy_OB and dW_OI = dy_OB x_IB^T, from the last layer down.

        Derivatives by remote units come first: they travel while the rest is computed.
        """
        boundary.begin_backward()
        dy_OB = space.own[-1]
        for layer in reversed(range(len(self._layers))):
            w_OI, dw_OI = theta.weights[layer], gradient.weights[layer]
            if layer > 0:
                self._send_down(layer, w_OI, dy_OB, space, boundary)
            np.matmul(dy_OB, space.states[layer].T, out=dw_OI)
            if self.l2:
                rules.add_scaled(dw_OI.reshape(-1), self.l2, w_OI.reshape(-1))
            if layer > 0:
                dy_OB = self._descend(layer, gradient, space, boundary)
            self.poke()

    def _send_down(self, layer: int, w_OI: Array, dy_OB: Array, space: Workspace, boundary: Boundary) -> None:
        """Compute the derivatives by the states of the layer below: remote units', then own."""
        dx_IB = space.derivatives[layer - 1]
        (start, stop), remote = self._columns(layer)
        if len(dy_OB):
            for a, b in remote:
                np.matmul(w_OI[:, a:b].T, dy_OB, out=dx_IB[a:b])
            boundary.send_derivatives(layer - 1)
        np.matmul(w_OI[:, start:stop].T, dy_OB, out=dx_IB[start:stop])

    def _descend(self, layer: int, gradient: Tensors, space: Workspace, boundary: Boundary) -> Array:
        """Return dy of the layer below, dx_IB * f'(y): own share first, the others' by partition index."""
        below = layer - 1
        start, stop = self._columns(layer)[0]
        dx_IB = space.derivatives[below][start:stop]
        boundary.wait_derivatives(below)
        for reader in sorted(space.returned[below]):
            dense.accumulate(dx_IB, space.returned[below][reader])
        dense.activation_backward(dx_IB, space.own[below], gradient.biases[below], self._codes[below])
        return dx_IB

    def penalty(self, theta: Tensors) -> float:
        """Return this partition's share of the L2 penalty."""
        return 0.5 * self.l2 * sum(rules.sum_of_squares(w.reshape(-1)) for w in theta.weights)

    def take_sent(self) -> Traffic:
        """Return the boundary messages and bytes sent since the last call."""
        sent = sum((boundary.sent for _, boundary in self._spaces.values()), Traffic(0, 0))
        before, self._sent_before = self._sent_before, sent
        return Traffic(sent.messages - before.messages, sent.bytes - before.bytes)

    def free(self) -> None:
        """Free the persistent requests of all workspaces."""
        for _, boundary in self._spaces.values():
            boundary.free()
