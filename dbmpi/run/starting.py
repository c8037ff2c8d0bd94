"""How MPI starts, within a time, and how a job ends that fails. Without MPI until it starts."""

import faulthandler
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from dbmpi.comm import abort
from dbmpi.run import launch

if TYPE_CHECKING:
    from mpi4py import MPI

START_S = 300  # until MPI has started on all ranks; the variable names another number of seconds
START = "DBMPI_START_S"


@contextmanager
def bounded() -> Iterator[None]:
    """End this process with status 1 if MPI takes longer than START_S to start; rank 0 says where it stood.

    The library waits in C for all ranks, for ever, where one has died: no thread of Python could end that. On
    the launcher's host another process ends it much sooner.
    """
    from dbmpi.run.sentinel import watched

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
