"""Sums of what replicas and shards report, and of what they have done for a batch method. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Record
from dbmpi.output.evaluation_sums import EvaluationSums
from dbmpi.output.partition_time import PartitionTime
from dbmpi.output.replica_sums import ReplicaSums

REFUSALS = ("stale", "not_finite", "too_large")
TALLY_COUNTS = ("done", "won", "lost")
_TALLY_SUMS = ("copies", "copies_used", "passes_s", "busy_s")


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
class LogState:
    """What the records and the summary of a run have added up, for a checkpoint.

    `rows_again` counts the examples that were handed out a second time in an epoch, as who had them or gave
    them out died: the model may have learned from them twice. `rows_lost` counts those from which it may not
    have learned, as the gradient was accrued, or on its way, where a replica died. `updates_lost` counts,
    about, the updates of the model that shards have taken with them; `examples_dropped` those from which a
    replica learned too late for their round (`downpour.backups`). `discarded_s` are seconds in which
    partitions computed for passes over the batch that did not come to their end. `replicas` says what each
    one has done: the one of this number in each job.
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
    replicas: Sequence[ReplicaSums] = ()


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
    """Return what JSON can hold: a float that is not finite becomes null, within lists and tables too."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return value
