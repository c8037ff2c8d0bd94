"""When a run ends, and why; and when replicas other than the first may begin. Pure."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Literal

from dbmpi.arrays import Record
from dbmpi.checkpoint.run_state import StoppingState
from dbmpi.comm.signals import Signals
from dbmpi.config.algorithms import Warmstart
from dbmpi.config.sections import Train
from dbmpi.coordinator import advice
from dbmpi.coordinator.divergence import TEST, TRAINING, Divergence
from dbmpi.coordinator.learning import LearningWatch
from dbmpi.errors import STATUS_DIVERGED, STATUS_OK, STATUS_STOPPED
from dbmpi.output.evaluation_sums import EvaluationSums

End = Literal["iterations", "converged", "failed"]  # of a batch method
Reason = Literal[
    "",
    "epochs",
    "steps",
    "max_time",
    "target",
    "patience",
    "diverged",
    "iterations",
    "converged",
    "failed",
    "signal",
    "silence",  # of a rank
    "death",  # of the last replica
]
ITERATIONS = 10  # of a batch method, which count as an epoch


class Stopping:
    """Watches the limits of a run, and its losses; `reason` is empty while it goes on.

    Parameters
    ----------
    train
        The limits.
    signals
        What has been received.
    chance, examples
        The loss of chance, 0 where it is not known, and over how many examples the loss must fall below it.
    tell
        Tells the user that a run does not learn, once, or that it is told to stop; and what that is about:
        "learning" or "signal".
    held_out
        The split that evaluations are of.
    """

    def __init__(
        self,
        train: Train,
        signals: Signals | None = None,
        chance: float = 0.0,
        examples: int = 0,
        tell: Callable[[str, str], None] = lambda text, about: None,
        held_out: str = "test",
    ) -> None:
        self._train, self._signals = train, Signals() if signals is None else signals
        self._divergence, self._watch = (
            Divergence(train.divergence_factor, chance, held_out),
            LearningWatch(chance, examples),
        )
        self._tell, self._is_told, self._held_out = tell, False, held_out
        self._best: float | None = None
        self._fruitless = 0
        self.reason: Reason = ""

    @property
    def status(self) -> int:
        """Exit status of the program."""
        if self.reason in ("max_time", "signal", "silence", "death"):
            return STATUS_STOPPED
        return STATUS_DIVERGED if self.lost else STATUS_OK

    @property
    def lost(self) -> bool:
        """Whether the parameters are no good: diverged, or where an optimizer has failed."""
        return self.reason in ("diverged", "failed")

    @property
    def hasty(self) -> bool:
        """Whether there may be no time but for a checkpoint, or nobody to evaluate anything."""
        return self.reason in ("signal", "silence", "death")

    @property
    def finished(self) -> bool:
        """Whether the run is at its end, so that the same command again would have nothing to do."""
        return bool(self.reason) and self.status != STATUS_STOPPED

    def state(self) -> StoppingState:
        """Return what the limits depend on, for `restore`."""
        seen, watch = self._divergence, self._watch
        told, best = self._is_told, self._best
        return StoppingState(
            seen.first_loss, seen.beyond, watch.sums, watch.learned, told, best, self._fruitless
        )

    def restore(self, state: StoppingState) -> None:
        """Go on from `state`."""
        self._divergence.restore(state.first_loss, state.beyond)
        self._watch.sums, self._watch.learned, self._is_told = state.epoch, state.learned, state.told
        self._best, self._fruitless = state.best, state.fruitless
        self._check_patience()

    @property
    def advice(self) -> str:
        """What to do about a run that diverged, or an optimizer that failed."""
        if self.reason == "failed":
            return advice.FAILED
        return advice.diverged(self._divergence.seen, self._train.algorithm)

    @property
    def verdict(self) -> dict[str, Any]:
        """What summary.json says of the losses: the references, and what they showed."""
        return {
            "first_loss": self._divergence.first_loss,
            "chance_loss": self._watch.chance or None,
            "learned": self._watch.learned,
            "diverged_by": self._divergence.seen if self.reason == "diverged" else None,
        }

    def check_signals(self) -> None:
        """Stop when a signal has been received, here or by another rank."""
        if self._signals.number and not self.reason:
            self._tell(f"{self._signals.name}: the run stops, with a checkpoint", "signal")
            self._stop("signal")

    def check_silence(self) -> None:
        """Stop as a replica is silent that cannot be ended alone."""
        self._stop("silence")

    def no_replica_is_left(self) -> None:
        """Stop, whatever else the run was to end by, but for a signal and parameters that are no good."""
        if not self.hasty and not self.lost:
            self.reason = "death"

    def check_time(self, elapsed_s: float) -> None:
        """Stop when the training time of this job is up."""
        if self._train.max_time is not None and elapsed_s >= self._train.max_time:
            self._stop("max_time")

    def check_portion(self, reports: Sequence[Record]) -> None:
        """Take in what a replica reports of a portion, one record from each partition.

        Its first minibatch tells the loss of the first parameters if no partition's had been updated.
        """
        first = min(int(report["first_examples"]) for report in reports)
        if first:
            self._divergence.begin(sum(float(report["first_loss_sum"]) for report in reports) / first)
        examples = int(reports[0]["examples"])
        self._check_loss(sum(float(report["loss_sum"]) for report in reports) / examples, examples)

    def begin(self, first_loss: float | None) -> None:
        """Take the loss of the first parameters from elsewhere, if it is there and not known yet."""
        if first_loss is not None:
            self._divergence.begin(first_loss)

    def check_iterate(self, loss: float) -> None:
        """Take in the loss, without the penalty, at an iterate of a batch method; the first is the start."""
        self._divergence.begin(loss)
        self._check_loss(loss, self._watch.examples / ITERATIONS)

    def _check_loss(self, loss: float, examples: float) -> None:
        """Stop when the training loss stays beyond its limit; tell when it stays at that of chance."""
        if self._divergence.persists(loss, TRAINING):
            self._stop("diverged")
        elif self._watch.add(loss, examples):
            self._tell_once()

    def _tell_once(self) -> None:
        if not self._is_told and not self.lost:
            self._is_told = True
            text = advice.not_learning(self._watch.loss, self._watch.chance, self._train.algorithm)
            self._tell(text, "learning")

    def check_refusals(self, shards: Mapping[int, Record], final: bool = False) -> None:
        """Stop when a shard refuses most gradients as not finite; when it has, whatever ended the run.

        Parameters
        ----------
        shards
            The last report of each.
        final
            Whether no more gradients come.
        """
        if not self.lost and self._divergence.refused(shards, final):
            self.reason = "diverged"

    def check_evaluation(self, result: EvaluationSums) -> None:
        """Stop when a target is reached, or the loss is not finite or stays beyond its limit."""
        target = self._train.target
        accurate = target.accuracy is not None and result.accuracy >= target.accuracy
        small = target.loss is not None and result.loss <= target.loss
        if accurate or small:
            self._stop("target")
        finite = isfinite(result.loss)  # if not, there is no way back: on parameters fetched for it
        if self._divergence.persists(result.loss, TEST) if finite else self._divergence.shows(result.loss):
            self._stop("diverged")

    def improves(self, result: EvaluationSums) -> bool:
        """Return, with patience, whether a result is better than all before; stop when patience is over."""
        if self._train.patience is None:
            return False
        score = result.score
        if score is not None and (self._best is None or score > self._best):
            self._best, self._fruitless = score, 0
            return True
        self._fruitless += 1
        self._check_patience()
        return False

    def _check_patience(self) -> None:
        if self._train.patience is not None and self._fruitless >= self._train.patience:
            self._stop("patience")

    def check_final(self, result: EvaluationSums) -> None:
        """Call the run diverged, whatever ended it, if the last parameters have a loss beyond its limit.

        Tell if what was learned is of no use for the test set.
        """
        if not self.lost and self._divergence.shows(result.loss):
            self.reason = "diverged"
        elif self._watch.learned and self._train.class_weights is None and result.loss > self._watch.chance:
            text = advice.by_heart(result.loss, self._watch.chance, self._held_out)
            self._tell(text, "learning")

    def check_limit(self, limit: Literal["", "epochs", "steps"]) -> None:
        """Stop when all work that a limit allows was handed out."""
        self._stop(limit)

    def check_optimizer(self, ending: End) -> None:
        """Stop as the optimizer of a batch method has ended."""
        self._stop(ending)
        if self._watch.end() and ending == "converged":
            self._tell_once()

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
