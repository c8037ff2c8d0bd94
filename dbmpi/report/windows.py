"""Records that follow one another closely, taken together: so a rate is one of more than a moment. Pure."""

from collections.abc import Sequence

import numpy as np

from dbmpi.arrays import Array
from dbmpi.logs.records import Records

WINDOWS = 200  # of the time of all records, at most
LEAST_S = 0.25  # of a window, where there are as many as this:
FEWEST = 25


class Windows:
    """Consecutive records of one job each, which together last at least a 200th of all.

    Parameters
    ----------
    records
        In the order of their times.

    Attributes
    ----------
    last
        The last record of each window, `(w,)`.
    """

    def __init__(self, records: Records) -> None:
        self._interval_s = np.nan_to_num(intervals(records))
        whole_s = float(self._interval_s.sum())
        width_s = max(whole_s / WINDOWS, min(LEAST_S, whole_s / FEWEST))
        self._starts = _starts(self._interval_s.tolist(), records.jobs.tolist(), width_s)
        stops = [*self._starts[1:], len(records)] if self._starts else []
        self.last = records.at([stop - 1 for stop in stops])

    def sum(self, values: Array) -> Array:
        """Return the sum over each window, `(w,)`, of a value of each record; what is unknown counts 0."""
        return np.add.reduceat(np.nan_to_num(values), self._starts) if self._starts else np.zeros(0)

    def mean(self, values: Array) -> Array:
        """Return the mean over the time of each window, `(w,)`, of a value of each record."""
        known_s = np.where(np.isfinite(values), self._interval_s, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.sum(np.nan_to_num(values) * known_s) / self.sum(known_s)


def intervals(records: Records) -> Array:
    """Return the seconds of each record, `(n,)`; not a number for the first of a later job of version 1."""
    told = records.column("interval_s")
    return np.where(np.isfinite(told), told, grown(records, "time_s"))


def grown(records: Records, field: str) -> Array:
    """Return how much a field has grown since the record before, `(n,)`; unknown where a job begins again."""
    if not len(records):
        return np.zeros(0)
    values, jobs = records.column(field), records.jobs
    same = np.concatenate([[jobs[0] == 0], jobs[1:] == jobs[:-1]])
    return np.where(same, values - np.concatenate([[0.0], values[:-1]]), np.nan)


def _starts(interval_s: Sequence[float], jobs: Sequence[int], width_s: float) -> list[int]:
    """Return where windows begin; what is left at the end of a job and short is in the one before."""
    starts, lasted_s = list[int](), np.inf
    for i, (seconds, job) in enumerate(zip(interval_s, jobs, strict=True)):
        begins = i == 0 or job != jobs[i - 1]
        if begins or lasted_s >= width_s:
            if begins:
                _join_short(starts, jobs, lasted_s, width_s)
            starts.append(i)
            lasted_s = 0.0
        lasted_s += seconds
    _join_short(starts, jobs, lasted_s, width_s)
    return starts


def _join_short(starts: list[int], jobs: Sequence[int], lasted_s: float, width_s: float) -> None:
    """Let the last window be part of the one before, where it is short and of the same job."""
    if len(starts) > 1 and lasted_s < width_s / 2 and jobs[starts[-1]] == jobs[starts[-2]]:
        starts.pop()
