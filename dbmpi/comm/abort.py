"""The failure path: one readable message, the traceback, and the end of the whole job.

An exception on one rank would leave the others waiting for ever, so it aborts the job: with status
1, or 2 where the user can mend it. The program installs this itself, for the main thread and for
every other one. Many ranks often meet one failure at once (a silent peer, a damaged file): the first
on a node speaks for all.
"""

import faulthandler
import hashlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from dbmpi.errors import (
    STATUS_FAILURE,
    STATUS_STOPPED,
    STATUS_USER_ERROR,
    CoordinatorDied,
    JobEnded,
    PeerDied,
    PeerSilent,
    ProtocolError,
    Unreadable,
    UserError,
)

if TYPE_CHECKING:
    from mpi4py import MPI

Abort = Callable[[int], None]
STATUS_INTERRUPTED = 130  # 128 + SIGINT
FORWARD_S = 0.3  # launchers drop what a rank wrote just before it aborts the job (MPICH's does)
SECOND_S = 5.0  # a rank that is not the first to fail waits so long for the first to end it
PLAIN = UserError, PeerSilent, PeerDied, ProtocolError, Unreadable  # whose text says all: no traceback


class RankIdentity:
    """How this rank is called in messages: by its number, and by its role once it has one.

    `job` is a text that only the ranks of this job know, once they do; until then all may speak.
    `comms` are its communicators, once it has any;
    `give_way` is what a rank does that is not the first to fail.
    """

    def __init__(self, rank: int) -> None:
        self.rank, self.role, self.job = rank, "", ""
        self.comms: Sequence[MPI.Intracomm] = []
        self.give_way: Callable[[], None] = lambda: time.sleep(SECOND_S)
        self._claim: socket.socket | None = None

    def __call__(self) -> str:
        """Return the name."""
        return f"rank {self.rank}{f' ({self.role})' if self.role else ''}"

    def speaks(self) -> bool:
        """Return whether no rank of this job on this node has failed before. Local.

        The claim is a name for a socket without a file: it goes when the process goes, and no file
        system that hangs can delay it.
        """
        if not self.job:
            return True
        digest = hashlib.sha256(f"{os.getuid()} {self.job}".encode()).hexdigest()
        self._claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._claim.bind(f"\0dbmpi-{digest}")
        except OSError:
            return False
        return True


def interrupt_once() -> None:
    """Let the first Ctrl-C end the program, and no other: it may come from terminal and launcher both.

    A second one, in the middle of the first one's message, would make another.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


def guarded(body: Callable[[], int], who: RankIdentity, abort: Abort) -> int:
    """Run `body`, and abort the job if it raises, in this thread or in another.

    Parameters
    ----------
    body
        What to run; returns the exit status.
    who
        Rank and role, for the message.
    abort
        Ends the job with a status: `MPI.COMM_WORLD.Abort`, or less where there is one process.

    Returns
    -------
    int
        The status of `body`, where it did not raise.
    """
    threading.excepthook = lambda args: _fail(args.exc_value, who, abort)
    try:
        return body()
    except (Exception, KeyboardInterrupt) as error:
        return _fail(error, who, abort)


def _fail(error: BaseException | None, who: RankIdentity, abort: Abort) -> int:
    """Report an error and abort; return the status, should `abort` return."""
    status = STATUS_USER_ERROR if isinstance(error, UserError) else STATUS_FAILURE
    if isinstance(error, CoordinatorDied):
        status = STATUS_STOPPED
    if isinstance(error, KeyboardInterrupt):
        status = STATUS_INTERRUPTED
    sys.stdout.flush()
    if not isinstance(error, JobEnded) and who.speaks():
        sys.stderr.write(report(error, who()))
        sys.stderr.flush()
        if isinstance(error, PeerSilent):
            faulthandler.dump_traceback(all_threads=True)
        time.sleep(FORWARD_S)
    else:
        who.give_way()
    abort(status)
    return status


def report(error: BaseException | None, who: str) -> str:
    """Return the message: one line with rank, role, host and error; then the traceback, if it helps."""
    if isinstance(error, KeyboardInterrupt):
        return f"dbmpi: {who}: interrupted\n"
    name = "" if isinstance(error, PLAIN) else f"{type(error).__name__}: "
    line = f"dbmpi: {who} on {socket.gethostname()}: {name}{error}\n"
    if not isinstance(error, PLAIN) and error is not None:
        line += "".join(traceback.format_exception(error))
    return line


def leave(status: int) -> None:
    """End a process that is alone, from whichever thread."""
    os._exit(status)
