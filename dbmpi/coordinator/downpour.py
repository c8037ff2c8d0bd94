"""The coordinator of Downpour: gives work to the replicas, decides when to evaluate and when to stop.

Its phases, and what follows each of them once no replica owes a report:

    TRAIN     every replica has up to `DEPTH` assignments, so that none waits for the next
              -> PAUSE if a checkpoint is to be taken; FLUSH if work is done or a limit is reached
    PAUSE     replicas push what is left  -> SCORE, or a checkpoint is taken without a score; TRAIN
    SCORE     all replicas score the held-out set  -> a checkpoint is taken; TRAIN
    FLUSH     replicas push what is left  -> EVALUATE; of a run that is to go on, or after a warmstart, a
              checkpoint is taken first, as there may be no time for more
    EVALUATE  all replicas score the held-out set, on the final parameters  -> a checkpoint is taken; DONE
    DONE

When no replica is left, a checkpoint is taken of what the shards have, whatever the phase; DONE.
"""

from enum import IntEnum

from dbmpi.checkpoint.run_state import DownpourState
from dbmpi.comm.assignments import assignment_of, evaluation_of, plain
from dbmpi.comm.protocol import Work
from dbmpi.config.sections import Config
from dbmpi.coordinator.activity import Activity, Coordination
from dbmpi.coordinator.checkpoint_manager import CheckpointManager
from dbmpi.coordinator.cluster import Mirrors
from dbmpi.coordinator.journal import Journal
from dbmpi.coordinator.portion_scheduler import PortionScheduler
from dbmpi.coordinator.replicas import Job
from dbmpi.coordinator.scores import ScoreKeeper
from dbmpi.coordinator.stopping import WarmstartLimit
from dbmpi.coordinator.trigger import IntervalTrigger

DEPTH = 2  # assignments that a replica has at once


class Phase(IntEnum):
    """What the run is doing."""

    TRAIN = 0
    PAUSE = 1
    SCORE = 2
    FLUSH = 3
    EVALUATE = 4
    DONE = 5


