"""Goodput: the share of the partitions' time in which they computed gradients that were applied. Pure.

    goodput = applied_s / available_s

`applied_s` are the seconds in which partitions computed (neither waited nor evaluated) for portions that were
reported, times the share of these whose gradient is in the parameters: not what was lost with a replica or a
shard, refused, or too late for its round, and not passes over the batch that were made again. A checkpoint
holds the sum, so what is done again after a job that ended without one counts once.

`available_s` are partitions x replicas x seconds from launch to end, of all jobs of the run. The launch is
the start of rank 0; time between two jobs, as in a queue, does not count. Each job writes a record `job` into
metrics.jsonl when training begins, and when it ends in order; one that was killed has lasted until its last
record, and one that ended before training began is not known of. No clocks of hosts are compared.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

JOB = '"kind": "job"'  # as the line of such a record has it


@dataclass(frozen=True)
class Room:
    """What partitions there were.

    Parameters
    ----------
    partitions
        Of this job, all replicas together.
    earlier_s
        `available_s` of earlier jobs.
    replicas
        Of this job.
    """

    partitions: int = 0
    earlier_s: float = 0.0
    replicas: int = 0

    def available_s(self, wall_s: float) -> float:
        """Return the seconds of all partitions together, where this job has lasted so long."""
        return self.earlier_s + self.partitions * wall_s

    def after(self, wall_s: float) -> "Room":
        """Return the room with so much more before it, of jobs that have left no records, in seconds."""
        return self if self.earlier_s else replace(self, earlier_s=self.partitions * wall_s)


NO_ROOM = Room()


class Fate(NamedTuple):
    """What became of the gradients of a run: examples, and updates of the model."""

    examples: int
    examples_lost: int
    updates: int
    updates_lost: float

    @property
    def applied(self) -> float:
        """The share that is in the parameters, 0 to 1; a batch method makes no updates."""
        of_examples = 1 - self.examples_lost / self.examples if self.examples else 0.0
        pushed = self.updates + self.updates_lost
        return max(0.0, of_examples) * (self.updates / pushed if pushed else 1.0)


def goodput(applied_s: float, available_s: float) -> float | None:
    """Return the share; None where there was no time."""
    return applied_s / available_s if available_s > 0 else None


def earlier_s(lines: Iterable[str]) -> float:
    """Return `available_s` of the jobs whose records the lines of a metrics.jsonl are."""
    total, begun, last = 0.0, None, ""
    for line in lines:
        record = _record(line) if JOB in line else None
        if record is not None and record.get("began"):
            total += _lasted(begun, last)
            begun = record
        last = line if line.strip() else last
    return total + _lasted(begun, last)


def _lasted(begun: dict[str, Any] | None, last: str) -> float:
    """Return the seconds of all partitions of a job, by its first record and the line of its last."""
    end = _record(last)
    try:
        if begun is None or end is None:
            return 0.0
        seconds = float(begun["wall_s"]) + max(0.0, float(end["time_s"]) - float(begun["time_s"]))
        return int(begun["partitions"]) * seconds
    except (KeyError, TypeError, ValueError):  # not written by us
        return 0.0


def _record(line: str) -> dict[str, Any] | None:
    """Return the record of a line; None where it is none, as half a line of a job that was killed."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
