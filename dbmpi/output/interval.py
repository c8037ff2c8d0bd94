"""What was learned since the last train record. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np

from dbmpi.arrays import Array, Record
from dbmpi.comm.protocol import Work
from dbmpi.output.evaluation_sums import EvaluationSums
from dbmpi.output.partition_time import PartitionTime
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


@dataclass
class Interval:
    """Sums since `since_s`, by the time of the records."""

    sums: EvaluationSums
    since_s: float = 0.0
    time: PartitionTime = field(default_factory=PartitionTime)
    pushes: PushSums = PushSums()
    rate: float | None = None  # the learning rate, at last
    # Of each partition, measured pushes and the sum of their squares.
    _squares: dict[int, Array] = field(default_factory=lambda: defaultdict(lambda: np.zeros(2)))

    def add(self, reports: Sequence[Record], pushes: PushSums, time: PartitionTime) -> None:
        """Add the reports of one portion, one from each partition; `pushes` and `time` are of them."""
        self.sums = self.sums.add(reports)
        self.time += time
        self.pushes += pushes
        for report in reports:
            self._squares[int(report["partition"])] += report["sampled"], report["square_sum"]
        if reports[0]["work"] == Work.TRAIN and reports[0]["steps"]:
            self.rate = float(reports[0]["rate"])

    @property
    def gradient_norm(self) -> float | None:
        """Root mean square of the norm of the whole gradient; None where a partition has measured none.

        The mean is taken partition by partition: where pushes go on in the background they are not in step.
        """
        if not self._squares or not all(measured for measured, _ in self._squares.values()):
            return None
        return sqrt(sum(total / measured for measured, total in self._squares.values()))

    def recorded(self, now_s: float, epoch: float) -> dict[str, Any]:
        """Return the fields of a train record."""
        return {
            "loss": self.sums.loss,
            "accuracy": self.sums.accuracy,
            "examples_per_s": self.examples_per_s(now_s),
            "epoch": epoch,
            "interval_s": now_s - self.since_s,
            "wait_share": self.time.wait_share,
            "waits": self.time.shares,
            "core_share": self.time.core_share,
            "learning_rate": self.rate,
            "gradient_norm": self.gradient_norm,
            "staleness_mean": self.pushes.mean,
            "staleness_max": self.pushes.most,
        }

    def examples_per_s(self, now_s: float) -> float:
        """Return how many examples a second were learned from."""
        return self.sums.rows / max(now_s - self.since_s, 1e-9)
