"""The losses on the outputs of a network whose units are split over partitions.

Each loss turns the own rows of the output (logits, or values) into the partial derivatives of the
mean loss, in place, and returns this partition's share of the summed loss: the shares of all
partitions add up to the loss of the minibatch. Shape letters: O own output units, B minibatch.
"""

from typing import NamedTuple, Protocol

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


class Squared(_Split):
    """Half the squared distance to float targets (own units, B), mean over examples; no exchange."""

    def evaluate(self, workspace: Workspace, boundary: Boundary, targets: Array) -> Score:
        """See `Loss.evaluate`."""
        return Score(elementwise.squared_loss(workspace.output, targets), 0)

    def derivative(self, workspace: Workspace, boundary: Boundary, targets: Array, db_O: Array) -> Score:
        """See `Loss.derivative`."""
        return Score(elementwise.squared_delta(workspace.output, targets, 1.0 / workspace.width, db_O), 0)


def make(name: str, labels: bool, partition: int, first: int) -> Loss:
    """Make the loss called `name` for a partition whose first output unit is `first`.

    Parameters
    ----------
    labels
        Whether targets are class labels (int64, (B,)), or floats ((own units, B)).
    """
    if name == "softmax":
        return Softmax(partition, first)
    if name == "logistic":
        return Logistic(partition, first)
    return SquaredLabels(partition, first) if labels else Squared(partition, first)
