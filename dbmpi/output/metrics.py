"""What a run measures: the records of metrics.jsonl, and the sums behind the summary.

Every record is one line of JSON with `kind`, `time_s` (since training began), `step` and `examples`
(minibatches and examples reported so far, all replicas together), and:

    train   loss, accuracy (null for float targets; of several labels, that of single answers),
            examples_per_s, epoch, wait_share, and waits (share of a partition's time, by cause:
            `comm.wait.Cause`): since the last one
    eval    loss, accuracy, rows, final, and what else is measured of such targets (`data.measures`); where
            there are validation rows also split: "validation" or "test"
    shard   shard, updates, fetches, refused, staleness_mean, staleness_max, clients, busy_s, bytes; the last
            one staleness_histogram; where the rule revises, revised_share (of the steps, how much was taken
            back later) and versions_unknown (updates for which nothing could be)
    event   text; of the death of a shard also: shard, heir, mirror_age_s, updates_lost (of the model, about)
    checkpoint  number, bytes, stall_s (in which training stood still), write_s (in the background), score
    job     began (true: training begins; false: the job ends in order), partitions (of all replicas), wall_s
            (since the job was launched): for goodput

and with Sandblaster:

    iteration  iteration (0: the start), loss (of the batch, with the penalty), gradient_norm, step_length,
               evaluations (passes), restarted, examples_per_s (in passes), passes_s, commands_s,
               bookkeeping_s (seconds since the last one: in passes, in vector operations, of the
               coordinator's own), waited_s (of passes_s: in which a replica, on average, computed nothing)
    replica    replica, done, won, lost: portions, at the end
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dbmpi.arrays import Record
from dbmpi.data.measures import Measures
from dbmpi.output.goodput import NO_ROOM, Fate, Room
from dbmpi.output.lines import LineFile
from dbmpi.output.progress import Progress
from dbmpi.output.totals import (
    REFUSALS,
    TALLY_COUNTS,
    EvaluationSums,
    LogState,
    PartitionTime,
    Revision,
    ServiceTotals,
    Tally,
    histogram,
    plain,
    service,
)
from dbmpi.output.view import View
from dbmpi.screen import unshown

_COUNTS = (
    "step", "examples", "boundary_messages", "boundary_bytes", "iterations", "passes",
    "rows_again", "rows_lost", "updates_lost", "examples_dropped", "discarded_s",
)  # fmt: skip


@dataclass
class _Interval:
    """What was learned since the last train record."""

    since_s: float = 0.0
    sums: EvaluationSums = field(default_factory=EvaluationSums)
    time: PartitionTime = field(default_factory=PartitionTime)

    def figures(self, now: float) -> tuple[float, float, float]:
        """Return loss, accuracy and examples a second up to `now`."""
        return self.sums.loss, self.sums.accuracy, self.sums.rows / max(now - self.since_s, 1e-9)


class MetricsLog:
    """Writes metrics.jsonl, shows progress, and adds up what the summary says.

    Parameters
    ----------
    path
        metrics.jsonl, appended to line by line.
    rows
        Examples in an epoch.
    labels
        Whether targets are labels, so that there is an accuracy.
    every_s
        Interval of the train records, in seconds.
    progress
        What the user sees.
    born
        When the program was started, `time.monotonic`.
    room
        The partitions there are, for goodput.
    measures
        What evaluations count beside the loss.
    answers
        As `EvaluationSums`.

    Attributes
    ----------
    empty
        Sums over no rows yet.
    unshown
        What of this run's output could not be shown, and why.
    watched
        The split that evaluations are of: "test", or "validation".
    tested
        The result of the model on the test set, where evaluations are not that.
    """

    def __init__(
        self,
        path: Path,
        rows: int,
        labels: bool,
        every_s: float,
        progress: Progress,
        born: float | None = None,
        room: Room = NO_ROOM,
        measures: Measures | None = None,
        answers: int = 0,
    ) -> None:
        self._born = time.monotonic() if born is None else born
        self._rows, self._every_s, self._progress, self._room = rows, every_s, progress, room
        self._file = LineFile(path, lambda text: self.say(f"warning: {text}"))
        self.empty, self.measures = EvaluationSums(labels=labels, answers=answers), measures
        self._interval = _Interval(sums=self.empty)
        self.job_started = self.started = self.ended = self._now = 0.0
        self._before, self._elapsed_before_s, self._wall_before_s = ServiceTotals(), 0.0, 0.0
        self.step = self.examples = 0
        self.boundary_messages = self.boundary_bytes = 0
        self.partition_time = PartitionTime()
        self.last_evaluation, self.final_evaluation = self.empty, self.empty
        self.watched = "test"
        self.tested: EvaluationSums | None = None
        self.shards: dict[int, Record] = {}
        self._new_reports: dict[int, Record] = {}
        self.iterations = self.passes = 0
        self.rows_again = self.rows_lost = self.updates_lost = self.examples_dropped = 0
        self.discarded_s = 0.0
        self.batch: dict[str, Any] = {}
        self._told: tuple[float, float, float] | None = None  # loss, accuracy and rate of the last record
        self.unshown: list[str] = []

    def start(self, now: float) -> None:
        """Training begins."""
        self.job_started = self.ended = self._now = now
        self.started = now - self._elapsed_before_s
        self._interval.since_s = self.elapsed_s

    def state(self) -> LogState:
        """Return what the records and the summary have added up, for `restore`."""
        values = {field.name: getattr(self, field.name) for field in fields(LogState)}
        return LogState(**values | {"last_evaluation": replace(self.last_evaluation, figures=())})

    def restore(self, state: LogState) -> None:
        """Go on from `state`, before `start`."""
        for name in _COUNTS:
            setattr(self, name, getattr(state, name))
        self.last_evaluation, self._before = state.last_evaluation, state.service
        self.partition_time = state.partition_time
        self._elapsed_before_s, self._wall_before_s = state.elapsed_s, state.wall_s
        self._room = self._room.after(state.wall_s)

    @property
    def service(self) -> ServiceTotals:
        """What the shards have counted, in earlier jobs too."""
        return self._before + service(list(self.shards.values()))

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
        return self._wall_before_s + time.monotonic() - self._born

    @property
    def available_s(self) -> float:
        """Seconds of all partitions together, of all jobs of the run. See `goodput`."""
        return self._room.available_s(time.monotonic() - self._born)

    @property
    def applied_s(self) -> float:
        """Seconds of all partitions together in which they computed gradients that were applied."""
        pieces = max(1, sum(int(report["pieces"]) for report in self.shards.values()))
        service = self.service
        lost = self.updates_lost + sum(service.refused.values()) / pieces
        examples_lost = self.rows_lost + self.examples_dropped
        fate = Fate(self.examples, examples_lost, service.updates, lost)
        return max(0.0, self.partition_time.computed_s - self.discarded_s) * fate.applied

    @property
    def train_s(self) -> float:
        """Seconds from the start to the end of training."""
        return self.ended - self.started

    def train(self, reports: Sequence[Record]) -> None:
        """Add the reports of one portion, one from each partition."""
        portion = self.empty.add(reports)
        self._interval.sums = self._interval.sums.add(reports)
        spent = PartitionTime.of(reports)
        self._interval.time += spent
        self.partition_time += spent
        self.step += int(reports[0]["steps"])
        self.examples += portion.rows
        self.examples_dropped += max(int(r["dropped"]) for r in reports)
        self.boundary_messages += sum(int(r["boundary_messages"]) for r in reports)
        self.boundary_bytes += sum(int(r["boundary_bytes"]) for r in reports)

    def discard(self, reports: Sequence[Record]) -> None:
        """Portions that `train` has added count for nothing: their sum was not used."""
        self.discarded_s += PartitionTime.of(reports).computed_s if reports else 0.0

    def learned(self, minibatches: int, examples: int) -> None:
        """Add a portion whose reports are gone: those that went to a coordinator that died."""
        self.step += minibatches
        self.examples += examples

    def tick(self, now: float) -> None:
        """Write the train record if it is due."""
        self._now = now
        self.note_unshown(unshown(waiting=False))
        if self.elapsed_s - self._interval.since_s >= self._every_s and self._interval.sums.rows:
            self._write_interval()
        elif self.elapsed_s >= self._progress.next_s and (self._told or self._interval.sums.rows):
            self._show_moment(*(self._told or self._interval.figures(self.elapsed_s)))

    def end_training(self, now: float) -> None:
        """The last portion is done: write what is left of the train records."""
        self._now = self.ended = now
        if self._interval.sums.rows:
            self._write_interval()

    def hear(self, report: Record, name: str) -> None:
        """Take in whether the output of another rank lacks something, as its report says."""
        if report["unshown"]:
            self.note_unshown([f"output of {name}: it lacks some lines"])

    def note_unshown(self, texts: Sequence[str]) -> None:
        """Record, once of each, that an output cannot show all that it should: `standard output: why`."""
        for text in texts:
            if text not in self.unshown:
                self.unshown.append(text)
                self.record("event", text=f"not everything could be shown: {text}")

    def _write_interval(self) -> None:
        part, now = self._interval, self.elapsed_s
        loss, accuracy, rate = part.figures(now)
        self.record(
            "train",
            loss=loss,
            accuracy=accuracy,
            examples_per_s=rate,
            epoch=self.examples / self._rows,
            wait_share=part.time.wait_share,
            waits=part.time.shares,
        )
        self._interval = _Interval(now, self.empty)
        self._show(loss, accuracy, rate)

    def _show(self, loss: float, accuracy: float, rate: float) -> None:
        first, self._told = self._told is None, (loss, accuracy, rate)
        if first or self.elapsed_s >= self._progress.next_s:
            self._show_moment(loss, accuracy, rate)

    def _show_moment(self, loss: float, accuracy: float, rate: float) -> None:
        now, seen = self.elapsed_s, self.last_evaluation
        counts, test = (self.step, self.examples), (seen.loss, seen.accuracy)
        held_out, since_s = self.watched, self._elapsed_before_s
        view = View(now, *counts, loss, accuracy, *test, rate, self.iterations, held_out, since_s=since_s)
        self._progress.show(view)

    def evaluation(self, result: EvaluationSums, final: bool = False) -> None:
        """Record a result on the held-out set."""
        self.last_evaluation = result
        self._record_evaluation(result, final, self.watched)

    def _record_evaluation(self, result: EvaluationSums, final: bool, split: str) -> None:
        basis = {"loss": result.loss, "accuracy": result.accuracy, "rows": result.rows, "final": final}
        of_split = {"split": split} if self.watched != "test" else {}
        self.record("eval", **basis, **self.measured(result), **of_split)

    def test(self, result: EvaluationSums) -> None:
        """Record the one look at the test set: the result of the model that leaves."""
        self.tested = result
        self._record_evaluation(result, True, "test")

    def measured(self, result: EvaluationSums) -> dict[str, Any]:
        """Return what else is measured of a result, by name."""
        return self.measures.shown(result.figures, result.rows) if self.measures is not None else {}

    def final(self, result: EvaluationSums) -> None:
        """Record the result on the final parameters."""
        self.final_evaluation = result
        self.evaluation(result, final=True)

    def shard(self, report: Record) -> None:
        """Record a `SHARD_REPORT`; the last one of each shard counts."""
        self.shards[int(report["shard"])] = self._new_reports[int(report["shard"])] = report
        updates = int(report["updates"])
        self.record(
            "shard",
            shard=int(report["shard"]),
            updates=updates,
            fetches=int(report["fetches"]),
            refused={name: int(report[name]) for name in REFUSALS},
            staleness_mean=int(report["staleness_sum"]) / updates if updates else 0.0,
            staleness_max=int(report["staleness_max"]),
            **Revision.of(report).shown(),
            clients=int(report["clients"]),
            busy_s=float(report["busy_s"]),
            bytes_in=int(report["bytes_in"]),
            bytes_out=int(report["bytes_out"]),
            **({"staleness_histogram": histogram(report)} if report["last"] else {}),
        )

    def take_reports(self) -> dict[int, Record]:
        """Return the shards' reports that have come since the last call, by shard."""
        new, self._new_reports = self._new_reports, {}
        return new

    def reset_updates(self, shard: int) -> None:
        """A shard has died: its successor reports the updates of its pieces from now on."""
        if shard in self.shards:
            for name in ("updates", "pieces", "recent", "recent_not_finite"):
                self.shards[shard][name] = 0

    def lose_updates(self, lost: int) -> None:
        """A shard has taken so many updates of the model with it."""
        self.updates_lost += lost

    def event(self, text: str, **values: object) -> None:
        """Record something that happened, and show it."""
        self.record("event", text=text, **values)
        self.say(text)

    def say(self, text: str) -> None:
        """Show a line that stays."""
        self._progress.line(text)

    def iteration(self, moment: Mapping[str, Any]) -> None:
        """Record an iteration of a batch method, and show it."""
        self.record("iteration", **moment)
        self.iterations = int(moment["iteration"])
        self.passes += int(moment["evaluations"])
        self._show(float(moment["loss"]), math.nan, float(moment["examples_per_s"]))

    def sandblaster(self, tally: Tally, commands_s: float) -> None:
        """Record what replicas and shards have done for a batch method, once it has ended."""
        for replica in range(tally.replicas):
            counts = {name: int(getattr(tally, name)[replica]) for name in TALLY_COUNTS}
            self.record("replica", replica=replica, **counts)
        self.batch = {
            "iterations": self.iterations,
            "passes": self.passes,
            "passes_s": tally.passes_s,
            "waited_s": tally.waited_s,
            "commands_s": commands_s,
            "copies": tally.copies,
            "copies_used": tally.copies_used,
        }

    def job(self, began: bool) -> None:
        """Record that training begins, or that the job ends in order. See `goodput`."""
        wall_s = round(time.monotonic() - self._born, 4)
        self.record("job", began=began, partitions=self._room.partitions, wall_s=wall_s)

    def record(self, kind: str, **values: object) -> None:
        """Write one record."""
        now = round(self.elapsed_s, 4)
        base = {"kind": kind, "time_s": now, "step": self.step, "examples": self.examples}
        content = base | {name: plain(value) for name, value in values.items()}
        self._file.write(json.dumps(content) + "\n")

    def close(self) -> None:
        """Close the file, and leave the terminal as it was."""
        self._progress.close()
        self.note_unshown(unshown(waiting=False))
        self._file.close()
