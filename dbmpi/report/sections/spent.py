"""Where the seconds of all partitions went, over the run's whole life. Pure.

From summary.json where the last job has ended in order; else from the records, as far as they go.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dbmpi.logs.records import number
from dbmpi.logs.waits import BETWEEN
from dbmpi.report.causes import CAUSES
from dbmpi.report.sections.replicas import summed
from dbmpi.report.subject import Subject


@dataclass(frozen=True)
class Spent:
    """Seconds of all partitions together, of all jobs.

    Parameters
    ----------
    available_s
        From launches to ends.
    computed_s, applied_s
        In which they computed, and of these for what is in the parameters.
    waits_s
        In which they waited, by cause.
    source
        What tells so.
    """

    available_s: float
    computed_s: float
    applied_s: float
    waits_s: Mapping[str, float]
    source: str

    @property
    def goodput(self) -> float:
        """The share that was applied."""
        return self.applied_s / self.available_s

    @property
    def rest_s(self) -> float:
        """What is neither."""
        return max(0.0, self.available_s - self.computed_s - sum(self.waits_s.values()))


def spent(subject: Subject) -> Spent | None:
    """Return it; None where nothing tells."""
    found = _of_summary(subject) if subject.run.result else _of_records(subject)
    return found if found is not None and found.available_s > 0 else None


def _of_summary(subject: Subject) -> Spent | None:
    available_s, applied_s = subject.summed("available_s"), subject.summed("applied_s")
    if not (np.isfinite(available_s) and np.isfinite(applied_s)):
        return None
    waits = {name: number(value, 0.0) for name, value in subject.table("waits_s").items()}
    within_s = sum(value for name, value in waits.items() if name != BETWEEN)
    busy_s = number(subject.run.summary.get("busy_s"), applied_s + within_s)
    computed_s = max(busy_s - within_s, applied_s)
    return Spent(available_s, computed_s, applied_s, waits, "As summary.json has it.")


def _of_records(subject: Subject) -> Spent | None:
    """Add up what the records of replicas tell; what was refused or lost is not known yet."""
    records = subject.run.records("replicas").valid
    if not len(records):
        return None
    jobs = subject.run.jobs
    available_s = sum(
        number(job.began.get("partitions"), 0.0) * (job.start_s + job.last_s - job.first_s) for job in jobs
    )
    computed_s = float(summed(records, "computed_s").sum())
    waits = {cause: float(summed(records, cause, "waits_s").sum()) for cause in CAUSES}
    return Spent(available_s, computed_s, computed_s, waits, "About, as far as the records of replicas go.")
