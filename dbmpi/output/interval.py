"""What was learned since the last train record. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from dbmpi.arrays import Record
from dbmpi.comm.protocol import Work
from dbmpi.output.evaluation_sums import EvaluationSums
from dbmpi.output.partition_time import PartitionTime
from dbmpi.output.portions import Portions, Waiting
from dbmpi.output.push_sums import PushSums

SHORTEST_S = 0.01  # between two records that examples make due: never more than a hundred a second


@dataclass(frozen=True)
class Every:
    """When a train record is due: after so many seconds, or examples; 0: no number of examples."""

    seconds: float
    examples: int = 0

    def due(self, seconds: float, examples: int) -> bool:
        """Return whether one is due; never without examples."""
        enough = 0 < self.examples <= examples and seconds >= SHORTEST_S
        return bool(examples) and (enough or seconds >= self.seconds)


class Interval:
    """Sums since a moment.

    Parameters
    ----------
    empty
        Sums over no examples.
    since_s
        The moment, by the time of the records.

    Attributes
    ----------
    examples
        Learned from.
    """

    def __init__(self, empty: EvaluationSums, since_s: float = 0.0) -> None:
        self.since_s, self.examples = since_s, 0
        self._waiting, self._learned = Waiting(), empty
        self._time, self._pushes = PartitionTime(), PushSums()
        self._rate: float | None = None  # the learning rate, at last
        self._squares = np.zeros((2, 0))  # of each partition, measured pushes and the sum of their squares

    def add(self, reports: Sequence[Record]) -> None:
        """Add the reports of one portion, one from each partition."""
        self.examples += int(reports[0]["examples"])
        if self._waiting.add(reports):
            self._add_up()

    def _add_up(self) -> None:
        portions = self._waiting.take()
        if portions is not None:
            self._learned += EvaluationSums.of(portions)
            self._time += PartitionTime.of(portions.reports)
            self._pushes += PushSums.of(portions.reports)
            self._measure(portions.reports)
            self._note_rate(portions)

    def _measure(self, reports: Record) -> None:
        """Add what partitions have measured of their pushes."""
        size = max(self._squares.shape[1], int(reports["partition"].max()) + 1)
        more = np.zeros((2, size - self._squares.shape[1]))
        self._squares = np.concatenate([self._squares, more], axis=1)
        for sums, name in zip(self._squares, ("sampled", "square_sum"), strict=True):
            sums += np.bincount(reports["partition"], reports[name], size)

    def _note_rate(self, portions: Portions) -> None:
        last = portions.firsts[-1]
        if last["work"] == Work.TRAIN and last["steps"]:
            self._rate = float(last["rate"])

    @property
    def learned(self) -> EvaluationSums:
        """Losses and right answers."""
        self._add_up()
        return self._learned

    @property
    def _gradient_norm(self) -> float | None:
        """Root mean square of the norm of the whole gradient; None where a partition has measured none.

        The mean is taken partition by partition: where pushes go on in the background they are not in step.
        """
        measured, squares = self._squares
        return sqrt((squares / measured).sum()) if measured.size and measured.all() else None

    def recorded(self, now_s: float, epoch: float) -> dict[str, Any]:
        """Return the fields of a train record."""
        learned = self.learned
        return {
            "loss": learned.loss,
            "accuracy": learned.accuracy,
            "examples_per_s": learned.rows / max(now_s - self.since_s, 1e-9),
            "epoch": epoch,
            "interval_s": now_s - self.since_s,
            "wait_share": self._time.wait_share,
            "waits": self._time.shares,
            "core_share": self._time.core_share,
            "learning_rate": self._rate,
            "gradient_norm": self._gradient_norm,
            "staleness_mean": self._pushes.mean,
            "staleness_max": self._pushes.most,
        }
