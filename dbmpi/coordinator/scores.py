"""Evaluations of a run that stands still: their result belongs to the very parameters that are saved."""

from dbmpi.coordinator.activity import Coordination, Evaluation
from dbmpi.coordinator.replicas import Job
from dbmpi.output.evaluation_sums import EvaluationSums

COST = 1 / 20  # of the time since the last one, at most, where no evaluation is due


class ScoreKeeper:
    """Has the held-out set scored by all replicas, and keeps what that costs.

    Parameters
    ----------
    shared, rows
        As `Evaluation`.
    wanted
        Whether checkpoints are to have scores where no evaluation is due.

    Attributes
    ----------
    evaluation
        The last one.
    """

    def __init__(self, shared: Coordination, rows: int, wanted: bool) -> None:
        self._shared, self._rows, self._wanted = shared, rows, wanted
        self._clock = shared.replicas.clock
        self.evaluation = Evaluation(shared, rows)
        self._mixed = self._full = False
        self._started = self._ended = self._clock()
        self._took_s = 0.0

    @property
    def worthwhile(self) -> bool:
        """Whether it costs little, by what the last one took, compared with the time since then."""
        return self._wanted and self._took_s <= COST * (self._clock() - self._ended)

    def start(self, full: bool = False) -> None:
        """Order an evaluation, a `full` one at the end; no replica has anything to do."""
        self.begin(full)
        self.evaluation.start()

    def begin(self, full: bool = False) -> None:
        """Make an evaluation that is to be driven, as the run's only activity."""
        self.evaluation, self._mixed = Evaluation(self._shared, self._rows, full=full), False
        self._full, self._started = full, self._clock()

    def take(self, job: Job) -> None:
        """Take in the scores of some rows."""
        self.evaluation.take(job)

    def shard_died(self) -> None:
        """Some parameters are others now."""
        self._mixed = True

    def end(self) -> EvaluationSums | None:
        """Return the result; None if the parameters have changed meanwhile, and it was ordered anew."""
        if self._mixed:
            self.start(self._full)
            return None
        self._ended = self._clock()
        self._took_s = self._ended - self._started
        return self.evaluation.result
