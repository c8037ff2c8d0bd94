"""What the user sees while training goes on: a bar on a terminal, a plain line now and then in a job."""

import math
import os
import shutil
import sys
from dataclasses import dataclass
from typing import Protocol, TextIO

from dbmpi.config.sections import Train
from dbmpi.data.portions import examples_in

BLOCKS, ASCII_BLOCKS = ("█", "░"), ("#", "-")


DUMB = "", "dumb"  # TERM where a line cannot be drawn again
WHOLE_LINES = "PMIX_RANK"  # set by launchers that pass on whole lines alone


@dataclass(frozen=True)
class View:
    """A moment of the run."""

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


class Progress(Protocol):
    """Shows how far a run is; the twins differ in how.

    Attributes
    ----------
    next_s
        From which `View.time_s` on it wants to be shown a moment; infinity for never.
    """

    next_s: float

    def show(self, view: View) -> None:
        """Show a moment."""

    def line(self, text: str) -> None:
        """Show a line that stays."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Silent:
    """Shows only the lines that stay."""

    next_s = math.inf

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, view: View) -> None:
        """Show nothing."""

    def line(self, text: str) -> None:
        """Print the line."""
        print(f"dbmpi: {text}", file=self._out, flush=True)

    def close(self) -> None:
        """Nothing to undo."""


class Plain(Silent):
    """A line every so often, for batch jobs."""

    next_s = 0.0

    def __init__(self, out: TextIO, limits: "ProgressLimits", every_s: float) -> None:
        super().__init__(out)
        self._limits, self._every_s = limits, every_s

    def show(self, view: View) -> None:
        """Print a line; the next one is wanted `every_s` later."""
        self.next_s = view.time_s + self._every_s
        self.line(", ".join(parts(view, self._limits)))


class Bar(Silent):
    """One line that is drawn again and again."""

    WIDTH = 20
    next_s = 0.0

    def __init__(self, out: TextIO, limits: "ProgressLimits") -> None:
        super().__init__(out)
        self._limits, self._drawn = limits, False
        self._blocks = BLOCKS if can_show(out, "".join(BLOCKS)) else ASCII_BLOCKS

    def show(self, view: View) -> None:
        """Draw the bar."""
        full = round(self.WIDTH * self._limits.share(view))
        done, left = self._blocks
        text = f"{done * full}{left * (self.WIDTH - full)} {' '.join(parts(view, self._limits))}"
        columns = shutil.get_terminal_size().columns
        self._out.write("\r\x1b[K" + text[: columns - 1])
        self._out.flush()
        self._drawn = True

    def line(self, text: str) -> None:
        """Print the line where the bar is; the bar comes again below it."""
        self._erase()
        super().line(text)

    def close(self) -> None:
        """Erase the bar."""
        self._erase()

    def _erase(self) -> None:
        if self._drawn:
            self._out.write("\r\x1b[K")
            self._out.flush()
            self._drawn = False


@dataclass(frozen=True)
class ProgressLimits:
    """How far a run may go; None where there is no limit."""

    examples: int | None
    steps: int | None
    time_s: float | None
    iterations: int | None = None

    def share(self, view: View) -> float:
        """Return how much of the run is done, 0 to 1: by the limit that is nearest."""
        pairs = (
            (view.examples, self.examples),
            (view.step, self.steps),
            (view.time_s, self.time_s),
            (view.iteration, self.iterations),
        )
        return min(1.0, max((now / limit for now, limit in pairs if limit), default=0.0))


def parts(view: View, limits: ProgressLimits) -> list[str]:
    """Return what both twins say of a moment."""
    share = limits.share(view)
    said = [f"{share:4.0%}", f"loss {view.loss:.4g}"]
    if limits.iterations:
        said.insert(1, f"iteration {view.iteration}")
    if math.isfinite(view.accuracy):
        said.append(f"accuracy {view.accuracy:.2%}")
    if math.isfinite(view.test_loss):
        accurate = math.isfinite(view.test_accuracy)
        result = f"{view.test_accuracy:.2%}" if accurate else f"loss {view.test_loss:.4g}"
        said.append(f"{view.held_out} {result}")
    said.append(f"{view.examples_per_s:,.0f} examples/s")
    if share > 0:
        said.append(f"{duration(view.time_s * (1 - share) / share)} left")
    return said


def duration(seconds: float) -> str:
    """Return seconds as people read them: 41 s, 3:05, 2:03:05."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    seconds = round(seconds)
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def can_show(out: TextIO, text: str) -> bool:
    """Return whether the encoding of `out` has all characters of a text."""
    try:
        text.encode(out.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def on_terminal(out: TextIO) -> bool:
    """Return whether a person watches `out`.

    Launchers give ranks a terminal of their own even when their own output goes to a file, so the
    parent's output must be a terminal too, where that can be seen. That of Open MPI 5 keeps back what is no
    whole line, as a bar never is.
    """
    if not out.isatty() or WHOLE_LINES in os.environ or os.environ.get("TERM", "") in DUMB:
        return False
    try:
        return os.readlink(f"/proc/{os.getppid()}/fd/1").startswith(("/dev/pts", "/dev/tty"))
    except OSError:
        return True


def make(setting: str, every_s: float, train: Train, rows: int, iterations: int | None = None) -> Progress:
    """Return the twin that `output.progress` asks for, on standard output."""
    examples = None if train.epochs is None else examples_in(train.epochs, rows)
    limits = ProgressLimits(examples, train.steps, train.max_time, iterations)
    out = sys.stdout
    if setting == "auto":
        setting = "bar" if on_terminal(out) else "plain"
    if setting == "bar":
        return Bar(out, limits)
    return Plain(out, limits, every_s) if setting == "plain" else Silent(out)
