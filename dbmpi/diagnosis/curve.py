"""The course of the training loss, and what became of it. Pure.

Of a batch method it is the loss of each iterate. Single records are of few examples: so medians of
neighbouring records are compared, and what the loss does is measured against `reference`, that of chance.
The training loss is that of the replicas' own copies of the parameters, the held-out one that of the shards.
"""

from dataclasses import dataclass
from functools import cached_property
from math import isfinite, log
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from dbmpi.diagnosis.evidence import Evidence
from dbmpi.logs.records import Records, number

LEAST_POINTS = 5  # records: fewer have no course
NEIGHBOURS = 0.1  # of the records, whose median is one point of the course: a tenth smooths, and shows a turn
BETTER = 0.99  # of the loss of chance: what is not below is no better; as the run itself judges
LITTLE = 0.9  # of the loss of chance: what is not below has learned little, if the task is no guess
LEAST_EPOCHS = 1.0  # before a run is said not to learn; as the run itself judges
LEAST_ITERATIONS = 10  # of a batch method, for the same reason
RISEN = 0.1  # of chance, above the best point: a median of neighbours has less noise than that
SPOILT = 0.5  # of chance, above the best point: half of all that can be learned is lost again

Outcome = Literal["unknown", "diverged", "stuck", "spoilt", "risen", "little", "learns"]


@dataclass(frozen=True)
class Curve:
    """The training loss of a run.

    Parameters
    ----------
    evidence
        What is known of the run.
    """

    evidence: Evidence

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """The loss of each record that counts, `(n,)`; infinite where it was not finite."""
        kind = "iteration" if self.evidence.algorithm == "sandblaster" else "train"
        found = self.evidence.run.records(kind).valid.column("loss")
        return np.where(np.isfinite(found), found, np.inf)

    @cached_property
    def course(self) -> NDArray[np.float64]:
        """The medians of neighbours, `(m,)`; where there are thousands, of some of them, with the last."""
        if not len(self.losses):
            return self.losses
        width = 1
        if self.evidence.algorithm != "sandblaster":
            width = min(len(self.losses), max(3, round(NEIGHBOURS * len(self.losses))))
        windows = sliding_window_view(self.losses, width)[:: -max(1, width // 16)][::-1]
        return np.sort(windows, axis=1)[:, width // 2]

    @property
    def chance(self) -> float:
        """Loss of the best answer that is the same for all examples; not a number where it is not known.

        Until the end of a run no record has it. For softmax it is at most the logarithm of the number of
        classes.
        """
        told = number(self.evidence.summary.get("chance_loss"))
        config = self.evidence.run.config
        if isfinite(told) or config is None or config.model.loss != "softmax":
            return told
        units = getattr(config.model.layers[-1], "units", 0)
        return log(units) if isinstance(units, int) and units > 1 else np.nan

    @property
    def start(self) -> float:
        """Loss of the first parameters, at least that of chance; else of the first record."""
        known = np.fmax(number(self.evidence.summary.get("first_loss")), self.chance)
        return float(known) if isfinite(known) or not len(self.losses) else float(self.losses[0])

    @property
    def reference(self) -> float:
        """What a change of the loss is measured against: that of chance, or of the first parameters."""
        return self.chance if isfinite(self.chance) and self.chance > 0 else abs(self.start)

    @property
    def best(self) -> float:
        """The lowest point of the course."""
        return float(self.course.min(initial=np.inf))

    @property
    def last(self) -> float:
        """The last point of the course."""
        return float(self.course[-1]) if len(self.course) else np.nan

    @property
    def peak(self) -> float:
        """The highest loss of a single record."""
        return float(self.losses.max(initial=-np.inf))

    @property
    def epochs(self) -> float:
        """Epochs that were learned from; not a number where it is not known."""
        epochs = self.evidence.run.records("train").valid.column("epoch")
        return float(epochs[-1]) if len(epochs) else np.nan

    @cached_property
    def outcome(self) -> Outcome:
        """What became of the loss."""
        if self.evidence.summary.get("stop_reason") in ("diverged", "failed") or self.last == np.inf:
            return "diverged"
        if len(self.losses) < LEAST_POINTS:
            return self._by_summary
        if self._is_above(BETTER):
            return "unknown" if self.is_early else "stuck"
        rise = (self.last - self.best) / self.reference if self.reference > 0 else 0.0
        if rise >= RISEN:
            return "spoilt" if rise >= SPOILT else "risen"
        return "little" if self._is_above(LITTLE) and not self.is_early else "learns"

    @cached_property
    def held_out(self) -> NDArray[np.float64]:
        """The loss of each evaluation during the run, `(k,)`; infinite where it was not finite."""
        found = self.evaluations.column("loss")
        return np.where(np.isfinite(found), found, np.inf)

    @cached_property
    def evaluations(self) -> Records:
        """The evaluations during the run, of one split: what is watched."""
        found = self.evidence.run.records("eval").valid
        watched = found.rows[0].get("split") if len(found) else None
        return found.only(lambda row: row.get("split") == watched)

    @property
    def fails_held_out(self) -> bool:
        """Whether the last evaluation was no better than chance, after an epoch."""
        known = len(self.held_out) > 0 and self.epochs >= LEAST_EPOCHS
        return known and bool(self.held_out[-1] >= BETTER * self.chance)

    @property
    def is_spoilt(self) -> bool:
        """Whether something is wrong with what was learned."""
        return self.outcome not in ("unknown", "learns") or self.fails_held_out

    @property
    def _by_summary(self) -> Outcome:
        match self.evidence.summary.get("learned"):
            case True:
                return "learns"
            case False:
                return "stuck"
        return "unknown"

    @property
    def is_early(self) -> bool:
        """Whether the run has not yet seen what it needs to learn: an epoch, or some iterations."""
        if self.evidence.algorithm == "sandblaster":
            return len(self.losses) <= LEAST_ITERATIONS
        return not self.epochs >= LEAST_EPOCHS

    def _is_above(self, share: float) -> bool:
        """Whether the loss is above a share of that of chance."""
        limit = self.chance if isfinite(self.chance) else self.start
        return min(self.last, float(self.losses[-1])) >= share * limit
