"""What a run has counted, and how long it took, over all its jobs: for its summary and its checkpoints."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from dbmpi.arrays import Record
from dbmpi.output.evaluation_sums import EvaluationSums
from dbmpi.output.goodput import NO_ROOM, Fate, Room
from dbmpi.output.partition_time import PartitionTime
from dbmpi.output.portions import Portions, Waiting, table
from dbmpi.output.replica_sums import NOTHING, ReplicaSums, by_replica, together
from dbmpi.output.totals import LogState, ServiceTotals, service

_COUNTS = (
    "step", "examples", "iterations", "passes",
    "rows_again", "rows_lost", "updates_lost", "examples_dropped", "discarded_s",
)  # fmt: skip


@dataclass
class _Reported:
    """Sums of the reports of portions."""

    boundary_messages: int = 0
    boundary_bytes: int = 0
    time: PartitionTime = field(default_factory=PartitionTime)

    def add(self, portions: Portions) -> None:
        """Add portions."""
        reports = portions.reports
        self.boundary_messages += int(reports["boundary_messages"].sum())
        self.boundary_bytes += int(reports["boundary_bytes"].sum())
        self.time += PartitionTime.of(reports)


class RunCounts:
    """Adds up what replicas and shards report.

    Parameters
    ----------
    empty
        Sums over no rows yet.
    born
        When the program was started, `time.monotonic`; None: now.
    room
        The replicas and partitions there are.

    Attributes
    ----------
    shards
        The last report of each shard.
    left
        Replicas that are left out: they have died, or were silent.
    """

    def __init__(self, empty: EvaluationSums, born: float | None = None, room: Room = NO_ROOM) -> None:
        self._born = time.monotonic() if born is None else born
        self.empty, self.room = empty, room
        self.job_started = self.started = self.ended = self._now = 0.0
        self._before, self._elapsed_before_s, self._wall_before_s = ServiceTotals(), 0.0, 0.0
        self.step = self.examples = 0
        self._waiting, self._reported = Waiting(), _Reported()
        self._replicas_before: tuple[ReplicaSums, ...] = ()
        self._replicas: dict[int, ReplicaSums] = {}  # since they were taken
        self.left: set[int] = set()
        self.last_evaluation = empty
        self.shards: dict[int, Record] = {}
        self.iterations = self.passes = 0
        self.rows_again = self.rows_lost = self.updates_lost = self.examples_dropped = 0
        self.discarded_s = 0.0

    # -- the clock -----------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Training begins."""
        self.job_started = self.ended = self._now = now
        self.started = now - self._elapsed_before_s

    def at(self, now: float) -> None:
        """Set the time of the records that follow."""
        self._now = now

    @property
    def elapsed_s(self) -> float:
        """Seconds since training began."""
        return self._now - self.started

    @property
    def wall_s(self) -> float:
        """Seconds since the program was started, and of earlier jobs of the run."""
        return self._wall_before_s + self.job_s

    @property
    def job_s(self) -> float:
        """Seconds since the program was started."""
        return time.monotonic() - self._born

    @property
    def available_s(self) -> float:
        """Seconds of all partitions together, of all jobs of the run. See `goodput`."""
        return self.room.available_s(self.job_s)

    @property
    def train_s(self) -> float:
        """Seconds from the start to the end of training."""
        return self.ended - self.started

    # -- what is added up ----------------------------------------------------------------------------------

    def train(self, reports: Sequence[Record]) -> None:
        """Add the reports of one portion, one from each partition."""
        self.step += int(reports[0]["steps"])
        self.examples += int(reports[0]["examples"])
        self.examples_dropped += max(int(report["dropped"]) for report in reports)
        if self._waiting.add(reports):
            self.add_up()

    def add_up(self) -> None:
        """Add up the portions that wait for it."""
        portions = self._waiting.take()
        if portions is None:
            return
        self._reported.add(portions)
        for replica, sums in by_replica(portions).items():
            self._replicas[replica] = self._of(replica) + sums

    def _of(self, replica: int) -> ReplicaSums:
        return self._replicas.get(replica, NOTHING)

    @property
    def _sums(self) -> _Reported:
        self.add_up()
        return self._reported

    @property
    def partition_time(self) -> PartitionTime:
        """Seconds of the ranks of all replicas."""
        return self._sums.time

    @property
    def boundary_messages(self) -> int:
        """Sent between partitions."""
        return self._sums.boundary_messages

    @property
    def boundary_bytes(self) -> int:
        """Sent between partitions."""
        return self._sums.boundary_bytes

    @property
    def replicas(self) -> tuple[ReplicaSums, ...]:
        """What each replica has done."""
        self.add_up()
        return together(self._replicas_before, self._replicas_since)

    @property
    def _replicas_since(self) -> list[ReplicaSums]:
        return [self._of(replica) for replica in range(max([self.room.replicas - 1, *self._replicas]) + 1)]

    def take_replicas(self) -> list[ReplicaSums]:
        """Return what each replica has done since the last call; nothing where none has done anything."""
        self.add_up()
        since = self._replicas_since if self._replicas else []
        self._replicas_before, self._replicas = self.replicas, {}
        return since

    def leave_out(self, replica: int) -> None:
        """A replica has died, or is silent: nothing comes from it any more."""
        self.left.add(replica)

    def discard(self, reports: Sequence[Record]) -> None:
        """Portions that were counted count for nothing: their sum was not used."""
        self.discarded_s += PartitionTime.of(table(reports)).computed_s

    def learned(self, minibatches: int, examples: int) -> None:
        """Add a portion whose reports are gone: those that went to a coordinator that died."""
        self.step += minibatches
        self.examples += examples

    def reset_updates(self, shard: int) -> None:
        """A shard has died: its successor reports the updates of its pieces from now on."""
        if shard in self.shards:
            for name in ("updates", "pieces", "recent", "recent_not_finite"):
                self.shards[shard][name] = 0

    def lose_updates(self, lost: int) -> None:
        """A shard has taken so many updates of the model with it."""
        self.updates_lost += lost

    @property
    def service(self) -> ServiceTotals:
        """What the shards have counted, in earlier jobs too."""
        return self._before + service(list(self.shards.values()))

    @property
    def applied_s(self) -> float:
        """Seconds of all partitions together in which they computed gradients that were applied."""
        pieces = max(1, sum(int(report["pieces"]) for report in self.shards.values()))
        service = self.service
        lost = self.updates_lost + sum(service.refused.values()) / pieces
        examples_lost = self.rows_lost + self.examples_dropped
        fate = Fate(self.examples, examples_lost, service.updates, lost)
        return max(0.0, self.partition_time.computed_s - self.discarded_s) * fate.applied

    # -- checkpoints ---------------------------------------------------------------------------------------

    def state(self) -> LogState:
        """Return what the records and the summary have added up, for `restore`."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(LogState)}
        return LogState(**values | {"last_evaluation": replace(self.last_evaluation, figures=())})

    def restore(self, state: LogState) -> None:
        """Go on from `state`, before `start`."""
        for name in _COUNTS:
            setattr(self, name, getattr(state, name))
        self._reported = _Reported(state.boundary_messages, state.boundary_bytes, state.partition_time)
        self.last_evaluation, self._before = state.last_evaluation, state.service
        self._replicas_before = tuple(state.replicas)
        self._elapsed_before_s, self._wall_before_s = state.elapsed_s, state.wall_s
        self.room = self.room.after(state.wall_s)
