"""A run in one process without MPI: what `dbmpi.train` and the estimators of `dbmpi.api` share.

Nothing here touches what belongs to the process: its signals, its environment, its end.
"""

from typing import TYPE_CHECKING, cast

from dbmpi.run.plan.setup import prepare
from dbmpi.run.roles.warmup import describe, warm_up
from dbmpi.run.start import cli, surroundings

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.comm.abort import RankIdentity
    from dbmpi.comm.alone import Alone
    from dbmpi.output.progress import Progress
    from dbmpi.run.roles.context import RunContext


def begin(arguments: cli.Arguments, comm: "Alone", who: "RankIdentity", started: float) -> "RunContext":
    """Check everything, describe the run in its directory, and load kernels: all up to the first step.

    Parameters
    ----------
    comm
        This process, or as a `Guest` that of somebody else.
    who
        It is told what to give up when the run is left: `who.let_go`.
    started
        When the program was, `time.monotonic`.

    Raises
    ------
    Refused
        As `prepare`.
    UserError
        There is too little of something, or a library cannot be loaded.
    """
    world = cast("MPI.Intracomm", comm)
    with surroundings.scarcity():
        setup = prepare(arguments, world, who)
        from dbmpi.run.roles.context import RunContext  # not before `prepare` has chosen the threads of numpy

        context = RunContext(setup)
        who.role = str(setup.topology.roles[0])
        describe(setup, world, started)
        warm_up(context, world)
    return context


def train(context: "RunContext", started: float, shown: "Progress | None" = None) -> int:
    """Play all roles; return the exit status of the run.

    Parameters
    ----------
    started
        When the program was, `time.monotonic`.
    shown
        What the user sees; None for what `output.progress` asks for.
    """
    from dbmpi.run.roles import coordinator_rank, serial
    from dbmpi.run.roles.tracing import traced

    log = coordinator_rank.metrics_log(context, started, shown)
    context.opened.callback(log.close)
    with traced(context):
        return serial.run(context, log)
