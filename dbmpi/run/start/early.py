"""A signal to stop before training: there is nothing to save yet, so the program ends at once.

It ends with the status of a run that was stopped, as the same command begins, or goes on from what earlier
jobs have saved. From the first import to the start of training; then `comm.signals` takes over.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from dbmpi import phases
from dbmpi.errors import STATUS_INTERRUPTED, STATUS_STOPPED
from dbmpi.run.start import launch

STOPS = signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGTERM, signal.SIGHUP
UNBLOCKED = *STOPS, signal.SIGINT, signal.SIGXCPU  # whoever has started this program may have blocked them
BY_LAUNCHERS = signal.SIGTERM, signal.SIGHUP  # by which they also end the ranks of a job that has failed
KILL_S = 3.0  # until a launcher that does so has killed them
FIRST_S = 4.0  # for rank 0 to say it for all, and to end the job
FORWARD_S = 0.3  # for a launcher to pass on what was said


class EarlySignals:
    """What signals do before training.

    Attributes
    ----------
    leave
        Ends the job with a status: this process alone, before MPI is there.
    let_go
        Gives up what this process holds and other jobs wait for, first of all: others may end it soon.
    until
        What has not begun yet, in words; nothing where the whole program can be stopped so.
    """

    def __init__(self) -> None:
        self.leave: Callable[[int], object] = os._exit
        self.let_go: Callable[[], object] = lambda: None
        self.until = " before training"
        self._before: dict[signal.Signals, object] = {}

    def listen(self) -> None:
        """Let signals end the program from now on; alone, it ignores the loss of its terminal. Local."""
        if self._before:
            return
        signal.pthread_sigmask(signal.SIG_UNBLOCK, UNBLOCKED)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # a terminal that stops who writes from the background
        for one in STOPS:
            self._before[one] = signal.getsignal(one)
            if self._before[one] == signal.SIG_IGN:  # as by nohup
                continue
            alone = one == signal.SIGHUP and not _launched()
            signal.signal(one, signal.SIG_IGN if alone else self._end)
        # An exception would not do: what catches all of them, in the middle of an import, would swallow it.
        self._before[signal.SIGINT] = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, self._end)

    def over(self) -> None:
        """Let signals do again what they did, but for those that others listen to by now. Local."""
        for one, before in self._before.items():
            if signal.getsignal(one) == self._end:
                signal.signal(one, before)  # type: ignore[arg-type]  # None: set by a library in C
        self._before = {}

    def exit(self, status: int) -> NoReturn:
        """End the program with a status that no signal changes any more. Local."""
        for one in STOPS:
            signal.signal(one, signal.SIG_IGN)
        sys.exit(status)

    def _end(self, number: int, frame: FrameType | None) -> None:
        for one in (*STOPS, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
        phases.over()
        self.let_go()
        if _launched():
            time.sleep(KILL_S if number in BY_LAUNCHERS else FIRST_S * bool(launch.env_rank(os.environ)))
        if number == signal.SIGINT:
            self._tell("dbmpi: interrupted\n", STATUS_INTERRUPTED)
        name = signal.Signals(number).name
        self._tell(
            f"dbmpi: stopped by {name}{self.until}: the same command starts it again\n", STATUS_STOPPED
        )

    def _tell(self, text: str, status: int) -> None:
        """Say why, if that can be said, and leave."""
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
            time.sleep(FORWARD_S * _launched())
        finally:
            self.leave(status)


def _launched() -> bool:
    """Return whether there are other ranks."""
    launched = launch.launcher_size(os.environ)
    return launched is not None and launched[1] > 1


EARLY = EarlySignals()  # of this process, as handlers are
