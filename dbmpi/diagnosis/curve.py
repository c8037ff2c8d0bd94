"""The course of the training loss, and what became of it. Pure.

Of a batch method it is the loss of each iterate. Single records are of few examples: so medians of
neighbouring records are compared, and what the loss does is measured against `reference`, that of chance.
"""

from dataclasses import dataclass
from functools import cached_property
from math import isfinite, log
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from dbmpi.diagnosis.evidence import Evidence
from dbmpi.logs.records import number

LEAST_POINTS = 5  # records: fewer have no course
NEIGHBOURS = 0.1  # of the records, whose median is one point of the course: a tenth smooths, and shows a turn
BETTER = 0.99  # of the loss of chance: what is not below is no better; as the run itself judges
LEAST_EPOCHS = 1.0  # before a run is said not to learn; as the run itself judges
LEAST_ITERATIONS = 10  # of a batch method, for the same reason
RISEN = (
    0.1  # of chance, above the best point: noise of a median is some hundredths of what is left of the loss
)
SPOILT = 0.5  # of chance, above the best point: half of all that can be learned is lost again

Outcome = Literal["unknown", "diverged", "stuck", "spoilt", "risen", "learns"]


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
        """The medians of neighbours, `(m,)`."""
        if not len(self.losses):
            return self.losses
        width = 1
        if self.evidence.algorithm != "sandblaster":
            width = min(len(self.losses), max(3, round(NEIGHBOURS * len(self.losses))))
        return np.sort(sliding_window_view(self.losses, width), axis=1)[:, width // 2]

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
    def first(self) -> float:
        """Loss of the first parameters, or of the first record; not a number where there is none."""
        told = number(self.evidence.summary.get("first_loss"))
        return told if isfinite(told) or not len(self.losses) else float(self.losses[0])

    @property
    def reference(self) -> float:
        """What a change of the loss is measured against: that of chance, or of the first parameters."""
        return self.chance if isfinite(self.chance) and self.chance > 0 else abs(self.first)

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
        if self._is_stuck:
            return "stuck"
        rise = (self.last - self.best) / self.reference if self.reference > 0 else 0.0
        return "spoilt" if rise >= SPOILT else "risen" if rise >= RISEN else "learns"

    @property
    def _by_summary(self) -> Outcome:
        match self.evidence.summary.get("learned"):
            case True:
                return "learns"
            case False:
                return "stuck"
        return "unknown"

    @property
    def _is_stuck(self) -> bool:
        if self.evidence.summary.get("learned") is False:
            return True
        if self.evidence.algorithm == "sandblaster":
            early = len(self.losses) <= LEAST_ITERATIONS
        else:
            early = not self.epochs >= LEAST_EPOCHS
        limit = self.chance if isfinite(self.chance) else self.first
        return not early and min(self.last, float(self.losses[-1])) >= BETTER * limit
