"""The failure path: one readable message, the traceback, and the end of the whole job.

An exception on one rank would leave the others waiting for ever, so it aborts the job: with status
1, or 2 where the user can mend it. The program installs this itself, for the main thread and for
every other one. Many ranks often meet one failure at once (a silent peer, a damaged file): the first
on a node speaks for all.

Of MPI the main thread does everything, but for this: a thread that fails ends the job itself, as the main
thread may be in a call that never returns. That takes MPI_THREAD_MULTIPLE, which mpi4py asks for; where MPI
gives less, such a thread just ends its process, and the launcher the job.
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
from typing import TYPE_CHECKING

from dbmpi import phases
from dbmpi.comm.scarcity import lacking
from dbmpi.errors import (
    STATUS_FAILURE,
    STATUS_INTERRUPTED,
    STATUS_STOPPED,
    STATUS_TAKEN_OVER,
    CoordinatorDied,
    Fenced,
    JobEnded,
    PeerDied,
    PeerSilent,
    ProtocolError,
    TakenOver,
    Unreadable,
    UserError,
)

if TYPE_CHECKING:
    from mpi4py import MPI

Abort = Callable[[int], None]
FORWARD_S = 0.3  # launchers drop what a rank wrote just before it aborts the job (MPICH's does)
SECOND_S = 5.0  # a rank that is not the first to fail waits so long for the first to end it
STILL_S = 3600.0  # longer than the others take to save; the job ends then
# Whose text says all: no traceback.
PLAIN = UserError, PeerSilent, PeerDied, ProtocolError, Unreadable, TakenOver


class RankIdentity:
    """How this rank is called in messages: by its number, and by its role once it has one.

    `job` is a text that only the ranks of this job know, once they do; until then all may speak.
    `let_go` gives up what this rank holds and other jobs wait for, whichever way it leaves; more than once.
    `comms` are its communicators, once it has any;
    `give_way` is what a rank does that is not the first to fail, and `leave_alone` one that the run goes on
    without: where to leave would end the job, it waits for that end. `end(rank)` kills another rank, if it is
    known and can be reached from here, and returns whether it is gone.
    """

    def __init__(self, rank: int) -> None:
        self.rank, self.role, self.job = rank, "", ""
        self.comms: Sequence[MPI.Intracomm] = []
        self.let_go: Callable[[], None] = lambda: None
        self.give_way: Callable[[], None] = lambda: time.sleep(SECOND_S)
        self.leave_alone: Callable[[], None] = lambda: time.sleep(STILL_S)
        self.end: Callable[[int], bool] = lambda rank: False
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
        if self._claim is not None:  # another thread has
            return False
        digest = hashlib.sha256(f"{os.getuid()} {self.job}".encode()).hexdigest()
        self._claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._claim.bind(f"\0dbmpi-{digest}")
        except OSError:
            return False
        return True


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
        status = body()
    except (Exception, KeyboardInterrupt) as error:
        return _fail(error, who, abort)
    except SystemExit:
        who.let_go()
        raise
    who.let_go()
    return status


def _fail(error: BaseException | None, who: RankIdentity, abort: Abort) -> int:
    """Report an error and abort; return the status, should `abort` return."""
    if isinstance(error, Fenced):
        _leave_fenced(who)  # with what it holds: the run goes on with that
    else:
        who.let_go()
    status = error.status if isinstance(error, UserError) else STATUS_FAILURE
    if isinstance(error, CoordinatorDied):
        status = STATUS_STOPPED
    if isinstance(error, TakenOver):
        status = STATUS_TAKEN_OVER
    if isinstance(error, KeyboardInterrupt):
        status = STATUS_INTERRUPTED
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # another would make another message
    try:
        _tell(error, who)
    finally:  # whatever can be told
        abort(status)
    return status


def _tell(error: BaseException | None, who: RankIdentity) -> None:
    """Report an error, if no other rank has; else let the first one do it.

    Where this rank stood as it waited for a silent one is of use to who looks for a mistake in the program:
    it is told where Python's own fault handler is on (PYTHONFAULTHANDLER=1).
    """
    phases.over()
    sys.stdout.flush()
    if isinstance(error, JobEnded) or not who.speaks():
        who.give_way()
        return
    print(report(error, who()), end="", file=sys.stderr, flush=True)
    if isinstance(error, PeerSilent) and faulthandler.is_enabled():
        print(stacks(), end="", file=sys.stderr, flush=True)
    time.sleep(FORWARD_S)


def stacks() -> str:
    """Return where every thread of this process is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():
        parts.append(f"{names.get(ident, 'a thread')} (most recent call first):\n")
        parts += reversed(traceback.format_stack(frame))
    return "".join(parts)


def _leave_fenced(who: RankIdentity) -> None:
    """Say that the run goes on without this rank, and let go of it."""
    text = "was silent for too long: the run goes on without it, and it leaves"
    sys.stderr.write(f"dbmpi: {who()} on {socket.gethostname()}: {text}\n")
    sys.stderr.flush()
    who.leave_alone()


def report(error: BaseException | None, who: str) -> str:
    """Return the message: one line with rank, role, host and error; then the traceback, if it helps."""
    if isinstance(error, KeyboardInterrupt):
        return f"dbmpi: {who}: interrupted\n"
    told = str(error) if isinstance(error, PLAIN) else lacking(error)
    if isinstance(error, UserError):
        told = error.whole
    text = told or f"{type(error).__name__}: {error}"
    line = f"dbmpi: {who} on {socket.gethostname()}: {text}\n"
    if told is None and error is not None:
        line += "".join(traceback.format_exception(error))
    return line


def by_main_thread(end: Abort) -> Abort:
    """Return what ends the job as `end` does if the main thread calls it, and else leaves. Local."""

    def end_or_leave(status: int) -> None:
        (end if threading.current_thread() is threading.main_thread() else leave)(status)

    return end_or_leave


def leave(status: int) -> None:
    """End a process that is alone, from whichever thread."""
    os._exit(status)
