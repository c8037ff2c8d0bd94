"""The learning rate over the run, as a function of the examples handed out. Pure."""

from dataclasses import dataclass
from math import cos, floor, pi

from dbmpi.config.algorithms import Schedule


@dataclass(frozen=True)
class LearningRate:
    """The learning rate that a push carries.

    Parameters
    ----------
    base
        `downpour.learning_rate`.
    schedule
        `downpour.schedule`.
    rows
        Examples in an epoch.
    """

    base: float
    schedule: Schedule
    rows: int

    def at(self, examples: float) -> float:
        """Return the rate after `examples` examples of all replicas together."""
        epoch = examples / self.rows
        warmup = self.schedule.warmup_epochs
        if epoch < warmup:
            return self.base * min(1.0, (epoch + 1 / self.rows) / warmup)
        return self.base * self._share((epoch - warmup) / self.schedule.decay_epochs)

    def _share(self, periods: float) -> float:
        """Return the share of the base rate after so many decay periods."""
        s, done = self.schedule, min(periods, 1.0)
        if s.kind == "linear":
            return s.final + (1 - s.final) * (1 - done)
        if s.kind == "cosine":
            return s.final + (1 - s.final) * (1 + cos(pi * done)) / 2
        if s.kind == "exponential":
            return s.decay_factor**periods
        if s.kind == "step":
            return float(s.decay_factor ** floor(periods))
        return 1.0
