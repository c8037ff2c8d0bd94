"""The coordinator of Downpour: gives work to the replicas, decides when to evaluate and when to stop.

Its phases follow one another:

    TRAIN     every replica has up to `DEPTH` assignments, so that none waits for the next
    PAUSE     a checkpoint is due, and nothing is outstanding: replicas push what is left; then TRAIN again
    FLUSH     work is done or a limit reached, and nothing is outstanding: replicas push what is left
    EVALUATE  the held-out set is cut into one range a replica, on the final parameters
    DONE
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from dbmpi.comm.assignments import assignment_of, evaluation_of, plain, portion_of
from dbmpi.comm.protocol import Work
from dbmpi.config.sections import Config
from dbmpi.coordinator.activity import Activity, Evaluation
from dbmpi.coordinator.checkpoint_manager import CheckpointManager
from dbmpi.coordinator.portion_scheduler import PortionScheduler
from dbmpi.coordinator.replicas import Job, ReplicaTable
from dbmpi.coordinator.stopping import Stopping, WarmstartLimit
from dbmpi.coordinator.trigger import IntervalTrigger
from dbmpi.output.metrics import MetricsLog

DEPTH = 2  # assignments that a replica has at once


class Phase(IntEnum):
    """Where the run stands."""

    TRAIN = 0
    PAUSE = 1
    FLUSH = 2
    EVALUATE = 3
    DONE = 4


class DownpourActivity(Activity):
    """Drives Downpour from the first portion to the last push, and to the final evaluation.

    Parameters
    ----------
    config
        The resolved configuration.
    ledger
        What is left to learn from.
    rows, test_rows
        Size of the training set, and of the held-out set.
    roster, book, stopping
        As `Activity`.
    keeper
        Takes checkpoints, if anyone does.
    final
        Whether the run ends here, with an evaluation of the final parameters; a warmstart ends
        with the flush.
    """

    def __init__(
        self,
        config: Config,
        scheduler: PortionScheduler,
        rows: int,
        test_rows: int,
        replicas: ReplicaTable,
        log: MetricsLog,
        stopping: Stopping,
        checkpoints: CheckpointManager | None = None,
        final: bool = True,
    ) -> None:
        super().__init__(replicas, log, stopping)
        self._scheduler, self._test_rows, self._is_final = scheduler, test_rows, final
        self._checkpoints = checkpoints
        self._warmstart = WarmstartLimit(config.downpour.warmstart)
        self._evaluations = IntervalTrigger(config.evaluation.every_epochs * rows, config.evaluation.every_s)
        self._final = Evaluation(replicas, log, stopping, test_rows)
        self.phase = Phase.TRAIN

    def state(self) -> dict[str, Any]:
        """Return where the run stands, for `restore`; portions that are outstanding are to be done again."""
        jobs = (job for job in self._replicas.outstanding if job.work is Work.TRAIN)
        scheduler = self._scheduler.state(portion_of(job.assignment) for job in jobs)
        return {"ledger": scheduler, "evaluation_due": self._evaluations.now}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; the book is restored already."""
        self._scheduler.restore(state["ledger"])
        self._evaluations.start_at(self._log.examples, self._log.elapsed_s, state["evaluation_due"])
        if self._log.last_evaluation.rows:
            self.stopping.check_evaluation(self._log.last_evaluation)

    @property
    def finished(self) -> bool:
        """Whether training, and the evaluation at its end, are over."""
        return self.phase is Phase.DONE

    def start(self) -> None:
        """Send the first assignments."""
        self._hand_out()

    def tick(self) -> None:
        """See `Activity.tick`; what a limit in time allows or ends follows."""
        super().tick()
        if self._checkpoints is not None:
            self._checkpoints.poll()
            if self._checkpoints.state_due:
                self._checkpoints.send_state("downpour", self.state())
        self._hand_out()

    def _complete(self, job: Job) -> None:
        if job.work is Work.TRAIN:
            loss = self._log.train(job.reports)
            self.stopping.check_loss(loss)
            self._evaluations.update(self._log.examples, self._replicas.clock() - self._log.started)
        elif job.work is Work.EVALUATE and self.phase is Phase.TRAIN:
            result = self._log.empty().add(job.reports)
            self._log.evaluation(result)
            self.stopping.check_evaluation(result)
        elif job.work is Work.EVALUATE:
            self._final.take(job)
        self._hand_out()

    def _take_back(self, replica: int, jobs: list[Job]) -> None:
        """See `Activity`; portions go back to the ledger, and what was to be pushed is lost."""
        super()._take_back(replica, jobs)
        for job in jobs:
            if job.work is Work.TRAIN:
                self._scheduler.give_back(portion_of(job.assignment))
        self._hand_out()

    def _hand_out(self) -> None:
        """Give every replica what it can take, and step to the next phase when nothing is left."""
        if self.phase is Phase.TRAIN:
            self._hand_out_training()
        if self._replicas.idle and self.phase is not Phase.DONE:
            self._next_phase()

    def _hand_out_training(self) -> None:
        for _ in range(DEPTH):
            for replica in self._replicas.living:
                if self._replicas.owed(replica) < DEPTH and not self.stopping.reason and not self._pausing:
                    self._hand_out_to(replica)

    @property
    def _pausing(self) -> bool:
        """Whether no more is handed out, so that a checkpoint can be taken."""
        return self._checkpoints is not None and self._checkpoints.due

    def _hand_out_to(self, replica: int) -> None:
        if not self._scheduler.limit and self._evaluations.take():
            self._replicas.order(replica, evaluation_of(0, self._test_rows))
            return
        elapsed_s = self._replicas.clock() - self._log.started
        place = self._replicas.living.index(replica)  # the warmstart is for the first that lives
        most = self._warmstart.steps_for(place, self._scheduler.steps, self._log.step, elapsed_s)
        portion = self._scheduler.next(replica, most) if most != 0 else None
        if portion is not None:
            self._replicas.order(replica, assignment_of(portion))

    def _next_phase(self) -> None:
        """Everything handed out is done: is there more to come in this phase, or does the next begin?"""
        if self.phase is Phase.TRAIN:
            if self.stopping.reason or self._scheduler.limit:
                self._end()
            elif self._pausing:
                self._flush(Phase.PAUSE)
        elif self.phase is Phase.PAUSE:
            self._save()
            self.phase = Phase.TRAIN
            self._hand_out_training()
        elif self.phase is Phase.FLUSH:
            self._conclude()
        else:
            self.phase = Phase.DONE
            self.stopping.check_final(self._final.result)
            self._log.final(self._final.result)

    def _end(self) -> None:
        if self._is_final:
            self.stopping.check_limit(self._scheduler.limit)
        self._log.end_training(self._replicas.clock())
        self._flush(Phase.FLUSH)

    def _flush(self, phase: Phase) -> None:
        self.phase = phase
        for replica in self._replicas.living:
            self._replicas.order(replica, plain(Work.FLUSH, self._scheduler.examples))

    def _conclude(self) -> None:
        """All pushes have arrived for the last time."""
        if (self._is_final or self.stopping.reason) and not self.stopping.lost:
            self._save()
        if self._is_final and not self.stopping.hasty:
            self.phase = Phase.EVALUATE
            self._final.start()
        else:
            self.phase = Phase.DONE

    def _save(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.save("downpour", self.state())
