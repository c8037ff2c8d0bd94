"""When a run ends, and why; and when replicas other than the first may begin. Pure."""

from math import isfinite
from typing import Literal

from dbmpi.checkpoint.run_state import StoppingState
from dbmpi.comm.signals import Signals
from dbmpi.config.algorithms import Warmstart
from dbmpi.config.sections import Train
from dbmpi.errors import STATUS_DIVERGED, STATUS_OK, STATUS_STOPPED
from dbmpi.output.totals import EvaluationSums

End = Literal["iterations", "converged", "failed"]  # of a batch method
Reason = Literal[
    "", "epochs", "steps", "max_time", "target", "diverged", "iterations", "converged", "failed", "signal"
]
PERSISTENCE = 3  # portions in a row whose loss is beyond the limit


class Stopping:
    """Watches the limits of a run; `reason` is empty while it goes on.

    Parameters
    ----------
    train
        The limits.
    signals
        What has been received.
    """

    def __init__(self, train: Train, signals: Signals | None = None) -> None:
        self._train, self._signals = train, Signals() if signals is None else signals
        self._first_loss: float | None = None
        self._beyond = 0
        self.reason: Reason = ""

    @property
    def status(self) -> int:
        """Exit status of the program."""
        if self.reason in ("max_time", "signal"):
            return STATUS_STOPPED
        return STATUS_DIVERGED if self.lost else STATUS_OK

    @property
    def lost(self) -> bool:
        """Whether the parameters are no good: diverged, or where an optimizer has failed."""
        return self.reason in ("diverged", "failed")

    @property
    def hasty(self) -> bool:
        """Whether there may be no time but for a checkpoint."""
        return self.reason == "signal"

    @property
    def finished(self) -> bool:
        """Whether the run is at its end, so that the same command again would have nothing to do."""
        return bool(self.reason) and self.status != STATUS_STOPPED

    def state(self) -> StoppingState:
        """Return what the limits depend on, for `restore`."""
        return StoppingState(self._first_loss, self._beyond)

    def restore(self, state: StoppingState) -> None:
        """Go on from `state`."""
        self._first_loss, self._beyond = state.first_loss, state.beyond

    @property
    def advice(self) -> str:
        """What to do about a run that diverged, or an optimizer that failed."""
        if self.reason == "failed":
            return (
                "the optimizer can go no further: the loss or its gradient is not finite, or the loss does "
                "not fall along its negative gradient; the model is the best that was found. Look for values "
                'in the data that are not finite or very large, or take model.dtype = "float64"'
            )
        return (
            "the run diverged: its training loss was not finite, or stayed above "
            f"{self._train.divergence_factor:g} (train.divergence_factor) times its first value; lower "
            "downpour.learning_rate, begin with downpour.warmstart, or set downpour.max_gradient_norm"
        )

    def check_signals(self) -> None:
        """Stop when a signal has been received, here or by another rank."""
        if self._signals.number:
            self._stop("signal")

    def check_time(self, elapsed_s: float) -> None:
        """Stop when the training time of this job is up."""
        if self._train.max_time is not None and elapsed_s >= self._train.max_time:
            self._stop("max_time")

    def check_loss(self, loss: float) -> None:
        """Stop when the mean loss of portions stays not finite, or far above that of the first.

        One such portion proves nothing: the shards refuse a gradient that is not finite, and the replica
        that took a step by it fetches anew.
        """
        if self._first_loss is None and isfinite(loss):
            self._first_loss = loss
        limit = self._train.divergence_factor * abs(self._first_loss or 0.0)
        self._beyond = 0 if isfinite(loss) and loss <= limit else self._beyond + 1
        if self._beyond >= PERSISTENCE:
            self._stop("diverged")

    def check_evaluation(self, result: EvaluationSums) -> None:
        """Stop when a target is reached."""
        target = self._train.target
        accurate = target.accuracy is not None and result.accuracy >= target.accuracy
        small = target.loss is not None and result.loss <= target.loss
        if accurate or small:
            self._stop("target")
        if not isfinite(result.loss):  # on parameters fetched for it, so there is no way back
            self._stop("diverged")

    def check_final(self, result: EvaluationSums) -> None:
        """Call the run diverged, whatever ended it, when its last parameters have no finite loss."""
        if not isfinite(result.loss):
            self.reason = "diverged"

    def check_limit(self, limit: Literal["", "epochs", "steps"]) -> None:
        """Stop when all work that a limit allows was handed out."""
        self._stop(limit)

    def check_optimizer(self, ending: End) -> None:
        """Stop as the optimizer of a batch method has ended."""
        self._stop(ending)

    def _stop(self, reason: Reason) -> None:
        self.reason = self.reason or reason


class WarmstartLimit:
    """The warmstart: replica 0 trains alone until both limits have passed (section 4.1 of the paper)."""

    def __init__(self, warmstart: Warmstart) -> None:
        self._warmstart = warmstart

    def steps_for(self, replica: int, steps: int, done: int, elapsed_s: float) -> int | None:
        """Return how many minibatches a replica may be given now; None for any number.

        Parameters
        ----------
        steps, done
            Minibatches handed out so far, and those of them that were reported.
        """
        left = self._warmstart.steps - steps
        if done >= self._warmstart.steps and elapsed_s >= self._warmstart.time:
            return None
        if replica != 0:
            return 0
        return left if left > 0 else None
