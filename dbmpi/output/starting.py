"""What rank 0 does before training, on the line where the bar will be: something moves soon after the launch.

Where nothing can be drawn it says so once, if it takes long. Nothing heavy is loaded for it: it is shown
before libraries load. The configuration is not known then; where `output.progress` is "plain" or "none" the
line goes when it is.
"""

import threading
import time

from dbmpi import phases
from dbmpi.output import terminal
from dbmpi.output.live import LiveLine
from dbmpi.output.view import width
from dbmpi.screen import say

TICK_S = 0.25
PATIENCE_S = 8.0  # without a line that can be drawn, until one is printed
SHORTEST_S = 0.05  # between two lines
STARTING, FIRST = "starting", "loading libraries"


class Starting:
    """Shows phases. See `phases.Shown`.

    Parameters
    ----------
    started
        When the program was, `time.monotonic`.
    doing
        What it does, in a word.
    output
        Whose terminal it is: see `terminal.find`.
    """

    def __init__(self, started: float, doing: str = STARTING, output: int = 1) -> None:
        self._started, self._text, self._over = started, FIRST, threading.Event()
        found = terminal.find(output=output)
        self._line = None if found is None else LiveLine(found)
        self._doing, self._said, self._next = doing, doing != STARTING, 0.0

    def begin(self) -> None:
        """Show the first phase, and how the time goes by from now on."""
        phases.show_by(self)
        if self._line is not None:
            self._line.begin()
        self._tick()
        try:
            threading.Thread(target=self._run, name="dbmpi-starting", daemon=True).start()
        except RuntimeError:  # there can be none
            pass  # phases are shown as they come

    def phase(self, text: str) -> None:
        """See `phases.Shown`."""
        if text != self._text:
            self._text = text
            if time.monotonic() >= self._next:
                self._tick()

    def asked(self, progress: str) -> None:
        """See `phases.Shown`."""
        self._said = self._said or progress == "none"
        if self._line is not None and progress in ("plain", "none"):
            self._line.end()
            self._line = None

    def over(self) -> None:
        """See `phases.Shown`."""
        self._over.set()
        if self._line is not None:
            self._line.end()

    def _run(self) -> None:
        while not self._over.wait(TICK_S):
            self._tick()

    def _tick(self) -> None:
        seconds, line = time.monotonic() - self._started, self._line
        self._next = self._started + seconds + SHORTEST_S
        if self._over.is_set():
            return
        if line is not None and line.watched:
            text = f"dbmpi: {self._doing}, {seconds:.0f} s: {self._text}"
            line.draw(text if width(text) < line.columns else text.removeprefix("dbmpi: "))
        elif seconds >= PATIENCE_S and not self._said:
            self._said = True
            say(f"dbmpi: still starting after {seconds:.0f} s: {self._text}")
