"""What the coordinator does, one activity after another: orders go out, reports come in, until it is done.

An activity is a state machine of small messages, without MPI (`coordinator.service` drives it over MPI,
and `run.serial` in one process); it never holds a parameter.
"""

from dbmpi.arrays import Record
from dbmpi.comm.assignments import evaluation_of
from dbmpi.comm.protocol import Work
from dbmpi.coordinator.replicas import Job, ReplicaTable
from dbmpi.coordinator.stopping import Stopping
from dbmpi.layout.boxes import balanced
from dbmpi.output.metrics import MetricsLog


class Activity:
    """What all activities share. Call `start` once, `receive` for each report, `tick` now and then.

    Parameters
    ----------
    roster, book, stopping
        The replicas, where results are written, and why the run ends.
    """

    def __init__(self, replicas: ReplicaTable, log: MetricsLog, stopping: Stopping) -> None:
        self._replicas, self._log, self.stopping = replicas, log, stopping

    @property
    def finished(self) -> bool:
        """Whether it is over."""
        raise NotImplementedError

    def start(self) -> None:
        """Send the first orders."""

    def receive(self, report: Record) -> None:
        """Take in one partition's `REPORT`."""
        self._log.at(self._replicas.clock())
        job = self._replicas.receive(report)
        if job is not None:
            self._complete(job)

    def tick(self) -> None:
        """Look at the clock: limits, signs of life, silent partitions, records that are due."""
        now = self._replicas.clock()
        self.stopping.check_time(now - self._log.job_started)
        self.stopping.check_signals()
        self._log.tick(now)
        self._replicas.keep_alive()

    def died(self, replica: int, who: str) -> None:
        """A replica has lost a rank, `who`: it leaves, and others do what it has not done."""
        jobs = self._replicas.died(replica, who)
        self._log.at(self._replicas.clock())
        self._log.event(f"replica {replica} has left: {who} died; its work goes to the others")
        self._take_back(replica, jobs)

    def shard_died(self) -> None:
        """The pieces of a shard that has died are its heir's now, as they were a while ago."""

    def _complete(self, job: Job) -> None:
        """Take in a job that every partition of its replica has done."""
        raise NotImplementedError

    def _take_back(self, replica: int, jobs: list[Job]) -> None:
        """Give the jobs of a dead replica to others: here, to score held-out rows."""
        for job in jobs:
            if job.work is Work.EVALUATE:
                self._replicas.order(self._replicas.least_busy(), job.assignment)


class Evaluation(Activity):
    """Scores the held-out set, one range of its `rows` a replica, on the parameters as they are."""

    def __init__(self, replicas: ReplicaTable, log: MetricsLog, stopping: Stopping, rows: int) -> None:
        super().__init__(replicas, log, stopping)
        self._rows = rows
        self.result = log.empty()

    @property
    def finished(self) -> bool:
        """Whether all rows are scored, and nothing ordered before is outstanding either."""
        return self.result.rows == self._rows and self._replicas.idle

    def start(self) -> None:
        """Order a range from each replica."""
        living = self._replicas.living
        ranges = balanced(self._rows, len(living))
        for replica, (start, stop) in zip(living, ranges, strict=True):
            if stop > start:
                self._replicas.order(replica, evaluation_of(start, stop))

    def take(self, job: Job) -> None:
        """Take in the scores of one range."""
        self.result = self.result.add(job.reports)

    def _complete(self, job: Job) -> None:
        if job.work is Work.EVALUATE:  # what a pass has left behind counts for nothing
            self.take(job)
