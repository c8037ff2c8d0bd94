"""What the coordinator does, one activity after another: orders go out, reports come in, until it is done.

An activity is a state machine of small messages, without MPI (`coordinator.service` drives it over MPI,
and `run.roles.serial` in one process); it never holds a parameter.
"""

from dataclasses import dataclass

from dbmpi.arrays import Record
from dbmpi.comm.assignments import evaluation_of
from dbmpi.comm.protocol import Work
from dbmpi.coordinator.replicas import Job, ReplicaTable
from dbmpi.coordinator.stopping import Stopping
from dbmpi.output.metrics import MetricsLog


@dataclass(frozen=True)
class Coordination:
    """What all activities of a run share.

    Parameters
    ----------
    replicas
        What they were asked to do, and still owe.
    log
        Where results are written.
    stopping
        Why the run ends.
    """

    replicas: ReplicaTable
    log: MetricsLog
    stopping: Stopping


class Activity:
    """What all activities can do. Call `start` once, `receive` for each report, `tick` now and then."""

    def __init__(self, shared: Coordination) -> None:
        self._replicas, self._log, self.stopping = shared.replicas, shared.log, shared.stopping

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
        """Look at the clock: limits, signs of life, records to be written."""
        now = self._replicas.clock()
        self.stopping.check_time(now - self._log.job_started)
        self.stopping.check_signals()
        self.stopping.check_refusals(self._log.take_reports())
        self._log.tick(now)
        self._replicas.keep_alive()

    def died(self, replica: int, rank: str) -> None:
        """A replica has lost a rank, `rank`: it leaves, and others do what it has not done.

        Without another one the run stops: what the shards have is saved.
        """
        jobs = self._replicas.leave_out(replica)
        self._log.leave_out(replica)
        self._log.at(self._replicas.clock())
        if self._replicas.living:
            text = f"replica {replica} has left: {rank} died; its work goes to the others"
        else:
            text = f"no replica is left to go on with: {rank} died"
        self._log.event(text, about="death", replica=replica)
        if not self._replicas.living:
            self.stopping.no_replica_is_left()
        self._take_back(replica, jobs)

    def silent(self) -> list[tuple[int, int]]:
        """See `ReplicaTable.silent`."""
        return self._replicas.silent()

    def fell_silent(self, replica: int) -> None:
        """A replica is silent, and cannot be ended without the job: save what there is, and stop."""
        if replica in self._replicas.living:
            self.stopping.check_silence()
            self._log.leave_out(replica)
            self._take_back(replica, self._replicas.leave_out(replica))

    def shard_died(self) -> None:
        """A shard has died: another serves its pieces now, as they were a while ago."""

    def _complete(self, job: Job) -> None:
        """Take in a job that every partition of its replica has done."""
        raise NotImplementedError

    def _take_back(self, replica: int, jobs: list[Job]) -> None:
        """Give the jobs of a dead replica to others: here, to score held-out rows."""
        for job in jobs:
            if job.work is Work.EVALUATE and self._replicas.living:
                self._replicas.order(self._replicas.least_busy(), job.assignment)


class Evaluation(Activity):
    """Scores held-out rows, one range of them a replica.

    Parameters
    ----------
    shared
        As `Activity`.
    rows
        How many.
    first
        The first of them.
    checkpoint
        Whose parameters are scored; 0 for those that the shards have.
    full
        Whether all is counted that there is to count (`data.measures`): at the end.
    """

    def __init__(
        self, shared: Coordination, rows: int, first: int = 0, checkpoint: int = 0, full: bool = False
    ) -> None:
        super().__init__(shared)
        self._rows, self._first, self._checkpoint, self._full = rows, first, checkpoint, full
        self.result = shared.log.empty

    @property
    def finished(self) -> bool:
        """Whether all rows are scored, and nothing ordered before is outstanding; or nobody can any more."""
        return self._replicas.idle and (self.result.rows == self._rows or not self._replicas.living)

    def start(self) -> None:
        """Order a range from each replica."""
        living = self._replicas.living
        cuts = [self._rows * n // max(len(living), 1) for n in range(len(living) + 1)]
        for replica, start, stop in zip(living, cuts, cuts[1:], strict=False):
            if stop > start:
                rows = self._first + start, self._first + stop
                self._replicas.order(replica, evaluation_of(*rows, self._checkpoint, self._full))

    def take(self, job: Job) -> None:
        """Take in the scores of one range."""
        self.result = self.result.add(job.reports)

    def _complete(self, job: Job) -> None:
        if job.work is Work.EVALUATE:  # what a pass has left behind is not counted
            self.take(job)
