"""One partition of a model replica: its parameters, and forward and backward over its units.

Matrix products go to BLAS, everything between them to `kernels`; what each layer does is its stage's
(`model.layers`).

Shape letters: B minibatch, O own output units.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.comm.wait import Waiter
from dbmpi.layout.boxes import Range
from dbmpi.layout.partitioning import Partitioning, Traffic
from dbmpi.model import losses
from dbmpi.model.boundary import Boundary
from dbmpi.model.layers import Stage
from dbmpi.model.losses import Score
from dbmpi.model.spatial import STAGES
from dbmpi.model.tensors import Tensors, shared_tensors
from dbmpi.model.workspace import Workspace
from kernels.layers import activations, dense
from kernels.parameters import rules

if TYPE_CHECKING:
    from mpi4py import MPI


@dataclass
class _Width:
    """All that belongs to minibatches of one width."""

    space: Workspace
    boundary: Boundary
    stages: list[Stage]
    shared: Tensors
    shared_gradient: Tensors


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
        comm: "MPI.Intracomm | None" = None,
        waiter: Waiter | None = None,
        progress: Callable[[], object] = lambda: None,
        seed: int = 0,
    ) -> None:
        self.partitioning, self.partition, self.dtype, self.l2 = partitioning, partition, dtype, l2
        self._labels = labels
        self.outputs: Range = partitioning.outputs(partition)
        self.progress, self._seed, self.position = progress, seed, 0
        self._layers = partitioning.network.layers
        self._loss = losses.make(partitioning.network.loss, labels, partition, self.outputs[0])
        self._comm, self._waiter = comm, waiter or Waiter(timeout_s=300.0)
        self._widths: dict[int, _Width] = {}
        self._sent_before = Traffic(0, 0)

    @property
    def parameters(self) -> int:
        """Length of this partition's parameter vector."""
        return self.partitioning.sizes[self.partition]

    def space(self, width: int) -> Workspace:
        """Return the buffers for minibatches of `width` examples; the input goes to `.states[0]`."""
        return self._of(width).space

    def _of(self, width: int) -> _Width:
        if width not in self._widths:
            self._widths[width] = self._make(width)
        return self._widths[width]

    def _make(self, width: int) -> _Width:
        space = Workspace(self.partitioning, self.partition, width, self.dtype)
        boundary = Boundary(self._comm, self.partitioning, self.partition, space, self._waiter, self._labels)
        stages = [
            STAGES[type(layer.spec)](layer, self.partitioning, self.partition, space, boundary)
            for layer in self._layers
        ]
        shared = shared_tensors(self.partitioning, space.shared)
        return _Width(
            space, boundary, stages, shared, shared_tensors(self.partitioning, space.shared_gradient)
        )

    def evaluate(self, theta: Tensors, width: int, targets: Array) -> Score:
        """Return the score of the minibatch in `space(width)`. In step with the other partitions."""
        here = self._of(width)
        here.space.draw = None
        self._forward(theta, here)
        score = self._loss.evaluate(here.space, here.boundary, targets)
        here.boundary.finish()
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
        here = self._of(width)
        here.space.draw = self._seed, self.position
        self._forward(theta, here)
        db_O = gradient.biases[-1]
        assert db_O is not None
        dy_OB, code = here.space.output, here.stages[-1].code
        y_OB = dy_OB.copy() if code != activations.IDENTITY else dy_OB
        score = self._loss.derivative(here.space, here.boundary, targets, db_O)
        if code != activations.IDENTITY:
            dense.activation_backward(dy_OB, y_OB, db_O, code)
        self._backward(theta, gradient, here)
        here.boundary.finish()
        return score

    def _forward(self, theta: Tensors, here: _Width) -> None:
        """From the first layer up; what others need leaves as soon as it is there."""
        if self.partition == 0:
            self._copy_shared(theta, here.shared)
        here.boundary.begin_forward()
        for stage in here.stages:
            layer = stage.layer.index
            if stage.active:
                source = here.shared if _is_shared(stage) else theta
                stage.forward(source.weights[layer], source.biases[layer])
                here.boundary.send_states(layer + 1)
            self.progress()

    def _backward(self, theta: Tensors, gradient: Tensors, here: _Width) -> None:
        """From the last layer down; see `Stage.backward`."""
        here.boundary.begin_backward()
        for stage in reversed(here.stages):
            layer, shared = stage.layer.index, _is_shared(stage)
            source, into = (here.shared, here.shared_gradient) if shared else (theta, gradient)
            w, dw, db = source.weights[layer], into.weights[layer], into.biases[layer]
            if layer < len(here.stages) - 1:
                stage.receive_derivatives()
            if layer > 0:
                stage.clear()
            if stage.active:
                stage.backward(w, dw, db)
            elif shared:
                here.shared_gradient.flat[...] = 0  # this partition has no part in any of its sums
            if self.l2 and dw is not None and w is not None and not shared:
                rules.add_scaled(dw.reshape(-1), self.l2, w.reshape(-1))
            self.progress()
        self._finish_shared(theta, gradient, here)

    def _finish_shared(self, theta: Tensors, gradient: Tensors, here: _Width) -> None:
        """Sum the gradients of shared tensors within the replica; partition 0 owns them, and the penalty."""
        here.boundary.sum_shared_gradients()
        if self.partition != 0:
            return
        self._copy_shared(here.shared_gradient, gradient)
        for stage in here.stages:
            w, dw = theta.weights[stage.layer.index], gradient.weights[stage.layer.index]
            if self.l2 and _is_shared(stage) and w is not None and dw is not None:
                rules.add_scaled(dw.reshape(-1), self.l2, w.reshape(-1))

    def _copy_shared(self, source: Tensors, into: Tensors) -> None:
        """Copy the shared tensors from one set of views to another."""
        for layer in self._layers:
            if layer.weight is not None and layer.weight.shared:
                for name in ("weights", "biases"):
                    np.copyto(getattr(into, name)[layer.index], getattr(source, name)[layer.index])

    def penalty(self, theta: Tensors) -> float:
        """Return this partition's share of the L2 penalty."""
        return (
            0.5 * self.l2 * sum(rules.sum_of_squares(w.reshape(-1)) for w in theta.weights if w is not None)
        )

    def take_sent(self) -> Traffic:
        """Return the boundary messages and bytes sent since the last call."""
        sent = sum((here.boundary.sent for here in self._widths.values()), Traffic(0, 0))
        before, self._sent_before = self._sent_before, sent
        return Traffic(sent.messages - before.messages, sent.bytes - before.bytes)

    def free(self) -> None:
        """Free the persistent requests of all workspaces."""
        for here in self._widths.values():
            here.boundary.free()


def _is_shared(stage: Stage) -> bool:
    return stage.layer.weight is not None and stage.layer.weight.shared
