"""The coordinator where replicas learn in rounds: it gives work to all of them at once, in turns.

A *turn* is a portion for each living replica, and as many rounds as the longest of them has minibatches. In
each round every replica pushes for one and the same step; one that has no minibatch left only waits for it.
Which portion goes to whom follows from numbers, not from who is free. So a run repeats exactly from its seed,
unless a rank dies or rounds do without the slowest (`downpour.backups`).

Evaluations are made between two turns, while all replicas stand still: by the phases PAUSE and SCORE.
"""

from dbmpi.comm.assignments import in_turn
from dbmpi.coordinator.downpour import DEPTH, DownpourActivity
from dbmpi.coordinator.replicas import Job


class SyncActivity(DownpourActivity):
    """Drives synchronous training. See `DownpourActivity`, whose phases it has."""

    _round = 0  # the first of the next turn

    def _hand_out(self) -> None:
        while self._ready and self._hand_out_turn():
            pass

    @property
    def _ready(self) -> bool:
        owed = max(map(self._replicas.owed, self._replicas.living), default=DEPTH)
        return owed < DEPTH and not self.stopping.reason and not self._pausing

    @property
    def _pausing(self) -> bool:
        """Whether no more is handed out, so that a checkpoint can be taken or the held-out set scored."""
        return self._saving or self._evaluations.due

    def _hand_out_turn(self) -> bool:
        """Order a turn; return whether there was anything to learn from."""
        living, before = list(self._replicas.living), self._scheduler.examples
        portions = [
            self._journal.next(replica, self._scheduler.share(len(living) - i))
            for i, replica in enumerate(living)
        ]
        rounds = max(portion.minibatches if portion else 0 for portion in portions)
        if not rounds:
            return False
        examples = sum(portion.examples for portion in portions if portion)
        for replica, portion in zip(living, portions, strict=True):
            assignment = in_turn(portion, before, self._round, rounds, examples // rounds)
            self._replicas.order(replica, assignment, portion)
        self._round += rounds
        self._evaluations.update(self._scheduler.examples, self._replicas.clock() - self._log.started)
        return True

    def _complete(self, job: Job) -> None:
        """See `Activity`; with backup workers a replica may have come too late for all rounds of a turn."""
        if job.portion is not None and not job.reports[0]["steps"]:
            self._journal.done(job, job.portion)
            self._proceed()
        else:
            super()._complete(job)
