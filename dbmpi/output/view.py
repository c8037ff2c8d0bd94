"""A moment of a run, in words. Pure."""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# In a narrow window words are shorter; what it has no room for then is left out, the first of these first.
LEAST_WANTED = "staleness", "test", "speed", "accuracy", "iteration", "left", "loss"
SHORTER = (("accuracy ", "acc "), (" examples/s", "/s"), ("iteration ", "it "), ("staleness ", "stale "))
BAR, SHORTEST_BAR = 20, 8  # columns
LONGEST_S = 1e8  # of the time that is left, three years: more is said of a run without a limit


@dataclass(frozen=True)
class View:
    """A moment of the run. What is not known is not a number; `since_s` is when this job began to train."""

    time_s: float
    step: int
    examples: int
    loss: float
    accuracy: float
    test_loss: float
    test_accuracy: float
    examples_per_s: float
    iteration: int = 0
    held_out: str = "test"
    staleness: float = math.nan
    since_s: float = 0.0


@dataclass(frozen=True)
class ProgressLimits:
    """How far a run may go, and for how many seconds a job of it; None where there is no limit."""

    examples: int | None
    steps: int | None
    time_s: float | None
    iterations: int | None = None

    def share(self, view: View) -> float:
        """Return how much of the run is done, 0 to 1: by the limit that is nearest."""
        return min(1.0, max(self._of_work(view), self._of_time(view)))

    def left_s(self, view: View) -> float:
        """Return the seconds that are left, by the limit that is nearest; infinity where nothing is known."""
        work, time_s = self._of_work(view), self.time_s
        of_work = view.time_s * max(0.0, 1 - work) / work if work > 0 else math.inf
        return min(of_work, math.inf if not time_s else max(0.0, time_s - (view.time_s - view.since_s)))

    def _of_work(self, view: View) -> float:
        pairs = (
            (view.examples, self.examples),
            (view.step, self.steps),
            (view.iteration, self.iterations),
        )
        return max((now / limit for now, limit in pairs if limit), default=0.0)

    def _of_time(self, view: View) -> float:
        return (view.time_s - view.since_s) / self.time_s if self.time_s else 0.0


def parts(view: View, limits: ProgressLimits) -> list[str]:
    """Return what is said of a moment."""
    return list(_named(view, limits).values())


def _named(view: View, limits: ProgressLimits) -> dict[str, str]:
    """Return the parts by their names, in the order in which they are shown."""
    share = limits.share(view)
    said = {"share": f"{share:4.0%}"}
    if limits.iterations:
        said["iteration"] = f"iteration {view.iteration}"
    said["loss"] = f"loss {view.loss:.4g}"
    if math.isfinite(view.accuracy):
        said["accuracy"] = f"accuracy {view.accuracy:.2%}"
    if math.isfinite(view.test_loss):
        accurate = math.isfinite(view.test_accuracy)
        result = f"{view.test_accuracy:.2%}" if accurate else f"loss {view.test_loss:.4g}"
        said["test"] = f"{view.held_out} {result}"
    said["speed"] = f"{view.examples_per_s:,.0f} examples/s"
    if math.isfinite(view.staleness):
        said["staleness"] = f"staleness {view.staleness:.1f}"
    if (left_s := limits.left_s(view)) < LONGEST_S:
        said["left"] = f"{duration(left_s)} left"
    return said


def drawn(view: View, limits: ProgressLimits, columns: int, blocks: Sequence[str]) -> str:
    """Return a moment as a bar and words, in less than so many columns. The bar shrinks first.

    Parameters
    ----------
    blocks
        The characters of the bar: for what is done, and for what is left.
    """
    said, room = _named(view, limits), columns - 1
    if _width(said.values()) > room:
        said = {name: _shorter(text) for name, text in said.items()}
    for name in LEAST_WANTED:
        if _width(said.values()) > room:
            said.pop(name, None)
    free = room - _width(said.values()) - 1
    if free < SHORTEST_BAR:
        return " ".join(said.values())
    cells = min(BAR, free)
    full = round(cells * limits.share(view))
    return " ".join([blocks[0] * full + blocks[1] * (cells - full), *said.values()])


def _shorter(text: str) -> str:
    for long, short in SHORTER:
        text = text.replace(long, short)
    return text.strip()


def _width(words: Iterable[str]) -> int:
    """Return the columns of words with a space between them."""
    return width(" ".join(words))


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """Return the beginning of a text that takes at most so many columns."""
    taken = 0
    for at, character in enumerate(text):
        taken += _columns(character)
        if taken > columns:
            return text[:at]
    return text


def duration(seconds: float) -> str:
    """Return seconds as people read them: 41 s, 3:05, 2:03:05."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    seconds = round(seconds)
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
