"""What the user sees while training goes on: a bar on a terminal, a plain line now and then in a job."""

import math
import os
import sys
from typing import Protocol, TextIO

from dbmpi.config.sections import Train
from dbmpi.data.portions import examples_in
from dbmpi.output.live import LiveLine
from dbmpi.output.terminal import Stream, find
from dbmpi.output.view import ProgressLimits, View, drawn, parts

BLOCKS, ASCII_BLOCKS = ("█", "░"), ("#", "-")
WIDE_BLOCKS = "ja", "ko", "zh"  # languages whose terminals may show blocks in two columns
FIRST_S = 1.0  # to the first plain line
DRAW_S, LOOK_S = 0.2, 1.0  # between two bars; between two looks whether somebody looks


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

    def __init__(self, out: TextIO, limits: ProgressLimits, every_s: float) -> None:
        super().__init__(out)
        self._limits, self._every_s, self.next_s = limits, every_s, min(FIRST_S, every_s)

    def show(self, view: View) -> None:
        """Print a line; the next one is wanted `every_s` later."""
        self.next_s = view.time_s + self._every_s
        self.line(", ".join(parts(view, self._limits)))


class Bar(Silent):
    """One line that is drawn again and again while the run is in the foreground; plain lines otherwise."""

    next_s = 0.0

    def __init__(self, out: TextIO, limits: ProgressLimits, line: LiveLine, plain: Plain) -> None:
        super().__init__(out)
        self._limits, self._live, self._plain = limits, line, plain
        self._blocks = BLOCKS if _has_blocks(out) else ASCII_BLOCKS
        line.begin()

    def show(self, view: View) -> None:
        """Draw the bar."""
        watched = self._live.watched
        self.next_s = view.time_s + (DRAW_S if watched else LOOK_S)
        if watched:
            self._live.draw(drawn(view, self._limits, self._live.columns, self._blocks))
        elif view.time_s >= self._plain.next_s:
            self._plain.show(view)

    def line(self, text: str) -> None:
        """Print the line where the bar is; the bar comes again below it, at the next moment."""
        self.next_s = 0.0
        super().line(text)

    def close(self) -> None:
        """Erase the bar."""
        self._live.end()


def _has_blocks(out: TextIO) -> bool:
    """Return whether blocks can be shown on `out`, each in one column."""
    language = next((said for name in ("LC_ALL", "LC_CTYPE", "LANG") if (said := os.environ.get(name))), "")
    return can_show(out, "".join(BLOCKS)) and not language.startswith(WIDE_BLOCKS)


def can_show(out: TextIO, text: str) -> bool:
    """Return whether the encoding of `out` has all characters of a text."""
    try:
        text.encode(out.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def make(setting: str, every_s: float, train: Train, rows: int, iterations: int | None = None) -> Progress:
    """Return the twin that `output.progress` asks for, on standard output."""
    examples = None if train.epochs is None else examples_in(train.epochs, rows)
    limits = ProgressLimits(examples, train.steps, train.max_time, iterations)
    out = sys.stdout
    if setting == "none":
        return Silent(out)
    plain = Plain(out, limits, every_s)
    terminal = None if setting == "plain" else find()
    if setting == "bar" and terminal is None:
        return Bar(out, limits, LiveLine(Stream()), plain)
    return plain if terminal is None else Bar(out, limits, LiveLine(terminal), plain)
