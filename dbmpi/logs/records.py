"""The records of a metrics.jsonl, as they lie there. Pure.

Each record belongs to a job of the run. Where a job ended without a checkpoint the next one does its last
part again: what was recorded of that part is *superseded*. Time is `time_s`, which goes on over the jobs of
a run, or *life*: the seconds of all jobs so far, from their launches on, superseded or not.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Fields = dict[str, Any]  # one record, as JSON has it
LARGEST = 2.0**53  # of whole numbers: beyond, floats have gaps
_PLAIN = {float, int, type(None)}


@dataclass(frozen=True)
class Job:
    """One job of a run.

    Parameters
    ----------
    began
        Its first record; empty where it has none, as in runs of version 0.1.0.
    first_s, last_s
        The `time_s` of its first record, and of its last.
    life_s
        Seconds of earlier jobs, from the launch of each to its last record.
    ended
        Whether it has recorded its own end.
    """

    began: Fields
    first_s: float
    last_s: float
    life_s: float
    ended: bool

    @property
    def start_s(self) -> float:
        """Seconds from its launch to the begin of its training."""
        return number(self.began.get("wall_s"), 0.0)

    def life(self, time_s: float) -> float:
        """Return the seconds of the run's whole life at a `time_s` of this job."""
        return self.life_s + self.start_s + time_s - self.first_s


@dataclass(frozen=True)
class Records:
    """The records of one kind, in the order of the file.

    Parameters
    ----------
    rows
        As JSON has them.
    jobs : (n,)
        Index of the job of each.
    superseded : (n,)
        Whether a later job has done that part again.
    life_s : (n,)
        When it was, in seconds of the run's whole life.
    """

    rows: Sequence[Fields] = ()
    jobs: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    superseded: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    life_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    _columns: dict[str, NDArray[np.float64]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> NDArray[np.float64]:
        """Return a field of all, `(n,)`, read-only; not a number where there is none, or null, or text."""
        if name not in self._columns:
            found = numbers([row.get(name) for row in self.rows])
            found.flags.writeable = False  # it is given to everybody who asks
            self._columns[name] = found
        return self._columns[name]

    def only(self, keep: Callable[[Fields], bool]) -> "Records":
        """Return those for which `keep` holds."""
        return self.at([i for i, row in enumerate(self.rows) if keep(row)])

    @cached_property
    def valid(self) -> "Records":
        """Those that are not superseded."""
        if not self.superseded.any():
            return self
        return self.at(np.flatnonzero(~self.superseded).tolist())

    @cached_property
    def done_again(self) -> "Records":
        """Those that are superseded."""
        return self.at(np.flatnonzero(self.superseded).tolist())

    def at(self, indices: Sequence[int]) -> "Records":
        """Return those at some indices."""
        taken = np.array(indices, np.int64)
        rows = [self.rows[i] for i in indices]
        return Records(rows, self.jobs[taken], self.superseded[taken], self.life_s[taken])


@dataclass(frozen=True)
class RecordFile:
    """All records of a run: by kind, its jobs, and how many lines are no record (`broken`)."""

    kinds: dict[str, Records]
    jobs: list[Job]
    broken: int = 0


def number(value: object, other: float = np.nan) -> float:
    """Return a number of a record; `other` where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return other
    try:
        return float(value)
    except OverflowError:
        return other


def whole(value: object, other: int = -1) -> int:
    """Return a number of a record as a whole one; `other` where it is none, or none that counts anything."""
    found = number(value)
    return int(found) if abs(found) < LARGEST else other


def numbers(values: Sequence[object]) -> NDArray[np.float64]:
    """Return `number` of each value, `(n,)`."""
    if set(map(type, values)) <= _PLAIN:
        with suppress(OverflowError):
            return np.array(values, np.float64)  # None becomes not a number
    return np.array([number(one) for one in values], np.float64)


def parse(lines: Iterable[str]) -> RecordFile:
    """Read the lines of a metrics.jsonl; what is no record, as the half line of a killed job, is counted."""
    rows, broken = list[Fields](), 0
    for line in lines:
        row = _row(line)
        if row is not None:
            rows.append(row)
        elif line.strip():
            broken += 1
    starts = _starts(rows)
    jobs = _jobs(rows, starts)
    return RecordFile(_by_kind(rows, starts, jobs), jobs, broken)


def _row(line: str) -> Fields | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        return None
    return found if np.isfinite(number(found.get("time_s"))) else None


def _starts(rows: Sequence[Fields]) -> list[int]:
    """Return the index of the first record of each job, and the number of all at the end.

    Before there were records of jobs, a job begins where time goes back.
    """
    starts = [0]
    for i, (row, after) in enumerate(pairwise(rows), 1):
        told = after["kind"] == "job" and after.get("began") is True
        untold = after["time_s"] < row["time_s"] and not any(one["kind"] == "job" for one in rows[:1])
        if told or untold:
            starts.append(i)
    return [*starts, len(rows)]


def _jobs(rows: Sequence[Fields], starts: Sequence[int]) -> list[Job]:
    jobs, life_s = list[Job](), 0.0
    for first, stop in pairwise(starts):
        if first == stop:
            continue
        begin, last = rows[first], rows[stop - 1]
        told = begin if begin["kind"] == "job" else {}
        ended = last["kind"] == "job" and last.get("began") is False
        job = Job(told, float(begin["time_s"]), float(last["time_s"]), life_s, ended)
        jobs.append(job)
        life_s = job.life(job.last_s)
    return jobs


def _by_kind(rows: Sequence[Fields], starts: Sequence[int], jobs: Sequence[Job]) -> dict[str, Records]:
    """Sort records by kind, each with its job."""
    at = np.array([float(row["time_s"]) for row in rows])
    of_job = np.repeat(np.arange(len(jobs)), np.diff(starts)[: len(jobs)])
    goes_on = [min((later.first_s for later in jobs[i + 1 :]), default=np.inf) for i in range(len(jobs))]
    superseded = at > np.array(goes_on)[of_job] if rows else np.zeros(0, np.bool_)
    life_s = np.array(
        [jobs[job].life(time_s) for job, time_s in zip(of_job.tolist(), at.tolist(), strict=True)]
    )
    kinds = dict[str, list[int]]()
    for i, row in enumerate(rows):
        kinds.setdefault(row["kind"], []).append(i)
    whole = Records(rows, of_job, superseded, life_s)
    return {kind: whole.at(indices) for kind, indices in kinds.items()}
