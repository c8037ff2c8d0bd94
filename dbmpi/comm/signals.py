"""Signals that end a run in order: they set a flag, which the service loops look at.

Whichever rank gets one, the coordinator hears of it by a message, and ends the run with a checkpoint. A batch
system's warning, SIGTERM and the first Ctrl-C are all the same; a second Ctrl-C, later than the echo that
launchers send of the first, ends the job at once.
"""

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.comm.protocol import SIGNAL, Tag

if TYPE_CHECKING:
    from mpi4py import MPI

BY_LAUNCHERS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
HURRY = (
    "the run stops, with a checkpoint if the launcher leaves it the time; on SIGUSR1 the launcher leaves it "
    "all it needs"
)
ECHO_S = 1.0  # a terminal's Ctrl-C may come from the launcher once more


class Signals:
    """What has been received; `name` is the signal's, or empty."""

    def __init__(self) -> None:
        self.number = 0
        self._since = 0.0
        self._show: Callable[[str], object] = str

    def __bool__(self) -> bool:
        return self.number != 0

    @property
    def name(self) -> str:
        """The name of the first signal received, as in SIGUSR1."""
        return signal.Signals(self.number).name if self.number else ""

    def install(self, name: str, show: Callable[[str], object] = str) -> None:
        """Receive the signals that stop a run from now on. Local.

        They are SIGTERM, SIGINT, SIGXCPU, the signal of this name unless it is "none", and where they are not
        ignored those that ranks would die of, as launchers pass them on to all; SIGHUP among them, which
        nohup ignores, and a process that is alone, as it goes on without its terminal. Of those that
        launchers pass on as they end themselves, `show` gets a line.
        """
        self._show = show
        # SIGXCPU comes between the soft limit of CPU time and the hard one.
        names = ["TERM", "INT", "XCPU", *([name] if name != "none" else [])]
        deadly = "HUP", "USR1", "USR2", "ALRM"
        names += [one for one in deadly if signal.getsignal(signal.Signals[f"SIG{one}"]) != signal.SIG_IGN]
        for one in names:
            signal.signal(signal.Signals[f"SIG{one}"], self._receive)

    def note(self, number: int) -> None:
        """Take in a signal that another rank has received."""
        if not self.number:
            self.number, self._since = number, time.monotonic()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again = number == self.number == signal.SIGINT and time.monotonic() - self._since > ECHO_S
        if again:
            self._since = time.monotonic()  # of a third: what is imported meanwhile may have caught this one
            raise KeyboardInterrupt
        if not self.number and number in BY_LAUNCHERS:
            self._show(f"dbmpi: {signal.Signals(number).name}: {HURRY}\n")
        self.note(number)


class SignalForwarder:
    """Tells the coordinator, once, that this rank has received a signal to stop.

    Parameters
    ----------
    comm, coordinator
        The service communicator, and the coordinator's world rank.
    signals
        What has been received.
    """

    def __init__(self, comm: "MPI.Intracomm", coordinator: int, signals: Signals) -> None:
        self._comm, self._coordinator, self._signals = comm, coordinator, signals
        self._request: MPI.Request | None = None

    def poll(self) -> None:
        """Send the message if it is time. Local."""
        if self._signals and self._request is None:
            record = np.full(1, self._signals.number, SIGNAL)
            self._request = self._comm.Isend(record.view(np.uint8), self._coordinator, Tag.SIGNAL)

    def close(self) -> None:
        """Let go of the message, which nobody may be waiting for any more. Local."""
        if self._request is not None:
            self._request.Free()
