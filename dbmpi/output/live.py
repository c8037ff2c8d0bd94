"""One line of a terminal that is drawn again and again, and never stands in the way of lines that stay.

What this process prints takes the drawn line away first (`screen.make_room`), and it is not drawn again
before a launcher has passed that on. What other ranks print comes at any time. So the cursor is left behind
the last column, where a terminal begins a new line for what comes next: the drawn line stays above, whole.

A window that gets narrower breaks the line into several, in terminals that keep all text. Of those that are
known to, the rows above are taken away too; others cut the line, and there it would be somebody else's rows.
"""

import os
import threading
import time
from collections.abc import Mapping

from dbmpi import screen
from dbmpi.output.terminal import Watched
from dbmpi.output.view import cut

SETTLE_S = 0.2  # for a launcher to pass on what was printed
ERASE = "\r\x1b[K"
BREAKING = "TMUX", "VTE_VERSION", "KONSOLE_VERSION", "KITTY_WINDOW_ID", "WT_SESSION", "TERM_PROGRAM"
CUTTING = "STY"  # GNU screen, whatever it runs in


class LiveLine:
    """A line on a terminal. Threads may draw it."""

    def __init__(self, terminal: Watched, env: Mapping[str, str] = os.environ) -> None:
        self._terminal, self._free_at = terminal, 0.0
        self._drawn = 0  # columns; 0 while nothing is
        self._breaks = CUTTING not in env and any(name in env for name in BREAKING)
        self._ended = False
        self._writing = False  # on a stream that takes drawn lines away itself
        self._lock = threading.RLock()  # a signal handler that prints may come in the middle

    @property
    def watched(self) -> bool:
        """Whether somebody may look at it now."""
        return self._terminal.watched()

    @property
    def columns(self) -> int:
        """How wide the terminal is."""
        return self._terminal.columns()

    def draw(self, text: str) -> None:
        """Draw a text, as much of it as one line has room for."""
        with self._lock:
            columns = self.columns
            if self._ended or time.monotonic() < self._free_at or not self.watched:
                return
            self._write(f"{self._erasing(columns)}{cut(text, columns - 1)}\x1b[{columns}G ")
            self._drawn = columns

    def erase(self) -> None:
        """Take it away, if it is drawn; somebody prints."""
        with self._lock:
            if self._writing:
                return
            self._free_at = time.monotonic() + SETTLE_S
            if self._drawn and self.watched:
                self._write(self._erasing(self.columns))
            self._drawn = 0

    def _erasing(self, columns: int) -> str:
        """Return what takes the line away, in a window that may have become narrower since it was drawn."""
        above = (self._drawn - 1) // columns if self._breaks and self._drawn else 0
        return f"\x1b[{above}A\r\x1b[J" if above else ERASE

    def _write(self, text: str) -> None:
        self._writing = True
        try:
            self._terminal.write(text)
        finally:
            self._writing = False

    def begin(self) -> None:
        """Let it be taken away whenever something is printed, from now on."""
        screen.drawn.append(self.erase)

    def end(self) -> None:
        """Take it away for good."""
        if self.erase in screen.drawn:
            self._ended = True
            self.erase()
            screen.drawn.remove(self.erase)
