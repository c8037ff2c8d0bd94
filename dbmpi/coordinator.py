"""The coordinator of Downpour: gives work to the replicas, decides when to evaluate and when to stop.

Its phases follow one another:

    TRAIN     every replica has up to `DEPTH` assignments, so that none waits for the next
    FLUSH     work is done or a limit reached, and nothing is outstanding: replicas push what is left
    EVALUATE  the held-out set is cut into one range a replica, on the final parameters
    DONE
"""

from enum import IntEnum

from dbmpi.activity import Activity, Evaluation
from dbmpi.assignments import assignment_of, evaluation_of, plain, portion_of
from dbmpi.config import Config
from dbmpi.ledger import Ledger
from dbmpi.metrics import Book
from dbmpi.protocol import Work
from dbmpi.roster import Job, Roster
from dbmpi.stopping import Stopping, Warmup

DEPTH = 2  # assignments that a replica has at once


class Phase(IntEnum):
    """Where the run stands."""

    TRAIN = 0
    FLUSH = 1
    EVALUATE = 2
    DONE = 3


class Coordinator(Activity):
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
    final
        Whether the run ends here, with an evaluation of the final parameters; a warmstart ends
        with the flush.
    """

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        rows: int,
        test_rows: int,
        roster: Roster,
        book: Book,
        stopping: Stopping,
        final: bool = True,
    ) -> None:
        super().__init__(roster, book, stopping)
        self._ledger, self._test_rows, self._is_final = ledger, test_rows, final
        self._warmup = Warmup(config.downpour.warmstart)
        self._evaluations = EvaluationTimes(config.evaluation.every_epochs * rows, config.evaluation.every_s)
        self._final = Evaluation(roster, book, stopping, test_rows)
        self.phase = Phase.TRAIN

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
        self._hand_out()

    def _complete(self, job: Job) -> None:
        if job.work is Work.TRAIN:
            loss = self._book.train(job.reports)
            self.stopping.look_at_loss(loss)
            self._evaluations.look_at(self._book.examples, self._roster.clock() - self._book.started)
        elif job.work is Work.EVALUATE and self.phase is Phase.TRAIN:
            result = self._book.empty().add(job.reports)
            self._book.evaluation(result)
            self.stopping.look_at_evaluation(result)
        elif job.work is Work.EVALUATE:
            self._final.take(job)
        self._hand_out()

    def _take_back(self, replica: int, jobs: list[Job]) -> None:
        """See `Activity`; portions go back to the ledger, and what was to be pushed is lost."""
        super()._take_back(replica, jobs)
        for job in jobs:
            if job.work is Work.TRAIN:
                self._ledger.give_back(portion_of(job.assignment))
        self._hand_out()

    def _hand_out(self) -> None:
        """Give every replica what it can take, and step to the next phase when nothing is left."""
        if self.phase is Phase.TRAIN:
            self._hand_out_training()
        if self._roster.idle and self.phase is not Phase.DONE:
            self._next_phase()

    def _hand_out_training(self) -> None:
        for _ in range(DEPTH):
            for replica in self._roster.living:
                if self._roster.owed(replica) < DEPTH and not self.stopping.reason:
                    self._hand_out_to(replica)

    def _hand_out_to(self, replica: int) -> None:
        if not self._ledger.limit and self._evaluations.take():
            self._roster.order(replica, evaluation_of(0, self._test_rows))
            return
        elapsed_s = self._roster.clock() - self._book.started
        place = self._roster.living.index(replica)  # the warmstart is for the first that lives
        most = self._warmup.steps_for(place, self._ledger.steps, self._book.step, elapsed_s)
        portion = self._ledger.next(replica, most) if most != 0 else None
        if portion is not None:
            self._roster.order(replica, assignment_of(portion))

    def _next_phase(self) -> None:
        """Everything handed out is done: is there more to come in this phase, or does the next begin?"""
        if self.phase is Phase.TRAIN:
            if not self.stopping.reason and not self._ledger.limit:
                return
            self._flush()
        elif self.phase is Phase.FLUSH and self._is_final:
            self.phase = Phase.EVALUATE
            self._final.start()
        else:
            self.phase = Phase.DONE
            if self._is_final:
                self.stopping.look_at_final(self._final.result)
                self._book.final(self._final.result)

    def _flush(self) -> None:
        self.phase = Phase.FLUSH
        if self._is_final:
            self.stopping.look_at_ledger(self._ledger.limit)
        self._book.end_training(self._roster.clock())
        for replica in self._roster.living:
            self._roster.order(replica, plain(Work.FLUSH, self._ledger.examples))


class EvaluationTimes:
    """When held-out evaluations are due: every so many examples, every so many seconds.

    Zero means never. One is taken at a time; what comes due meanwhile makes one more.
    """

    def __init__(self, every_examples: float, every_s: float) -> None:
        self._every = every_examples, every_s
        self._next = list(self._every)
        self._due = False

    def look_at(self, examples: int, elapsed_s: float) -> None:
        """Note how far the run has come."""
        for i, now in enumerate((examples, elapsed_s)):
            if 0 < self._every[i] <= now and now >= self._next[i]:
                self._due = True
                self._next[i] = (now // self._every[i] + 1) * self._every[i]

    def take(self) -> bool:
        """Return whether one is due, and if so count it as taken."""
        due, self._due = self._due, False
        return due
