"""Sums of what replicas and shards report, and of what they have done for a batch method. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Record
from dbmpi.comm.wait import CAUSES, Cause
from dbmpi.typed import Limits

REFUSALS = ("stale", "not_finite", "too_large")
TALLY_COUNTS = ("done", "won", "lost")
COORDINATOR = CAUSES[Cause.COORDINATOR]
_TALLY_SUMS = ("copies", "copies_used", "passes_s", "busy_s")


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


@dataclass(frozen=True)
class Revision:
    """What a rule that revises has done: sums of magnitudes, over all parameters and updates.

    `revised` is what was taken back of earlier steps, `stepped` the steps; `unknown` counts updates of pieces
    for which nothing could be revised, as the shard did not know the parameters of their gradients.
    """

    revised: float = 0.0
    stepped: float = 0.0
    unknown: int = 0

    @classmethod
    def of(cls, report: Record) -> "Revision":
        """Return what a `SHARD_REPORT` says."""
        return cls(float(report["revised"]), float(report["stepped"]), int(report["unknown"]))

    def __add__(self, other: "Revision") -> "Revision":
        revised, stepped = self.revised + other.revised, self.stepped + other.stepped
        return Revision(revised, stepped, self.unknown + other.unknown)

    def shown(self) -> dict[str, float]:
        """Return what records and the summary say: nothing for rules that do not revise."""
        if not self.stepped:
            return {}
        return {"revised_share": self.revised / self.stepped, "versions_unknown": self.unknown}


@dataclass(frozen=True)
class ServiceTotals:
    """What the shards counted together. An update of the model is one of each of its pieces."""

    updates: int = 0
    staleness_mean: float = 0.0
    staleness_max: int = 0
    refused: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REFUSALS, 0))
    revision: Revision = Revision()

    def __add__(self, other: "ServiceTotals") -> "ServiceTotals":
        updates = self.updates + other.updates
        staleness = self.updates * self.staleness_mean + other.updates * other.staleness_mean
        return ServiceTotals(
            updates,
            staleness / max(updates, 1),
            max(self.staleness_max, other.staleness_max),
            {name: self.refused.get(name, 0) + other.refused.get(name, 0) for name in REFUSALS},
            self.revision + other.revision,
        )

    def shown(self) -> dict[str, Any]:
        """Return what the summary says."""
        sums = asdict(self)
        del sums["revision"]
        return sums | self.revision.shown()


@dataclass(frozen=True)
class PartitionTime:
    """Seconds of the ranks of all replicas together, for the portions that they have reported.

    `busy_s` is from an order to its report; `waits_s` is in which they waited, by `Cause`: that for the
    coordinator came before an order, all else is within `busy_s`.
    """

    busy_s: float = 0.0
    waits_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0.0))

    @classmethod
    def of(cls, reports: Sequence[Record]) -> "PartitionTime":
        """Add up one portion's reports, a partition each."""
        waits = np.sum([report["waits_s"] for report in reports], axis=0)
        busy = sum(float(report["busy_s"]) for report in reports)
        return cls(busy, dict(zip(CAUSES, waits.tolist(), strict=True)))

    def __add__(self, other: "PartitionTime") -> "PartitionTime":
        waits = {name: self.waits_s.get(name, 0.0) + other.waits_s.get(name, 0.0) for name in CAUSES}
        return PartitionTime(self.busy_s + other.busy_s, waits)

    @property
    def _within_s(self) -> float:
        """The waits within `busy_s`."""
        return sum(self.waits_s.values()) - self.waits_s[COORDINATOR]

    @property
    def computed_s(self) -> float:
        """The seconds of `busy_s` in which they did not wait."""
        return max(0.0, self.busy_s - self._within_s)

    @property
    def wait_share(self) -> float:
        """The share of `busy_s` in which they waited."""
        return self._within_s / self.busy_s if self.busy_s else 0.0

    @property
    def shares(self) -> dict[str, float]:
        """Each wait as a share of all the time, that between portions too."""
        whole = self.busy_s + self.waits_s[COORDINATOR]
        return {name: round(wait / whole, 4) if whole else 0.0 for name, wait in self.waits_s.items()}


