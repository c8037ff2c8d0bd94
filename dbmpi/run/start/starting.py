"""How a command of one or many ranks begins, how MPI starts, within a time, and how a job ends that fails.

Without MPI until it starts.
"""

import faulthandler
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from dbmpi import phases
from dbmpi.comm import abort
from dbmpi.errors import UserError
from dbmpi.run.start import launch, stale_variables
from dbmpi.run.start.early import EARLY
from dbmpi.run.start.refusal import refuse_on_node, refuse_without_mpi
from dbmpi.screen import screens

if TYPE_CHECKING:
    from mpi4py import MPI

START_S = 300  # until MPI has started on all ranks; the variable names another number of seconds
START = "DBMPI_START_S"


def listening(run: Callable[[], int]) -> int:
    """Run a command line, which signals may end from the first; return the exit status. Local."""
    with screens():
        try:
            if stale_variables.forget(os.environ):
                EARLY.over()  # who is alone listens to less
            EARLY.listen()
            return run()
        except KeyboardInterrupt:  # where no role has begun
            print("dbmpi: interrupted", file=sys.stderr, flush=True)
            return abort.STATUS_INTERRUPTED
        finally:
            phases.over()
            EARLY.over()


def begin(
    warnings: list[str],
    alone: Callable[[abort.RankIdentity], int],
    ranks: Callable[["MPI.Intracomm", abort.RankIdentity], int],
) -> int:
    """Do the work of a command line: alone, or with MPI as one rank of many. Return the exit status.

    Parameters
    ----------
    warnings
        Of the process (`surroundings.settle_process`); they are printed with those of what MPI will meet.
    alone, ranks
        What is done in this one process without MPI, and what is done as a rank of all.
    """
    from dbmpi.run.start import surroundings

    try:
        warnings = [*warnings, *stale_variables.warnings(), *surroundings.settle(os.environ)]
    except UserError as error:
        return refuse_on_node(error)
    surroundings.warn(warnings)
    if not launch.launched(os.environ):
        who = _known(0)
        return abort.guarded(lambda: alone(who), who, abort.leave)
    phases.phase("starting MPI")
    try:
        with bounded():
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        return refuse_without_mpi(error)
    comm = MPI.COMM_WORLD
    who = _known(comm.Get_rank())
    EARLY.leave = end = end_of_job(comm, who)
    return abort.guarded(lambda: ranks(comm, who), who, end)


def _known(rank: int) -> abort.RankIdentity:
    """Return what this rank is called; an early signal gives up what it holds by then."""
    who = abort.RankIdentity(rank)
    EARLY.let_go = lambda: who.let_go()
    return who


@contextmanager
def bounded() -> Iterator[None]:
    """End this process with status 1 if MPI takes longer than START_S to start; rank 0 says where it stood.

    The library waits in C for all ranks, for ever, where one has died: no thread of Python could end that. On
    the launcher's host another process ends it much sooner.
    """
    from dbmpi.run.start.sentinel import watched

    with watched(os.environ), open(os.devnull, "w") as nothing:
        shown = 2 if launch.env_rank(os.environ) == 0 else nothing  # standard error, also where it is closed
        patience_s = launch.number(os.environ.get(START)) or START_S
        faulthandler.dump_traceback_later(patience_s, exit=True, file=shown)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def end_of_job(comm: "MPI.Intracomm", who: abort.RankIdentity) -> abort.Abort:
    """Return what ends the job after a failure."""
    if comm.Get_size() == 1:
        return abort.leave
    from mpi4py import MPI

    from dbmpi.comm import ulfm

    end: abort.Abort = comm.Abort
    if ulfm.enabled():
        who.leave_alone = ulfm.die_silently
        who.give_way = partial(ulfm.die_silently, ulfm.GIVE_WAY_S)
        end = lambda status: ulfm.end_job([comm, *who.comms], status, who.end)  # noqa: E731
    return end if MPI.Query_thread() == MPI.THREAD_MULTIPLE else abort.by_main_thread(end)
