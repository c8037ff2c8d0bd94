"""The log of a run: what it measures, as the records of metrics.jsonl and for whoever listens.

What records there are, and all their fields, stands in `output.schema`; docs/records.md shows it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from dbmpi.arrays import Record
from dbmpi.data.measures import Measures
from dbmpi.output.counts import RunCounts
from dbmpi.output.evaluation_sums import EvaluationSums
from dbmpi.output.goodput import NO_ROOM, Room
from dbmpi.output.interval import Every, Interval
from dbmpi.output.lines import LineFile
from dbmpi.output.progress import Progress
from dbmpi.output.replica_sums import recorded
from dbmpi.output.schema import VERSION
from dbmpi.output.totals import REFUSALS, TALLY_COUNTS, Revision, Tally, histogram, plain
from dbmpi.output.view import View
from dbmpi.screen import unshown

FREQUENT = "train", "replicas"  # kinds of which a few may be lost where the coordinator is killed
STEADY_S = 1.0  # over which shown figures are measured: those of a portion would jump


class Listener(Protocol):
    """Gets each record that is written."""

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Take a record. Raises nothing, and waits for nobody."""

    def close(self) -> None:
        """No more come."""


class MetricsLog(RunCounts):
    """Writes metrics.jsonl, shows progress, and adds up what the summary says.

    Parameters
    ----------
    path
        metrics.jsonl, appended to line by line.
    rows
        Examples in an epoch.
    labels
        Whether targets are labels, so that there is an accuracy.
    every
        When train records are written, or the seconds between two.
    progress
        What the user sees.
    born, room
        As `RunCounts`.
    measures
        What evaluations count beside the loss.
    answers
        As `EvaluationSums`.
    replicas_every_s
        Interval of the replicas records, in seconds.

    Attributes
    ----------
    listeners
        They get each record, and are closed with the log.
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
        every: Every | float,
        progress: Progress,
        born: float | None = None,
        room: Room = NO_ROOM,
        measures: Measures | None = None,
        answers: int = 0,
        replicas_every_s: float = math.inf,
    ) -> None:
        super().__init__(EvaluationSums(labels=labels, answers=answers), born, room)
        self.measures, self.listeners = measures, list[Listener]()
        self._rows, self._progress, self._replicas_every_s = rows, progress, replicas_every_s
        self._every = every if isinstance(every, Every) else Every(every)
        self._file = LineFile(path, lambda text: self.say(f"warning: {text}"))
        self._interval, self._unseen = Interval(self.empty), self.empty  # since the user was shown any
        self._replicas_since_s = self._seen_s = 0.0
        self.final_evaluation = self.empty
        self.watched = "test"
        self.tested: EvaluationSums | None = None
        self._new_reports: dict[int, Record] = {}
        self._served: dict[int, tuple[float, float]] = {}  # by shard: when it last reported, and its busy_s
        self.batch: dict[str, Any] = {}
        self._told: tuple[float, float, float] | None = None  # loss, accuracy and rate that were shown last
        self._staleness: float | None = None  # of the last record
        self.unshown: list[str] = []

    def start(self, now: float) -> None:
        """Training begins."""
        super().start(now)
        self._interval.since_s = self._seen_s = self._replicas_since_s = self.elapsed_s

    def train(self, reports: Sequence[Record]) -> None:
        """See `RunCounts`."""
        super().train(reports)
        self._interval.add(reports)

    def tick(self, now: float) -> None:
        """Write the train record if it is due."""
        self._now = now
        self.note_unshown(unshown(waiting=False))
        if self._every.due(self.elapsed_s - self._interval.since_s, self._interval.examples):
            self._write_interval()
        if self.elapsed_s - self._replicas_since_s >= self._replicas_every_s:
            self._write_replicas()
        self._show_learning()

    def end_training(self, now: float) -> None:
        """The last portion is done: write what is left of the train records."""
        self._now = self.ended = now
        if self._interval.examples:
            self._write_interval()
        self._write_replicas()

    def hear(self, report: Record, name: str) -> None:
        """Take in whether the output of another rank lacks something, as its report says."""
        if report["unshown"]:
            self.note_unshown([f"output of {name}: it lacks some lines"])

    def note_unshown(self, texts: Sequence[str]) -> None:
        """Record, once of each, that an output cannot show all that it should: `standard output: why`."""
        for text in texts:
            if text not in self.unshown:
                self.unshown.append(text)
                self.record("event", text=f"not everything could be shown: {text}", about="output")

    def _write_interval(self) -> None:
        now_s = self.elapsed_s
        fields = self._interval.recorded(now_s, self.examples / self._rows)
        self.record("train", **fields)
        self._unseen += self._interval.learned
        self._staleness = fields["staleness_mean"]
        self._interval = Interval(self.empty, now_s)

    def _write_replicas(self) -> None:
        """Record what replicas have done since the last time, if anything."""
        since_s, self._replicas_since_s = self._replicas_since_s, self.elapsed_s
        done = self.take_replicas()
        if done:
            self.record("replicas", interval_s=self.elapsed_s - since_s, **recorded(done, self.left))

    def _show_learning(self) -> None:
        """Show what was recorded last over `STEADY_S`, or the first figures there are, if it is time."""
        now_s, learned = self.elapsed_s, self._unseen
        if now_s < self._progress.next_s:
            return
        due = bool(learned.rows) and now_s - self._seen_s >= STEADY_S
        if self._told is None and not due:
            learned += self._interval.learned
        if due or (self._told is None and learned.rows):
            self._told = learned.loss, learned.accuracy, learned.rows / max(now_s - self._seen_s, 1e-9)
        if due:
            self._unseen, self._seen_s = self.empty, now_s
        if self._told is not None:
            self._show(*self._told, math.nan if self._staleness is None else self._staleness)

    def _show(self, loss: float, accuracy: float, rate: float, staleness: float = math.nan) -> None:
        if self.elapsed_s < self._progress.next_s:
            return
        now_s, counts, tested = self.elapsed_s, (self.step, self.examples), self.last_evaluation
        of_test, run = (tested.loss, tested.accuracy), (self.iterations, self.watched)
        since_s = self._elapsed_before_s
        self._progress.show(View(now_s, *counts, loss, accuracy, *of_test, rate, *run, staleness, since_s))

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
            interval_busy=self._interval_busy(report),
            **({"staleness_histogram": histogram(report)} if report["last"] else {}),
        )

    def _interval_busy(self, report: Record) -> float | None:
        """Return the share of the time since a shard's last record in which it served; None of no time."""
        shard, now = int(report["shard"]), (self._now, float(report["busy_s"]))
        since_s, busy_s = self._served.get(shard, (self.job_started, 0.0))
        self._served[shard] = now
        return min(1.0, (now[1] - busy_s) / (now[0] - since_s)) if now[0] > since_s else None

    def take_reports(self) -> dict[int, Record]:
        """Return the shards' reports that have come since the last call, by shard."""
        new, self._new_reports = self._new_reports, {}
        return new

    def event(self, text: str, about: str = "other", **values: object) -> None:
        """Record something that happened, one of `schema.ABOUT`, and show it."""
        self.record("event", text=text, about=about, **values)
        self.say(text)

    def silence(self, text: str) -> None:
        """Record that a rank is silent, and show it."""
        self.event(text, about="silence")

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
        of_run = {"schema": VERSION, "replicas": self.room.replicas} if began else {}
        wall_s, at = round(self.job_s, 4), datetime.now(UTC).isoformat(timespec="milliseconds")
        self.record("job", began=began, partitions=self.room.partitions, wall_s=wall_s, at=at, **of_run)

    def record(self, kind: str, **values: object) -> None:
        """Write one record."""
        now = round(self.elapsed_s, 4)
        base = {"kind": kind, "time_s": now, "step": self.step, "examples": self.examples}
        content = base | {name: plain(value) for name, value in values.items()}
        self._file.write(json.dumps(content) + "\n", soon=kind not in FREQUENT)
        for listener in self.listeners:
            listener(content)

    def close(self) -> None:
        """Close the file, and leave the terminal as it was."""
        self._progress.close()
        self.note_unshown(unshown(waiting=False))
        self._file.close()
        for listener in self.listeners:
            listener.close()
