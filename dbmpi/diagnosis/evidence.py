"""What a run is judged by: which of its records count, and what its processes were. Pure.

What a run did is judged by its last job: earlier ones may have had other ranks. Of a job that has not
recorded its end only the last minutes count, as they tell what is the matter now; the loss is judged by all
jobs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.logs.records import Job, Records, number
from dbmpi.logs.run import RunLog

NOW_S = 600.0  # of a job under way: long enough for means, short enough for what has changed in a long run
LEAST_S = 1.0  # of training, before shares of time are judged: the first minibatches meet cold caches
LEAST_MINIBATCHES = 20  # of each replica, for the same reason
SHORT_STEP_S = 2e-3  # of a minibatch: messages, some 0.1 ms each, and wakings are a natural part of it
ROLE = re.compile(r"replica (\d+)(?: partition (\d+))?")


def total(values: object) -> float:
    """Return the sum of a list of a record, without null; 0 where it is none."""
    return sum(number(value, 0.0) for value in values) if isinstance(values, list) else 0.0


@dataclass(frozen=True)
class Evidence:
    """What is known of a run.

    Parameters
    ----------
    run
        What it has left.
    """

    run: RunLog

    @cached_property
    def job(self) -> Job | None:
        """The last job; None where nothing is recorded."""
        return self.run.jobs[-1] if self.run.jobs else None

    @property
    def summary(self) -> Mapping[str, Any]:
        """summary.json where it is of the last job, else nothing."""
        return self.run.result

    @property
    def algorithm(self) -> str:
        """`train.algorithm`: "downpour", "sync" or "sandblaster"."""
        return self.run.config.train.algorithm if self.run.config is not None else "downpour"

    @cached_property
    def roles(self) -> list[Mapping[str, Any]]:
        """The ranks of run.json."""
        ranks = self.run.described.get("ranks")
        return [one for one in ranks if isinstance(one, dict)] if isinstance(ranks, list) else []

    @cached_property
    def replicas(self) -> int:
        """Replicas of the last job; 1 where it is not known."""
        found = {match[1] for one in self.roles if (match := ROLE.match(str(one.get("role"))))}
        return max(1, len(found))

    @cached_property
    def clients(self) -> int:
        """Partitions of all replicas together; 1 where it is not known."""
        return max(1, sum(bool(ROLE.match(str(one.get("role")))) for one in self.roles))

    @property
    def partitions(self) -> int:
        """Partitions of a replica."""
        return max(1, self.clients // self.replicas)

    @property
    def shares_parameters(self) -> bool:
        """Whether there are shards of their own: a single process has none."""
        return any(str(one.get("role")).startswith("shard") for one in self.roles)

    def judged(self, kind: str) -> Records:
        """Return the records of a kind that are judged: of the last job, or of its last minutes."""
        records, job = self.run.records(kind), self.job
        if job is None or not len(records):
            return records
        since = job.first_s if job.ended or self.summary else max(job.first_s, job.last_s - NOW_S)
        inside = (records.jobs == len(self.run.jobs) - 1) & (records.column("time_s") >= since)
        return records.at(np.flatnonzero(inside).tolist())

    @cached_property
    def train(self) -> Records:
        """The judged train records."""
        return self.judged("train")

    @cached_property
    def intervals_s(self) -> NDArray[np.float64]:
        """Seconds that each of `train` is of, `(n,)`: in version 1 those since the one before."""
        told = self.train.column("interval_s")
        times = self.train.column("time_s")
        begin = self.job.first_s if self.job is not None else 0.0
        since = np.diff(times, prepend=begin) if len(times) else times
        if len(since) > 1 and since[0] > 10 * np.median(since[1:]):  # the records before it are not judged
            since[0] = np.median(since[1:])
        return np.where(np.isfinite(told), told, since).clip(min=1e-9)

    def mean(self, column: str) -> float:
        """Return the mean of a field of `train` over time; not a number where no record has it."""
        values = self.train.column(column)
        known = np.isfinite(values)
        return float(np.average(values[known], weights=self.intervals_s[known])) if known.any() else np.nan

    def of_replicas(self, name: str) -> float:
        """Return the sum of a field of the judged records `replicas`, over all replicas; 0: none."""
        return sum(total(row.get(name)) for row in self.judged("replicas").rows)

    @cached_property
    def train_s(self) -> float:
        """Seconds of training that are judged."""
        if len(self.train):
            return float(self.intervals_s.sum())
        return number(self.summary.get("train_s"), 0.0)

    @cached_property
    def minibatches(self) -> float:
        """Minibatches of all replicas together in `train_s`; about, where its first record is not judged."""
        steps = self.train.column("step")
        if not len(steps):
            return number(self.summary.get("steps"), 0.0)
        since = self._first_step
        if np.isfinite(since) or len(steps) == 1:
            return float(steps[-1] - np.nan_to_num(since))
        return float((steps[-1] - steps[0]) * self.train_s / max(self.intervals_s[1:].sum(), 1e-9))

    @property
    def _first_step(self) -> float:
        """Minibatches reported before the first judged record, where its job tells; else not a number."""
        if self.job is None or self.train.column("time_s")[0] - self.intervals_s[0] > self.job.first_s + 1e-3:
            return np.nan
        return number(self.job.began.get("step"))

    @property
    def enough(self) -> bool:
        """Whether there is enough to judge where time goes."""
        return self.train_s >= LEAST_S and self.minibatches >= LEAST_MINIBATCHES * self.replicas

    @property
    def step_s(self) -> float:
        """Seconds from one minibatch of a replica to its next; 0 where it is not known."""
        return self.replicas * self.train_s / self.minibatches if self.minibatches else 0.0

    @property
    def has_short_steps(self) -> bool:
        """Whether minibatches are so short that messages between them are a natural part of them."""
        return 0 < self.step_s < SHORT_STEP_S
