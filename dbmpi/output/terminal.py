"""The terminal that a person watches: that of the launcher, or of a process that no launcher has started.

What ranks print goes by way of their launcher. Open MPI's passes on whole lines alone, so that a bar, which
never is one, comes at its end; MPICH gives ranks no terminal. So what is drawn again and again is written
to the launcher's own terminal, opened by way of /proc where the launcher runs on this host. Where that is no
terminal, or cannot be opened, nothing is drawn. Without MPI.
"""

import os
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from dbmpi.comm import ancestry

DUMB = "", "dumb"  # TERM where a line cannot be drawn again
UNSEEN = "PMIX_RANK"  # of a launcher: its ranks have a terminal that nobody watches
COLUMNS = 80  # where a terminal does not say
OPENED = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC


class Watched(Protocol):
    """Where a line can be drawn again and again."""

    def watched(self) -> bool:
        """Return whether somebody may look at it now."""

    def columns(self) -> int:
        """Return how wide it is."""

    def write(self, text: str) -> None:
        """Write a text, or a part of it: nothing raises."""


class Terminal:
    """The terminal of a process, opened anew: so nothing here waits for it, and others do not notice.

    Parameters
    ----------
    descriptor
        It, open for writing.
    pid
        The process.
    proc
        Where the system shows processes.
    """

    def __init__(self, descriptor: int, pid: int, proc: Path = ancestry.PROC) -> None:
        self._descriptor, self._pid, self._stat = descriptor, pid, proc / str(pid) / "stat"
        self._encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        self._began, self._lost = self._look()[1], False

    def watched(self) -> bool:
        """Return whether the process runs, in the foreground. One that is stopped draws nothing."""
        foreground, began = self._look()
        return foreground and began == self._began and not self._lost

    def _look(self) -> tuple[bool, str]:
        """Return whether the process is in the foreground, and when it began."""
        try:
            state, _, group, _, _, front, *more = self._stat.read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            return self._pid == os.getpid(), ""  # there is no /proc
        return state not in "TtZX" and front in (group, "-1"), more[13]

    def columns(self) -> int:
        """Return how wide it is now."""
        with suppress(OSError, ValueError):
            return os.get_terminal_size(self._descriptor).columns or COLUMNS
        return COLUMNS

    def write(self, text: str) -> None:
        """Write a text. A terminal that is held (Ctrl-S) loses it; to one that is gone no more is written."""
        try:
            os.write(self._descriptor, text.encode(self._encoding, "replace"))
        except BlockingIOError:
            pass
        except OSError:
            self._lost = True


class Stream:
    """Standard output, whatever it is, for who asks for a bar where there is no terminal."""

    def watched(self) -> bool:
        """Return that it may be."""
        return True

    def columns(self) -> int:
        """Return how wide a terminal would be."""
        return COLUMNS

    def write(self, text: str) -> None:
        """Write a text."""
        sys.stdout.write(text)
        sys.stdout.flush()


def find(env: Mapping[str, str] = os.environ, proc: Path = ancestry.PROC, output: int = 1) -> Terminal | None:
    """Return the terminal that an output of this process comes to; None where none is seen. Local.

    Parameters
    ----------
    output
        1 for standard output, 2 for standard error.
    """
    if env.get("TERM", "") in DUMB:
        return None
    pid = ancestry.foremost(proc=proc)
    if pid is None and UNSEEN in env:
        return None
    return opened(os.getpid() if pid is None else pid, proc, output)


def opened(pid: int, proc: Path = ancestry.PROC, output: int = 1) -> Terminal | None:
    """Return the terminal that a process of this host writes to; None where that is none, or not for us."""
    with suppress(OSError):
        file = proc / str(pid) / "fd" / str(output)
        if not stat.S_ISCHR(file.stat().st_mode):
            return None
        descriptor = os.open(file, OPENED)
        if os.isatty(descriptor):
            return Terminal(descriptor, pid, proc)
        os.close(descriptor)
    return None
