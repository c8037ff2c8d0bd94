"""Sums of what replicas and shards report. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dbmpi.arrays import Record

REFUSALS = ("stale", "not_finite", "too_large")


@dataclass(frozen=True)
class EvaluationSums:
    """Sums over evaluated rows."""

    loss_sum: float = 0.0
    correct: int = 0
    rows: int = 0
    labels: bool = True

    def add(self, reports: Sequence[Record]) -> "EvaluationSums":
        """Return the sums with one job's reports (a partition each) added."""
        return EvaluationSums(
            self.loss_sum + sum(float(r["loss_sum"]) for r in reports),
            self.correct + sum(int(r["correct"]) for r in reports),
            self.rows + int(reports[0]["examples"]),
            self.labels,
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
        """Share of rows classified rightly; not a number for float targets."""
        return self.correct / self.rows if self.rows and self.labels else math.nan


@dataclass(frozen=True)
class ServiceTotals:
    """What the shards counted together. An update of the model is one of each of its pieces."""

    updates: int = 0
    staleness_mean: float = 0.0
    staleness_max: int = 0
    refused: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REFUSALS, 0))

    def __add__(self, other: "ServiceTotals") -> "ServiceTotals":
        updates = self.updates + other.updates
        staleness = self.updates * self.staleness_mean + other.updates * other.staleness_mean
        return ServiceTotals(
            updates,
            staleness / max(updates, 1),
            max(self.staleness_max, other.staleness_max),
            {name: self.refused[name] + other.refused[name] for name in REFUSALS},
        )


def service(reports: Sequence[Record]) -> ServiceTotals:
    """Add up the last reports of all shards."""
    total = {name: sum(int(r[name]) for r in reports) for name in ("updates", "pieces", "staleness_sum")}
    refused = {name: sum(int(r[name]) for r in reports) for name in REFUSALS}
    return ServiceTotals(
        round(total["updates"] / max(total["pieces"], 1)),
        total["staleness_sum"] / max(total["updates"], 1),
        max((int(r["staleness_max"]) for r in reports), default=0),
        refused,
    )


def histogram(report: Record) -> list[int]:
    """Return the staleness histogram without its trailing zeros."""
    counts = np.trim_zeros(np.asarray(report["histogram"]), "b")
    return [int(count) for count in counts]


def plain(value: object) -> object:
    """Return what JSON can hold: a float that is not finite becomes null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