@dataclass(frozen=True)
class LogState:
    """What the records and the summary of a run have added up, for a checkpoint.

    `rows_again` counts the examples that were handed out a second time in an epoch, as who had them or gave
    them out died: the model may have learned from them twice. `rows_lost` counts those from which it may not
    have learned, as the gradient was accrued, or on its way, where a replica died. `updates_lost` counts,
    about, the updates of the model that shards have taken with them; `examples_dropped` those from which a
    replica learned too late for their round (`downpour.backups`). `discarded_s` are seconds in which
    partitions computed for passes over the batch that did not come to their end.
    """

    elapsed_s: float
    wall_s: float
    step: int
    examples: int
    boundary_messages: int
    boundary_bytes: int
    iterations: int
    passes: int
    last_evaluation: EvaluationSums
    service: ServiceTotals
    rows_again: int = 0
    rows_lost: int = 0
    updates_lost: int = 0
    examples_dropped: int = 0
    partition_time: PartitionTime = field(default_factory=PartitionTime)
    discarded_s: float = 0.0


@dataclass
class Tally:
    """What replicas have done for a batch method, over all passes so far.

    `done` counts portions computed to their end, `won` those of them that counted, `lost` those that did
    not because another replica was first, given up half-way or not; `copies` and `copies_used` count backup
    copies handed out, and those of them that won; `waited_s` is the time in which a replica computed
    nothing, a mean over replicas.
    """

    replicas: int
    done: NDArray[np.int64] = field(init=False)
    won: NDArray[np.int64] = field(init=False)
    lost: NDArray[np.int64] = field(init=False)
    copies: int = 0
    copies_used: int = 0
    passes_s: float = 0.0
    busy_s: float = 0.0

    def __post_init__(self) -> None:
        self.done, self.won, self.lost = (np.zeros(self.replicas, np.int64) for _ in range(3))

    def state(self) -> dict[str, Any]:
        """Return the sums, for `restore`."""
        counts = {name: getattr(self, name).tolist() for name in TALLY_COUNTS}
        return counts | {name: getattr(self, name) for name in _TALLY_SUMS}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Count on from `state`; what each replica has done, if there are as many as then.

        The seconds that replicas were busy are those of a replica, times as many as there are now: else
        `waited_s`, a mean over replicas, would be of no shape.
        """
        for name in _TALLY_SUMS:
            setattr(self, name, state[name])
        self.busy_s *= self.replicas / len(state["done"])
        if len(state["done"]) == self.replicas:
            for name in TALLY_COUNTS:
                getattr(self, name)[...] = state[name]

    @property
    def waited_s(self) -> float:
        """Seconds of the passes in which a replica, on average, computed nothing."""
        return max(0.0, self.passes_s - self.busy_s / self.replicas)


def service(reports: Sequence[Record]) -> ServiceTotals:
    """Add up the last reports of all shards."""
    total = {name: sum(int(r[name]) for r in reports) for name in ("updates", "pieces", "staleness_sum")}
    refused = {name: sum(int(r[name]) for r in reports) for name in REFUSALS}
    return ServiceTotals(
        round(total["updates"] / max(total["pieces"], 1)),
        total["staleness_sum"] / max(total["updates"], 1),
        max((int(r["staleness_max"]) for r in reports), default=0),
        refused,
        sum(map(Revision.of, reports), Revision()),
    )


def histogram(report: Record) -> list[int]:
    """Return the staleness histogram without its trailing zeros."""
    counts = np.trim_zeros(np.asarray(report["histogram"]), "b")
    return [int(count) for count in counts]


def plain(value: object) -> object:
    """Return what JSON can hold: a float that is not finite becomes null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
