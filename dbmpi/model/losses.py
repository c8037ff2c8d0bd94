"""The losses on the outputs of a network whose units are split over partitions.

Each loss turns the own rows of the output (logits, or values) into the partial derivatives of the
mean loss, in place, and returns this partition's share of the summed loss: the shares of all
partitions add up to the loss of the minibatch. Shape letters: O own output units, B minibatch.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np

from dbmpi.arrays import Array
from dbmpi.model.boundary import Boundary
from dbmpi.model.workspace import Workspace
from kernels.losses import elementwise, softmax


class Score(NamedTuple):
    """This partition's share of a minibatch's summed loss, and of the examples classified rightly."""

    loss_sum: float
    correct: int

    def __add__(self, other: object) -> "Score":
        assert isinstance(other, Score)
        return Score(self.loss_sum + other.loss_sum, self.correct + other.correct)


class Loss(Protocol):
    """What the model asks of a loss; both calls exchange statistics within the replica."""

    def evaluate(self, workspace: Workspace, boundary: Boundary, targets: Array) -> Score:
        """Return the score; the output is left as it is."""

    def derivative(self, workspace: Workspace, boundary: Boundary, targets: Array, db_O: Array) -> Score:
        """Return the score; the output becomes d(mean loss)/d(logits), `db_O` its row sums."""

    def each(self, z_OB: Array, workspace: Workspace, targets: Array) -> Array:
        """Return this partition's share of the loss of each example, float64 (B,).

        `z_OB` is the output that `derivative` has just scored.
        """


class _Split:
    """What all losses know: which output units are here, and which partition counts the right answers."""

    def __init__(self, partition: int, first: int) -> None:
        self.partition, self.first = partition, first

    def _reduce(self, workspace: Workspace, boundary: Boundary) -> None:
        boundary.exchange_stats()
        softmax.merge_stats(workspace.stats, workspace.merged)

    def _correct(self, workspace: Workspace, labels_B: Array) -> int:
        """Count the examples whose arg max is their label; partition 0 counts for all."""
        return int(np.count_nonzero(workspace.merged[3] == labels_B)) if self.partition == 0 else 0


class Softmax(_Split):
    """Cross-entropy of the softmax of the logits: log(sum_k exp z_k) - z_target, mean over examples."""

    def evaluate(self, workspace: Workspace, boundary: Boundary, targets: Array) -> Score:
        """Exchange the output statistics; partition 0 scores for all. See `Loss.evaluate`."""
        softmax.softmax_stats(workspace.output, self.first, targets, workspace.stats[self.partition])
        self._reduce(workspace, boundary)
        if self.partition != 0:
            return Score(0.0, 0)
        top, total, target = workspace.merged[:3]
        return Score(float(np.sum(top + np.log(total) - target)), self._correct(workspace, targets))

    def derivative(self, workspace: Workspace, boundary: Boundary, targets: Array, db_O: Array) -> Score:
        """See `Loss.derivative`."""
        score = self.evaluate(workspace, boundary, targets)
        share = 1.0 / workspace.width
        softmax.softmax_delta(workspace.output, self.first, targets, workspace.merged, share, db_O)
        return score

    def each(self, z_OB: Array, workspace: Workspace, targets: Array) -> Array:
        """See `Loss.each`."""
        top, total, target = workspace.merged[:3]
        return top + np.log(total) - target if self.partition == 0 else np.zeros(workspace.width)


class Logistic(_Split):
    """One-vs-all logistic loss, summed over units, mean over examples (Dean et al. 2012, section 5)."""

    def evaluate(self, workspace: Workspace, boundary: Boundary, targets: Array) -> Score:
        """See `Loss.evaluate`."""
        self._arg_max(workspace, boundary)
        loss = elementwise.logistic_loss(workspace.output, self.first, targets)
        return Score(loss, self._correct(workspace, targets))

    def derivative(self, workspace: Workspace, boundary: Boundary, targets: Array, db_O: Array) -> Score:
        """See `Loss.derivative`."""
        self._arg_max(workspace, boundary)
        loss = elementwise.logistic_delta(workspace.output, self.first, targets, 1.0 / workspace.width, db_O)
        return Score(loss, self._correct(workspace, targets))

    def each(self, z_OB: Array, workspace: Workspace, targets: Array) -> Array:
        """See `Loss.each`."""
        return _logistic_losses(z_OB, self._one_hot(z_OB, targets))

    def _one_hot(self, z_OB: Array, labels_B: Array) -> Array:
        """Return 1 at the unit that each label names, if it is here, and 0 elsewhere: (O, B)."""
        return (np.arange(self.first, self.first + len(z_OB))[:, None] == labels_B).astype(z_OB.dtype)

    def _arg_max(self, workspace: Workspace, boundary: Boundary) -> None:
        softmax.argmax_stats(workspace.output, self.first, workspace.stats[self.partition])
        self._reduce(workspace, boundary)


class SquaredLabels(Logistic):
    """Half the squared distance to the one-hot target, mean over examples."""

    def evaluate(self, workspace: Workspace, boundary: Boundary, targets: Array) -> Score:
        """See `Loss.evaluate`."""
        self._arg_max(workspace, boundary)
        loss = elementwise.squared_labels_loss(workspace.output, self.first, targets)
        return Score(loss, self._correct(workspace, targets))

    def derivative(self, workspace: Workspace, boundary: Boundary, targets: Array, db_O: Array) -> Score:
        """See `Loss.derivative`."""
        self._arg_max(workspace, boundary)
        share = 1.0 / workspace.width
        loss = elementwise.squared_labels_delta(workspace.output, self.first, targets, share, db_O)
        return Score(loss, self._correct(workspace, targets))

    def each(self, z_OB: Array, workspace: Workspace, targets: Array) -> Array:
        """See `Loss.each`."""
        return _squared_losses(z_OB, self._one_hot(z_OB, targets))


class Squared(_Split):
    """Half the squared distance to float targets (own units, B), mean over examples; no exchange."""

    def evaluate(self, workspace: Workspace, boundary: Boundary, targets: Array) -> Score:
        """See `Loss.evaluate`."""
        return Score(elementwise.squared_loss(workspace.output, targets), 0)

    def derivative(self, workspace: Workspace, boundary: Boundary, targets: Array, db_O: Array) -> Score:
        """See `Loss.derivative`."""
        return Score(elementwise.squared_delta(workspace.output, targets, 1.0 / workspace.width, db_O), 0)

    def each(self, z_OB: Array, workspace: Workspace, targets: Array) -> Array:
        """See `Loss.each`."""
        return _squared_losses(z_OB, targets)


class MultiLabel(_Split):
    """One-vs-all logistic loss of targets of 0 and 1, (own units, B): any of them may be right; no exchange.

    Each right answer of a unit counts as one.
    """

    def evaluate(self, workspace: Workspace, boundary: Boundary, targets: Array) -> Score:
        """See `Loss.evaluate`."""
        right = int(np.count_nonzero((workspace.output > 0) == (targets > 0)))
        return Score(elementwise.multilabel_loss(workspace.output, targets), right)

    def derivative(self, workspace: Workspace, boundary: Boundary, targets: Array, db_O: Array) -> Score:
        """See `Loss.derivative`."""
        right = int(np.count_nonzero((workspace.output > 0) == (targets > 0)))
        share = 1.0 / workspace.width
        return Score(elementwise.multilabel_delta(workspace.output, targets, share, db_O), right)

    def each(self, z_OB: Array, workspace: Workspace, targets: Array) -> Array:
        """See `Loss.each`."""
        return _logistic_losses(z_OB, targets)


class Weighted:
    """A loss in training, that of each example multiplied by its weight: (1 / B) sum over b of w_b loss_b.

    Parameters
    ----------
    loss
        Without weights.
    """

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def derivative(self, workspace: Workspace, boundary: Boundary, targets: Array, db_O: Array) -> Score:
        """See `Loss.derivative`; the weights are those of the workspace."""
        assert workspace.weights is not None
        z_OB = workspace.output.copy()
        correct = self._loss.derivative(workspace, boundary, targets, db_O).correct
        losses_B = self._loss.each(z_OB, workspace, targets)
        elementwise.weigh(workspace.output, workspace.weights, db_O)
        return Score(float(losses_B @ workspace.weights.astype(np.float64)), correct)


def _logistic_losses(z_OB: Array, t_OB: Array) -> Array:
    losses_B = np.empty(z_OB.shape[1])
    elementwise.logistic_losses(z_OB, t_OB, losses_B)
    return losses_B


def _squared_losses(y_OB: Array, t_OB: Array) -> Array:
    return 0.5 * np.square(np.subtract(y_OB, t_OB, dtype=np.float64)).sum(axis=0)


def make(name: str, labels: bool, partition: int, first: int) -> Loss:
    """Make the loss called `name` for a partition whose first output unit is `first`.

    Parameters
    ----------
    labels
        Whether targets are class labels (int64, (B,)), or floats, also of 0 and 1 ((own units, B)).
    """
    kinds: dict[str, type[Any]] = {"logistic": MultiLabel, "squared": Squared}
    if labels:
        kinds = {"softmax": Softmax, "logistic": Logistic, "squared": SquaredLabels}
    made: Loss = kinds[name](partition, first)
    return made
