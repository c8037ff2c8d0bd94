"""What became of a try, as its line in a series says it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

COUNTS = "rows_again", "rows_lost", "updates_lost"
# The first of these words that is found in what is wrong says what the try comes to.
VERDICTS = {
    "damage": "silent damage",
    "hang": "hang",
    "status": "wrong status",
    "lost": "lost work",
    "manners": "bad manners",
}


@dataclass
class Tried:
    """What became of a try.

    Parameters
    ----------
    role, algorithm, launcher, shape, again
        Whom it met, how the run was made, and on what shape it went on; empty where that says nothing.
    after_s, phases
        When, in seconds from the launch, and how far the run was.
    first_s, began_s
        How long the first job took, and until training began.
    status, promised
        How the job ended, and the words of the table.
    statuses
        Of all jobs of the run.
    wrong
        What was not as promised: "hang", "status ...", "damage: ...", "manners: ...", "lost work: ...".
    accuracy
        Of the run's end.
    lost_s
        Seconds of training that were done again.
    applied_s, available_s
        Of goodput, by the clock outside: see `dbmpi.output.goodput`.
    said
        What the jobs said, where something is wrong.
    """

    role: str = ""
    algorithm: str = ""
    launcher: str = ""
    shape: str = ""
    again: str = ""
    after_s: float = 0.0
    first_s: float = 0.0
    began_s: float = 0.0
    phases: list[str] = field(default_factory=list)
    status: int = 0
    promised: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    accuracy: float | None = None
    lost_s: float = 0.0
    rows_again: int = 0
    rows_lost: int = 0
    updates_lost: int = 0
    applied_s: float = 0.0
    available_s: float = 0.0
    goodput: float | None = None
    losses: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    said: str = ""


def figures(tried: Tried) -> dict[str, Any]:
    """Return what stands of a try in its line."""
    return {name: value for name, value in vars(tried).items() if value not in ("", [], None)}


def verdict(wrong: Sequence[str]) -> str:
    """Return one word or two about a try: the worst of what is wrong."""
    said = " ".join(wrong)
    worst = (text for word, text in VERDICTS.items() if word in said)
    return next(worst, "another breach" if wrong else "as promised")
