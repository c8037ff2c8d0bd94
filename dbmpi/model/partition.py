"""One partition of a model replica: its parameters, and forward and backward over its units.

Matrix products go to BLAS, everything between them to `kernels`; what a layer does is said in `model.layers`
and `model.spatial`.

Shape letters: B minibatch, O own output units.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from dbmpi.arrays import Array
from dbmpi.layout.boxes import Range
from dbmpi.layout.partitioning import Partitioning
from dbmpi.model import losses
from dbmpi.model.boundary import Boundary, Peers
from dbmpi.model.layers import PartitionLayer
from dbmpi.model.losses import Score
from dbmpi.model.spatial import LAYER_CLASSES
from dbmpi.model.tensors import Tensors, shared_tensors
from dbmpi.model.workspace import Workspace
from dbmpi.spans import Kind
from kernels.layers import activations, dense
from kernels.parameters import rules

ALONE = Peers()
Count: TypeAlias = Callable[[Workspace, Boundary], object]


@dataclass
class _Width:
    """All that belongs to minibatches of one width."""

    workspace: Workspace
    boundary: Boundary
    layers: list[PartitionLayer]
    shared: Tensors
    shared_gradient: Tensors


class PartitionModel:
    """The part of a replica that one rank computes.

    Parameters
    ----------
    partitioning, partition
        The network cut into partitions, and which one this is.
    labels
        Whether targets are class labels.
    dtype
        float32 or float64.
    l2
        Penalty: l2/2 * sum of squared weights (not biases) is added to the loss.
    peers
        How the other partitions are reached.
    seed
        What dropout masks follow from, together with `position`.

    Attributes
    ----------
    position : int
        Of the next minibatch in the run: no two minibatches of a replica may have the same.
    """

    def __init__(
        self,
        partitioning: Partitioning,
        partition: int,
        labels: bool,
        dtype: np.dtype[Any],
        l2: float = 0.0,
        peers: Peers = ALONE,
        seed: int = 0,
    ) -> None:
        self.partitioning, self.partition, self.dtype, self.l2 = partitioning, partition, dtype, l2
        self._labels = labels
        self.outputs: Range = partitioning.outputs(partition)
        self.peers, self._progress, self._seed, self.position = peers, peers.progress, seed, 0
        self._loss = losses.make(partitioning.network.loss, labels, partition, self.outputs[0])
        self._weighted = losses.Weighted(self._loss)
        self._widths: dict[int, _Width] = {}
        self._sent_before, self._spans = (0, 0), peers.waiter.spans

    @property
    def parameters(self) -> int:
        """Length of this partition's parameter vector."""
        return self.partitioning.sizes[self.partition]

    def workspace(self, width: int) -> Workspace:
        """Return the buffers for minibatches of `width` examples; the input goes to `.states[0]`."""
        return self._of(width).workspace

    def prepare(self, width: int) -> None:
        """Make all that minibatches of `width` examples need; of other widths the first one makes it."""
        if width not in self._widths:
            self._widths[width] = self._make(width)

    def _of(self, width: int) -> _Width:
        self.prepare(width)
        return self._widths[width]

    def _make(self, width: int) -> _Width:
        partitioning, partition = self.partitioning, self.partition
        workspace = Workspace(partitioning, partition, width, self.dtype)
        boundary = Boundary(self.peers, partitioning, partition, workspace, self._labels)
        layers = [
            LAYER_CLASSES[type(one.spec)](one, partitioning, partition, workspace, boundary)
            for one in partitioning.network.layers
        ]
        shared = [
            shared_tensors(partitioning, flat) for flat in (workspace.shared, workspace.shared_gradient)
        ]
        return _Width(workspace, boundary, layers, *shared)

    def evaluate(self, theta: Tensors, width: int, targets: Array, count: Count | None = None) -> Score:
        """Return the score of the minibatch in `workspace(width)`. In step with the other partitions.

        `count(workspace, boundary)` sees the output after that: `model.figures`.
        """
        here = self._of(width)
        here.workspace.draw, start = None, time.monotonic()
        self._forward(theta, here)
        score = self._loss.evaluate(here.workspace, here.boundary, targets)
        if count is not None:
            count(here.workspace, here.boundary)
        here.boundary.finish()
        self._spans.step((Kind.FORWARD, start, time.monotonic(), width))
        return score

    def outputs_of(self, theta: Tensors, width: int) -> Array:
        """Return what the own output units compute of the minibatch in `workspace(width)`: a view, `(O, B)`.

        Of a last layer before softmax or the logistic function, which belong to the loss. In step with the
        other partitions.
        """
        here = self._of(width)
        here.workspace.draw = None
        self._forward(theta, here, scored=False)
        here.boundary.finish()
        return here.workspace.output

    def differentiate(self, theta: Tensors, gradient: Tensors, width: int, targets: Array) -> Score:
        """Score the minibatch in `workspace(width)`, and overwrite `gradient` with that of the mean loss.

        Where the workspace has weights, the loss of each example is multiplied by its own.

        In step with the other partitions of the replica.

        Parameters
        ----------
        theta, gradient
            This partition's parameters, read, and gradient, overwritten.
        targets
            Labels, int64 `(B,)`, or float targets of the own output units, `(O, B)`.
        """
        here = self._of(width)
        here.workspace.draw, start = (self._seed, self.position), time.monotonic()
        self._forward(theta, here)
        between = time.monotonic()
        db_O = gradient.biases[-1]
        assert db_O is not None
        dy_OB, code = here.workspace.output, here.layers[-1].code
        y_OB = dy_OB.copy() if code != activations.IDENTITY else dy_OB
        loss = self._loss if here.workspace.weights is None else self._weighted
        score = loss.derivative(here.workspace, here.boundary, targets, db_O)
        if code != activations.IDENTITY:
            dense.activation_backward(dy_OB, y_OB, db_O, code)
        self._backward(theta, gradient, here)
        here.boundary.finish()
        stop = time.monotonic()
        self._spans.step((Kind.FORWARD, start, between, width, Kind.BACKWARD, between, stop, width))
        return score

    def _forward(self, theta: Tensors, here: _Width, scored: bool = True) -> None:
        """From the first layer up; the states that other partitions need are sent layer by layer.

        `scored` says whether a loss of the output follows, which exchanges statistics.
        """
        if self.partition == 0:
            self._copy_shared(theta, here.shared)
        here.boundary.begin_forward(scored)
        for layer in here.layers:
            if layer.active:
                source = here.shared if layer.shared else theta
                layer.forward(source.weights[layer.index], source.biases[layer.index])
                here.boundary.send_states(layer.index + 1)
            self._progress()

    def _backward(self, theta: Tensors, gradient: Tensors, here: _Width) -> None:
        """From the last layer down; see `PartitionLayer.backward`."""
        here.boundary.begin_backward()
        for layer in reversed(here.layers):
            source, into = (here.shared, here.shared_gradient) if layer.shared else (theta, gradient)
            w, dw, db = (views[layer.index] for views in (source.weights, into.weights, into.biases))
            if layer.index < len(here.layers) - 1:
                layer.receive_derivatives()
            if layer.index > 0:
                layer.clear()
            if layer.active:
                layer.backward(w, dw, db)
            elif layer.shared:
                here.shared_gradient.flat[...] = 0  # this partition has no part in any of its sums
            if not layer.shared:
                self._add_penalty(w, dw)
            self._progress()
        self._finish_shared(theta, gradient, here)

    def _finish_shared(self, theta: Tensors, gradient: Tensors, here: _Width) -> None:
        """Sum the gradients of shared tensors within the replica; partition 0 owns them, and the penalty."""
        here.boundary.sum_shared_gradients()
        if self.partition != 0:
            return
        self._copy_shared(here.shared_gradient, gradient)
        for layer in here.layers:
            if layer.shared:
                self._add_penalty(theta.weights[layer.index], gradient.weights[layer.index])

    def _add_penalty(self, w: Array | None, dw: Array | None) -> None:
        """Add the derivative of the penalty on a layer's weights to their gradient."""
        if self.l2 and w is not None and dw is not None:
            rules.add_scaled(dw.reshape(-1), self.l2, w.reshape(-1))

    def _copy_shared(self, source: Tensors, into: Tensors) -> None:
        """Copy the shared tensors from one set of views to another."""
        for layer in self.partitioning.network.layers:
            if layer.weight is not None and layer.weight.shared:
                for name in ("weights", "biases"):
                    np.copyto(getattr(into, name)[layer.index], getattr(source, name)[layer.index])

    def penalty(self, theta: Tensors) -> float:
        """Return this partition's share of the L2 penalty."""
        return (
            0.5 * self.l2 * sum(rules.sum_of_squares(w.reshape(-1)) for w in theta.weights if w is not None)
        )

    def take_sent(self) -> tuple[int, int]:
        """Return how many messages, and how many bytes, were sent to other partitions since the last call."""
        boundaries = [here.boundary for here in self._widths.values()]
        sent = sum(one.messages for one in boundaries), sum(one.bytes for one in boundaries)
        before, self._sent_before = self._sent_before, sent
        return sent[0] - before[0], sent[1] - before[1]

    def free(self) -> None:
        """Free the persistent requests of all workspaces."""
        for here in self._widths.values():
            here.boundary.free()
