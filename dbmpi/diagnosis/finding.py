"""One thing that the records of a run show, in a sentence."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["bad", "warning", "note", "good"]
SEVERITIES: tuple[Severity, ...] = ("bad", "warning", "note", "good")  # the worst first


@dataclass(frozen=True)
class Finding:
    """What a question about a run is answered with.

    Parameters
    ----------
    about
        What was asked: "learning", "rate", "staleness", "slow_replica", "shards", "input", "cores",
        "boundary", "goodput", "deaths" or "output".
    severity
        bad: the run is spoilt or stands still for most of its time; warning: something is to be changed;
        note: good to know; good: as it should be.
    text
        One sentence.
    figure
        What it rests on, with units.
    remedy
        Which key to turn, or what else to do; may be empty.
    weight
        About the share of the run's work that it costs, 0 to 1: the order among those of one severity.
    """

    about: str
    severity: Severity
    text: str
    figure: str = ""
    remedy: str = ""
    weight: float = 0.0

    @property
    def alarms(self) -> bool:
        """Whether something is to be done about it."""
        return self.severity in ("bad", "warning")

    @property
    def rank(self) -> tuple[int, float]:
        """The key by which the worst comes first."""
        return SEVERITIES.index(self.severity), -self.weight


def graded(value: float, warning: float, bad: float) -> Severity | None:
    """Return how bad a figure is that reaches one of two limits; None where it reaches neither."""
    return "bad" if value >= bad else "warning" if value >= warning else None
