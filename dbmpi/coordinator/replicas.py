"""The replicas as the coordinator knows them: what each was asked to do and still owes; signs of life.

An order goes to every partition of a replica, and is done when all of them have reported it. Orders of one
kind of work are reported in the order in which they were given; different kinds may overtake one another.
A replica that has lost a rank gets no more orders, and what it still reports counts for nothing.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from dbmpi.arrays import Record
from dbmpi.awake import awake
from dbmpi.comm.assignments import Portion, plain
from dbmpi.comm.protocol import Work
from dbmpi.comm.wait import JUDGED, SIGN
from dbmpi.errors import ProtocolError


class Dispatcher(Protocol):
    """How assignments reach the partitions of a replica."""

    def send(self, replica: int, assignment: Record) -> None:
        """Send an `ASSIGNMENT` record to every partition of a replica."""

    def send_to_spares(self, assignment: Record) -> None:
        """Send one to the ranks without work."""


@dataclass
class Job:
    """An order that is outstanding, and what the replica's partitions have reported of it.

    Parameters
    ----------
    replica, assignment
        The replica, and what it was ordered to do.
    portion
        Of Downpour's orders to train, what they are about.
    missing
        Partitions that have not reported.
    reports
        Of the others.
    """

    replica: int
    assignment: Record
    portion: Portion | None
    missing: set[int]
    reports: list[Record] = field(default_factory=list)

    @property
    def work(self) -> Work:
        """What was ordered."""
        return Work(int(self.assignment["work"]))


class ReplicaTable:
    """Gives orders, collects reports, and notices silent partitions.

    Parameters
    ----------
    shape
        Replicas R and partitions P.
    timeout_s
        `cluster.timeout_s`.
    dispatcher
        Sends assignments.
    name
        How messages call a partition of a replica.
    clock, awake
        Seconds, monotonic; and those of `dbmpi.awake`, by which silence is judged.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        timeout_s: float,
        dispatcher: Dispatcher,
        name: Callable[[int, int], str],
        clock: Callable[[], float] = time.monotonic,
        awake: Callable[[], float] = awake,
    ) -> None:
        self.replicas, self._partitions = shape
        self.clock, self._awake = clock, awake
        self._timeout_s, self._dispatcher, self._name = timeout_s, dispatcher, name
        self._jobs: list[deque[Job]] = [deque() for _ in range(self.replicas)]
        self._heard = np.full(shape, awake())
        self._sent = np.full(self.replicas, clock())
        self._greeted = clock()  # when those without work were
        self.living = list(range(self.replicas))

    def owed(self, replica: int) -> int:
        """Return how many orders a replica has not reported."""
        return len(self._jobs[replica])

    @property
    def outstanding(self) -> list[Job]:
        """The orders that are not reported yet."""
        return [job for jobs in self._jobs for job in jobs]

    @property
    def idle(self) -> bool:
        """Whether no replica owes a report."""
        return not any(self._jobs)

    @property
    def dead(self) -> list[int]:
        """The replicas that have lost a rank."""
        return [replica for replica in range(self.replicas) if replica not in self.living]

    def leave_out(self, replica: int) -> list[Job]:
        """Go on without a replica: let it leave, and return what it has not done."""
        self.living.remove(replica)
        self.tell(replica, plain(Work.RETIRE))
        jobs, self._jobs[replica] = list(self._jobs[replica]), deque()
        return jobs

    def least_busy(self) -> int:
        """Return the living replica that owes least."""
        return min(self.living, key=self.owed)

    def order(self, replica: int, assignment: Record, portion: Portion | None = None) -> None:
        """Send an assignment that is to be reported."""
        # Those without work give no signs of life: their silence counts from here.
        owing = set().union(*(job.missing for job in self._jobs[replica]))
        self._heard[replica, [p for p in range(self._partitions) if p not in owing]] = self._awake()
        self._jobs[replica].append(Job(replica, assignment, portion, set(range(self._partitions))))
        self.tell(replica, assignment)

    def tell(self, replica: int, assignment: Record) -> None:
        """Send an assignment that is not reported."""
        self._sent[replica] = self.clock()
        self._dispatcher.send(replica, assignment)

    def receive(self, report: Record) -> Job | None:
        """Take in one partition's `REPORT`; return the job that is done by it, if one is."""
        replica, partition = int(report["replica"]), int(report["partition"])
        self._heard[replica, partition] = self._awake()
        if report["work"] == Work.ALIVE or replica not in self.living:
            return None
        waiting = (j for j in self._jobs[replica] if partition in j.missing and j.work == report["work"])
        job = next(waiting, None)
        if job is None:
            raise ProtocolError(f"{self._name(replica, partition)} reports work that it was not given")
        job.missing.discard(partition)
        job.reports.append(report)
        if job.missing:
            return None
        self._jobs[replica].remove(job)
        return job

    def keep_alive(self) -> None:
        """Give replicas that wait a sign of life."""
        for replica in np.flatnonzero(self.clock() - self._sent > SIGN * self._timeout_s):
            self.tell(int(replica), plain(Work.ALIVE))
        if self.clock() - self._greeted > SIGN * self._timeout_s:
            self._greeted = self.clock()
            self._dispatcher.send_to_spares(plain(Work.ALIVE))

    def silent(self) -> list[tuple[int, int]]:
        """Return replica and partition of those with work that should have given a sign of life.

        To be asked when the reports that have come are taken in.
        """
        late = np.argwhere(self._awake() - self._heard > JUDGED * self._timeout_s)
        pairs = [(int(replica), int(partition)) for replica, partition in late]
        return [(r, p) for r, p in pairs if any(p in job.missing for job in self._jobs[r])]
