"""Sums over rows that were learned from or evaluated, and what they come to. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from dbmpi.arrays import Record
from dbmpi.output.portions import Portions
from dbmpi.typed import Limits


@dataclass(frozen=True)
class EvaluationSums:
    """Sums over evaluated rows.

    Parameters
    ----------
    labels
        Whether each row has one right class, so that the accuracy says how good they are.
    answers
        Labels of a row each of which may be right or wrong, where there are such.
    figures
        What else was counted: `data.measures`.
    """

    loss_sum: Annotated[float, Limits(finite=False)] = 0.0
    correct: int = 0
    rows: int = 0
    labels: bool = True
    answers: int = 0
    figures: Sequence[float] = ()

    def add(self, reports: Sequence[Record]) -> "EvaluationSums":
        """Return the sums with one job's reports (a partition each) added."""
        return replace(
            self,
            loss_sum=self.loss_sum + sum(float(r["loss_sum"]) for r in reports),
            correct=self.correct + sum(int(r["correct"]) for r in reports),
            rows=self.rows + int(reports[0]["examples"]),
            figures=_added(self.figures, reports),
        )

    @classmethod
    def of(cls, portions: Portions) -> "EvaluationSums":
        """Return the sums over what was learned from."""
        reports, rows = portions.reports, int(portions.firsts["examples"].sum())
        return cls(float(reports["loss_sum"].sum()), int(reports["correct"].sum()), rows)

    def __add__(self, other: "EvaluationSums") -> "EvaluationSums":
        """Add losses, right answers and rows; the rest is as it is here."""
        return replace(
            self,
            loss_sum=self.loss_sum + other.loss_sum,
            correct=self.correct + other.correct,
            rows=self.rows + other.rows,
        )

    @property
    def loss(self) -> float:
        """Mean loss."""
        return self.loss_sum / self.rows if self.rows else math.nan

    @property
    def score(self) -> float | None:
        """How good: accuracy, or minus the loss; None where it is not finite."""
        value = self.accuracy if self.labels else -self.loss
        return value if math.isfinite(value) else None

    @property
    def accuracy(self) -> float:
        """Share of rows classified rightly, or of answers that are right; not a number for float targets."""
        most = self.rows * (1 if self.labels else self.answers)
        return self.correct / most if most else math.nan


def _added(figures: Sequence[float], reports: Sequence[Record]) -> Sequence[float]:
    """Return figures with those of one job's reports, where these have any."""
    new = [report["figures"] for report in reports if "figures" in (report.dtype.names or ())]
    if not new:
        return figures
    total = np.sum(new, axis=0) + (np.array(figures) if figures else 0.0)
    return tuple(total.tolist())