class DownpourActivity(Activity):
    """Drives Downpour from the first portion to the last push, and to the final evaluation.

    Parameters
    ----------
    config
        The resolved configuration.
    scheduler
        What is left to learn from.
    rows
        Size of the training set, and of the held-out set.
    shared
        As `Activity`.
    checkpoints
        Takes checkpoints, if anyone does.
    final
        Whether the run ends here, with an evaluation of the final parameters; a warmstart ends
        with the flush.
    mirrors
        The shards, where one keeps notes of what is handed out and done.
    """

    def __init__(
        self,
        config: Config,
        scheduler: PortionScheduler,
        rows: tuple[int, int],
        shared: Coordination,
        checkpoints: CheckpointManager | None = None,
        final: bool = True,
        mirrors: Mirrors | None = None,
    ) -> None:
        super().__init__(shared)
        self._journal = Journal(scheduler, shared.log, shared.replicas.replicas, mirrors)
        self._scheduler, self._checkpoints, self._is_final = scheduler, checkpoints, final
        train_rows, self._test_rows = rows
        every = config.evaluation
        warmstart = config.downpour.warmstart
        self._warmstart = WarmstartLimit(warmstart) if warmstart.steps or warmstart.time else None
        self._evaluations = IntervalTrigger(every.every_epochs * train_rows, every.every_s)
        self._scores = ScoreKeeper(shared, self._test_rows, every.enabled and config.checkpoint.best)
        self._patient = final and config.train.patience is not None
        self.phase = Phase.TRAIN
        self._when_idle = {
            Phase.TRAIN: self._pause_or_end,
            Phase.PAUSE: self._score_or_save,
            Phase.SCORE: self._save_scored,
            Phase.FLUSH: self._evaluate_or_end,
            Phase.EVALUATE: self._finish,
        }

    def state(self) -> DownpourState:
        """Return where the run stands, for `restore`; portions that are outstanding are to be done again."""
        return self._journal.state(self._evaluations.due)

    def restore(self, state: DownpourState) -> None:
        """Go on from `state`; the log is restored already."""
        self._journal.restore(state)
        self._evaluations.start_at(self._log.examples, self._log.elapsed_s, state.evaluation_due)
        if self._log.last_evaluation.rows:
            self.stopping.check_evaluation(self._log.last_evaluation)

    @property
    def finished(self) -> bool:
        """Whether training, and the evaluation at its end, are over."""
        return self.phase is Phase.DONE

    def start(self) -> None:
        """Send the first assignments."""
        self._proceed()

    def tick(self) -> None:
        """See `Activity.tick`; what a limit in time allows or ends follows."""
        super().tick()
        if self._checkpoints is not None:
            self._checkpoints.poll()
            if self._checkpoints.state_due or self._journal.long:
                self._send_state()
        self._journal.send_notes()
        self._proceed()

    def _complete(self, job: Job) -> None:
        if job.portion is not None:
            self._journal.done(job, job.portion)
            self._log.train(job.reports)
            self.stopping.check_portion(job.reports)
            self._evaluations.update(self._log.examples, self._replicas.clock() - self._log.started)
        elif job.work is Work.EVALUATE and self.phase is Phase.TRAIN:
            result = self._log.empty.add(job.reports)
            self._log.evaluation(result)
            self.stopping.check_evaluation(result)
        elif job.work is Work.EVALUATE:
            self._scores.take(job)
        elif job.work is Work.FLUSH:
            self._journal.pushed(job)
        self._proceed()

    def shard_died(self) -> None:
        """See `Activity`."""
        self._scores.shard_died()

    def _take_back(self, replica: int, jobs: list[Job]) -> None:
        """See `Activity`; portions go back to the scheduler, and what was to be pushed is lost."""
        super()._take_back(replica, jobs)
        self._journal.died(replica, jobs)
        self._send_state()
        self._proceed()

    def _send_state(self) -> None:
        """Let a shard know where the run stands; its notes begin anew."""
        if self._checkpoints is not None:
            self._checkpoints.send_state(self.state())
            self._journal.begin()

    def _proceed(self) -> None:
        """Give every replica what it can take; when nothing is outstanding, see what comes next."""
        if not self._replicas.living and self.phase is not Phase.DONE:
            self._end_without_replicas()
        if self.phase is Phase.TRAIN:
            self._hand_out()
        if self._replicas.idle and self.phase is not Phase.DONE:
            self._when_idle[self.phase]()

    # -- handing out ---------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        for _ in range(DEPTH):
            for replica in self._replicas.living:
                if self._replicas.owed(replica) < DEPTH and not self.stopping.reason and not self._pausing:
                    self._hand_out_to(replica)

    @property
    def _pausing(self) -> bool:
        """Whether no more is handed out, so that a checkpoint can be taken, with patience after a score."""
        return self._saving or (self._patient and self._evaluations.due)

    @property
    def _saving(self) -> bool:
        """Whether a checkpoint is to be taken."""
        return self._checkpoints is not None and self._checkpoints.due

    def _hand_out_to(self, replica: int) -> None:
        if self._evaluations.due and not self._scheduler.limit:
            self._evaluations.take()
            self._replicas.order(replica, evaluation_of(0, self._test_rows))
            return
        most = self._most_steps(replica)
        portion = self._journal.next(replica, most) if most != 0 else None
        if portion is not None:
            self._replicas.order(replica, assignment_of(portion), portion)

    def _most_steps(self, replica: int) -> int | None:
        """Return how many minibatches a replica may be given, by the warmstart; None for any number."""
        if self._warmstart is None:
            return None
        elapsed_s = self._replicas.clock() - self._log.started
        position = self._replicas.living.index(replica)  # the warmstart is for the first living replica
        return self._warmstart.steps_for(position, self._scheduler.steps, self._log.step, elapsed_s)

    # -- when no replica owes a report ---------------------------------------------------------------------

    def _pause_or_end(self) -> None:
        if self.stopping.reason or self._scheduler.limit:
            if self._is_final:
                self.stopping.check_limit(self._scheduler.limit)
            self._log.end_training(self._replicas.clock())
            self._flush(Phase.FLUSH)
        elif self._pausing:
            self._flush(Phase.PAUSE)

    def _score_or_save(self) -> None:
        """Score what the checkpoint will hold, if an evaluation is due or costs little."""
        if self._evaluations.due or self._scores.worthwhile:
            self._evaluations.take()
            self.phase = Phase.SCORE
            self._scores.start()
        else:
            self._save_and_go_on()

    def _save_scored(self) -> None:
        result = self._scores.end()
        if result is not None:
            self._log.evaluation(result)
            self.stopping.check_evaluation(result)
            self._save_and_go_on(result.score, self._patient and self.stopping.improves(result))

    def _save_and_go_on(self, score: float | None = None, better: bool = False) -> None:
        if (self._saving or better) and not self.stopping.lost:
            self._save(score)
        self.phase = Phase.TRAIN
        self._hand_out()

    def _end_without_replicas(self) -> None:
        """Save what the shards have, and end."""
        if self.phase < Phase.FLUSH:
            self._log.end_training(self._replicas.clock())
        if self._saves_first:
            self._save()
        self.phase = Phase.DONE

    def _evaluate_or_end(self) -> None:
        if self._saves_first:
            self._save()
        if self._is_final and not self.stopping.hasty:
            self.phase = Phase.EVALUATE
            self._scores.start(full=True)
        else:
            self.phase = Phase.DONE

    @property
    def _saves_first(self) -> bool:
        """Whether a checkpoint is taken before anything else, as the run is to go on from it."""
        stopping = self.stopping
        return bool(stopping.reason) and not stopping.lost and not (self._is_final and stopping.finished)

    def _finish(self) -> None:
        result = self._scores.end()
        if result is None:
            return
        self.stopping.check_final(result)
        if self.stopping.finished and not self.stopping.lost:
            self._save(result.score)
        self.phase = Phase.DONE
        self._log.final(result)

    def _flush(self, phase: Phase) -> None:
        self.phase = phase
        for replica in self._replicas.living:
            self._replicas.order(replica, plain(Work.FLUSH, self._scheduler.examples))

    def _save(self, score: float | None = None) -> None:
        if self._checkpoints is not None:
            self._checkpoints.save(self.state(), score=score)
