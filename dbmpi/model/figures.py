"""What an evaluation counts beside the loss (`data.measures`), of the output units of one partition.

Letters: O own output units, B minibatch, k of the top-k accuracy.
"""

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.measures import Measures
from dbmpi.model.boundary import Boundary
from dbmpi.model.workspace import Workspace
from kernels.losses.softmax import ARGMAX, MAX, TARGET


class Figures:
    """Adds the figures of evaluated minibatches to a vector; those of all partitions add up to the whole.

    Parameters
    ----------
    measures
        Which figures there are. Top-k is of the softmax alone, where each partition knows the target's logit.
    partition, first
        This partition, and its first output unit.
    """

    def __init__(self, measures: Measures, partition: int, first: int) -> None:
        self.measures, self._partition, self._first = measures, partition, first
        self._centres = np.asarray(measures.centres or np.zeros(measures.units))

    def add(self, workspace: Workspace, boundary: Boundary, targets: Array, figures: Array) -> None:
        """Add those of a minibatch whose loss was just evaluated. In step with the other partitions.

        Parameters
        ----------
        targets
            As `PartitionModel.evaluate` takes them.
        figures : float64 array (measures.size,), or (measures.full_size,) for all there is to count
        """
        if self.measures.kind == "classes":
            self._add_classes(workspace, boundary, targets, figures)
            return
        y_OB = workspace.output
        own = self.measures.parts(figures)[:, self._first : self._first + len(y_OB)]
        if self.measures.kind == "labels":
            own += _answers(y_OB > 0, targets > 0)
        else:
            own += _errors(y_OB, targets, self._centres[self._first : self._first + len(y_OB), None])

    def _add_classes(self, workspace: Workspace, boundary: Boundary, labels_B: Array, figures: Array) -> None:
        """Partition 0 counts for all."""
        if self._partition == 0:
            of_class, right = self.measures.parts(figures)
            of_class += np.bincount(labels_B, minlength=self.measures.units)
            hits = labels_B[workspace.merged[ARGMAX] == labels_B]
            right += np.bincount(hits, minlength=self.measures.units)
            self._add_pairs(workspace.merged[ARGMAX], labels_B, figures[self.measures.size :])
        if self.measures.top:
            above_B = self._ahead(workspace, boundary, labels_B)
            among = np.count_nonzero(above_B < self.measures.top) if self._partition == 0 else 0
            figures[self.measures.size - 1] += among

    def _add_pairs(self, said_B: Array, labels_B: Array, pairs: Array) -> None:
        """Add how often each class was taken for each, where that is counted; not a number is none."""
        if len(pairs):
            which_B = labels_B * self.measures.units + said_B.astype(np.int64)
            pairs += np.bincount(which_B[said_B >= 0], minlength=len(pairs))

    def _ahead(self, workspace: Workspace, boundary: Boundary, labels_B: Array) -> Array:
        """Return how many units come before the target, of equal ones those of a lower index; at partition 0.

        Each partition counts its own, and a second exchange of the statistics brings them together.
        """
        z_OB, target_B = workspace.output, workspace.merged[TARGET]
        lower_OB = np.arange(self._first, self._first + len(z_OB))[:, None] < labels_B
        mine_B = np.count_nonzero((z_OB > target_B) | ((z_OB == target_B) & lower_OB), axis=0)
        boundary.exchange_more_stats(lambda: np.copyto(workspace.stats[self._partition], mine_B))
        return workspace.stats[:, MAX].sum(axis=0, where=np.isfinite(workspace.stats[:, MAX]))


def _answers(said_OB: Array, true_OB: Array) -> Array:
    """Return how often each unit rightly said, wrongly said and wrongly did not say its label: (3, O)."""
    pairs = (said_OB & true_OB, said_OB & ~true_OB, ~said_OB & true_OB)
    return np.array([np.count_nonzero(one, axis=1) for one in pairs])


def _errors(y_OB: Array, t_OB: Array, centres_O1: Array) -> Array:
    """Return sums over examples, (4, O): error and distance from the centre; see `data.measures`."""
    error_OB, away_OB = np.subtract(y_OB, t_OB, dtype=np.float64), t_OB - centres_O1
    sums = (np.abs(error_OB), error_OB**2, away_OB, away_OB**2)
    return np.array([one.sum(axis=1) for one in sums])
