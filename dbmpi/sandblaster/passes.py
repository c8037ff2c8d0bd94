"""One pass over the batch: an evaluation of the objective and of its gradient, by all replicas together.

The scheduler decides (`pass_scheduler`), this carries its decisions to the replicas and their reports to it.
A pass ends when every portion is done, or at once when the run stops or a loss is not finite: then no sum is
wanted; or when a replica dies in the middle of a push: then the sum cannot be trusted, and the pass is made
again.
"""

from itertools import chain
from math import fsum, isfinite, nan

from dbmpi.arrays import Record
from dbmpi.comm.assignments import about, gradient_of
from dbmpi.comm.protocol import Work
from dbmpi.coordinator.activity import Activity, Coordination
from dbmpi.coordinator.replicas import Job
from dbmpi.output.totals import Tally
from dbmpi.sandblaster.pass_scheduler import Act, Action, PassScheduler


class Pass(Activity):
    """Makes one pass.

    Parameters
    ----------
    shared
        As `Activity`.
    scheduler
        Of its portions.
    pass_number
        Its number, which no other pass of the run has.
    batch
        Number of the sample, and of its examples.
    tally
        Counts on from pass to pass.
    """

    def __init__(
        self,
        shared: Coordination,
        scheduler: PassScheduler,
        pass_number: int,
        batch: tuple[int, int],
        tally: Tally,
    ) -> None:
        super().__init__(shared)
        self.scheduler, self._pass_number, self._tally = scheduler, pass_number, tally
        self._sample, self._examples = batch
        self._reports: dict[tuple[int, int], list[Record]] = {}  # replica, portion: computed, not judged
        self._counted: list[Record] = []  # reports of portions that count
        self._copied: set[tuple[int, int]] = set()
        self._losses: dict[int, list[float]] = {}  # by portion: one that is done again counts once
        self._finite, self._data_loss_sum = True, 0.0
        self._started = 0.0

    @property
    def finished(self) -> bool:
        """Whether the gradient is complete on the shards, or not wanted any more."""
        return self.scheduler.done or self.scheduler.broken or bool(self.stopping.reason) or not self._finite

    @property
    def loss(self) -> float:
        """The objective: mean loss of the batch, and the penalty; not finite where a portion's is not."""
        # Exact, so that it does not depend on the order of the reports.
        return fsum(chain.from_iterable(self._losses.values())) / self._examples if self._finite else nan

    @property
    def data_loss(self) -> float:
        """The mean loss of the batch without the penalty."""
        return self._data_loss_sum / self._examples if self._finite else nan

    def start(self) -> None:
        """Give every replica its first portions; those of the dead go to the others."""
        self._started = self._replicas.clock()
        for replica in self._replicas.dead:
            self.scheduler.died(replica)
        self._carry_out()

    def close(self) -> None:
        """Let replicas give up what nobody waits for any more."""
        self._tally.passes_s += self._replicas.clock() - self._started
        if self.scheduler.broken or not self.scheduler.done:
            self._log.discard(self._counted)
        for action in self.scheduler.abandon():
            self._tell(action)

    def _complete(self, job: Job) -> None:
        replica, portion = job.replica, int(job.assignment["index"])
        if job.work is Work.GRADIENT:
            self._tally.busy_s += _mean(job.reports, "busy_s") - _mean(job.reports, "wait_s")
            self._tally.done[replica] += bool(job.reports[0]["examples"])
            self._tally.lost[replica] += self._comes_late(job, portion)
        if int(job.assignment["pass_number"]) != self._pass_number:
            return
        if job.work is Work.PUSH:
            self.scheduler.pushed(replica)
        elif job.reports[0]["examples"]:
            self._reports[replica, portion] = job.reports
            self.scheduler.finished(replica, portion)
        else:
            self.scheduler.gave_up(replica, portion)
        self._carry_out()

    def _take_back(self, replica: int, jobs: list[Job]) -> None:
        """See `Activity`; portions go back to the scheduler, accepted ones too unless they are pushed."""
        super()._take_back(replica, jobs)
        for key in [key for key in self._reports if key[0] == replica]:
            del self._reports[key]
        self.scheduler.died(replica)
        if not self._replicas.living:
            return
        if self.scheduler.broken:
            text = "its last push may not have reached every shard: the pass is made again"
            self._log.event(text, about="death")
        else:
            self._carry_out()

    def shard_died(self) -> None:
        """See `Activity`; what it had of the gradient is gone."""
        self.scheduler.broken = True

    def _comes_late(self, job: Job, portion: int) -> bool:
        """Return whether a portion was another's by the time it is reported, or is of an earlier pass."""
        return int(job.assignment["pass_number"]) != self._pass_number or self.scheduler.winners[portion] >= 0

    def _carry_out(self) -> None:
        for action in self.scheduler.actions():
            self._tell(action)

    def _tell(self, action: Action) -> None:
        """Tell a replica what the scheduler says, and count it."""
        act, replica, portion = action.act, action.replica, action.portion
        if act is Act.PUSH:
            self._replicas.order(replica, about(Work.PUSH, self._pass_number))
        elif act is Act.DROP:
            self._replicas.tell(replica, about(Work.DROP, self._pass_number, portion))
        elif act is Act.ACCEPT:
            self._replicas.tell(replica, about(Work.ACCEPT, self._pass_number, portion))
            self._count(replica, portion)
        else:
            order = gradient_of(self._pass_number, self._sample, portion, self._examples)
            self._replicas.order(replica, order)
            if act is Act.COPY:
                self._tally.copies += 1
                self._copied.add((replica, portion))

    def _count(self, replica: int, portion: int) -> None:
        """Record a portion that counts; once, even if it is done again because its replica has died."""
        reports = self._reports.pop((replica, portion))
        if portion not in self._losses:
            self._log.train(reports)
            self._counted += reports
            self._data_loss_sum += sum(float(report["data_loss_sum"]) for report in reports)
        self._losses[portion] = [float(report["loss_sum"]) for report in reports]
        self._finite &= all(map(isfinite, self._losses[portion]))
        self._tally.won[replica] += 1
        self._tally.copies_used += (replica, portion) in self._copied


def _mean(reports: list[Record], name: str) -> float:
    return sum(float(report[name]) for report in reports) / len(reports)
