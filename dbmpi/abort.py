"""The failure path: one readable message, the traceback, and the end of the whole job.

An exception on one rank would leave the others waiting for ever, so it aborts the job: with status
1, or 2 where the user can mend it. The program installs this itself, for the main thread and for
every other one.
"""

import faulthandler
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable

from dbmpi.errors import STATUS_FAILURE, STATUS_USER_ERROR, PeerSilent, UserError

Abort = Callable[[int], None]
STATUS_INTERRUPTED = 130  # 128 + SIGINT


def guarded(body: Callable[[], int], who: Callable[[], str], abort: Abort) -> int:
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
    threading.excepthook = lambda args: _fail(args.exc_value, who(), abort)
    try:
        return body()
    except KeyboardInterrupt:
        print(f"dbmpi: {who()}: interrupted", file=sys.stderr, flush=True)
        abort(STATUS_INTERRUPTED)
        return STATUS_INTERRUPTED
    except Exception as error:
        return _fail(error, who(), abort)


def _fail(error: BaseException | None, who: str, abort: Abort) -> int:
    """Report an error and abort; return the status, should `abort` return."""
    status = STATUS_USER_ERROR if isinstance(error, UserError) else STATUS_FAILURE
    sys.stdout.flush()
    sys.stderr.write(report(error, who))
    sys.stderr.flush()
    if isinstance(error, PeerSilent):
        faulthandler.dump_traceback(all_threads=True)
    abort(status)
    return status


def report(error: BaseException | None, who: str) -> str:
    """Return the message: one line with rank, role, host and error; then the traceback, if it helps."""
    name = "" if isinstance(error, UserError | PeerSilent) else f"{type(error).__name__}: "
    line = f"dbmpi: {who} on {socket.gethostname()}: {name}{error}\n"
    if not isinstance(error, UserError | PeerSilent) and error is not None:
        line += "".join(traceback.format_exception(error))
    return line


def leave(status: int) -> None:
    """End a process that is alone, from whichever thread."""
    os._exit(status)
