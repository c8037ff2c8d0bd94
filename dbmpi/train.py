"""Train a network: `mpirun -n 64 python -m dbmpi.train [CONFIG.toml]`, or without mpirun, serially.

The outline of a run, from top to bottom: read the command line, load MPI, check everything, warm up, do the
work of this rank's role, and leave. What a role does stands in `run.roles`: `coordinator_rank`, `shard_rank`
and `replica_rank`. What a role does not use it does not import: 64 processes start at once.
"""

from dbmpi import imports

if __name__ == "__main__":
    imports.leave_out_working_directory()

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from dbmpi.run.start import first_sign
from dbmpi.run.start.early import EARLY

if __name__ == "__main__":
    EARLY.listen()  # before other imports, which take a moment
    first_sign.show(sys.argv[1:])

from dbmpi import phases
from dbmpi.comm import abort, ancestry
from dbmpi.comm.alone import Alone
from dbmpi.errors import PeerSilent, UserError
from dbmpi.run.start import cli, launch
from dbmpi.run.start.refusal import Refused, refuse, refuse_singleton
from dbmpi.run.start.starting import begin, listening
from dbmpi.screen import reported

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.comm.world import World
    from dbmpi.run.plan.setup import Setup
    from dbmpi.run.roles.context import RunContext
    from dbmpi.server.shard import Shard


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    started = time.monotonic()
    return listening(lambda: _main(sys.argv[1:] if argv is None else argv, started))


def _main(argv: Sequence[str], started: float) -> int:
    """Read the command line, and do what it says."""
    try:
        arguments = cli.parse(argv)
        from dbmpi.run.start import surroundings  # not for --help, and after Ctrl-C is taken care of

        warnings = surroundings.settle_process(os.environ)
        if arguments.dry_run or arguments.print_config:
            EARLY.over()
            surroundings.warn(warnings)
            with surroundings.scarcity():
                from dbmpi.run.plan.printed import print_report

                return reported(print_report(arguments))
    except UserError as error:
        return refuse(error)
    return begin(
        warnings,
        alone=lambda who: _train_alone(arguments, who, started),
        ranks=lambda comm, who: train(arguments, comm, who, started),
    )


def _train_alone(arguments: cli.Arguments, who: abort.RankIdentity, started: float) -> int:
    """Train in this one process, without MPI; return the exit status."""
    from dbmpi.run.roles import alone

    try:
        context = alone.begin(arguments, Alone(), who, started)
    except Refused as refused:
        return refused.status
    _listen(context, 0)
    return alone.train(context, started)


def train(arguments: cli.Arguments, comm: "MPI.Intracomm", who: abort.RankIdentity, started: float) -> int:
    """Check everything, and train as one rank of `comm`; return the exit status. Collective over `comm`."""
    from dbmpi.comm import ulfm
    from dbmpi.run.plan.setup import prepare
    from dbmpi.run.start import surroundings

    try:
        launch.check_world(os.environ, comm.Get_size(), arguments.words)
    except UserError as error:
        return refuse_singleton(error)
    with ulfm.readable(comm), surroundings.scarcity():
        try:
            setup = prepare(arguments, comm, who)
        except Refused as refused:
            return refused.status
    return _train(setup, comm, who, started)


def _train(setup: "Setup", comm: "MPI.Intracomm", who: abort.RankIdentity, started: float) -> int:
    """Train as one rank, as set up. Collective over `comm`."""
    from dbmpi.comm import ulfm
    from dbmpi.run.roles.last_checkpoint import naming_the_last_checkpoint
    from dbmpi.run.start import surroundings

    with naming_the_last_checkpoint(setup), ulfm.readable(comm, setup.topology):
        from dbmpi.run.roles.context import RunContext  # not before `prepare` has chosen the threads of numpy

        context = RunContext(setup)
        who.role, who.job = str(setup.topology.roles[comm.Get_rank()]), setup.job
        with surroundings.scarcity():
            _warm_up(context, comm, started)
        if setup.topology.serial:
            from dbmpi.run.roles import alone

            return alone.train(context, started)
        try:
            return _parallel(context, comm, who, started)
        except Refused as refused:
            return refused.status


def _warm_up(context: "RunContext", comm: "MPI.Intracomm", started: float) -> None:
    """Describe the run in its directory, and compile the kernels of this role. Collective over `comm`."""
    from dbmpi.run.roles.warmup import describe, warm_up

    describe(context.setup, comm, started)
    warm_up(context, comm)
    _listen(context, comm.Get_rank())


def _listen(context: "RunContext", rank: int) -> None:
    """Let signals stop the run in order from now on. Local."""
    phases.over()
    context.signals.install(context.config.checkpoint.signal, partial(_show, context.setup, rank))
    EARLY.over()


def _show(setup: "Setup", rank: int, text: str) -> None:
    """Say on rank 0 what the launcher does not pass on, unless it ends ranks as one of them has ended."""
    from dbmpi.process import seen_to_end

    if rank == 0 and not any(seen_to_end(place.process) for place in setup.places):
        ancestry.show(text)


def _parallel(context: "RunContext", comm: "MPI.Intracomm", who: abort.RankIdentity, started: float) -> int:
    """Split into roles; each does its work, and all leave together."""
    from dbmpi.comm import ulfm
    from dbmpi.comm.meeting import while_loading
    from dbmpi.comm.world import World
    from dbmpi.process import kill
    from dbmpi.run.roles.tracing import traced

    timeout_s, places = while_loading(context.config.cluster.timeout_s), context.setup.places
    who.end = lambda rank: kill(places[rank].process)
    with World(context.setup.topology, comm, timeout_s) as world:
        who.comms = world.comms
        with traced(context, world.service):
            status = _play(context, world, _shard(context, world), started)
        if ulfm.enabled():
            coordinator = context.setup.topology.coordinator
            ulfm.part(world.service, coordinator, context.waiter, status, who.end)
        _meet_at_the_end(context, world, status)
    return status


def _meet_at_the_end(context: "RunContext", world: "World", status: int) -> None:
    """Wait for all ranks, at the coordinator no longer than the deadline: all is written. Collective."""
    from dbmpi.comm.meeting import meet

    judges = world.role.kind == "coordinator"
    patience = 1.0 if judges else context.waiter.patience
    try:
        meet(world.service, "the end of the run", patience * context.config.cluster.timeout_s)
    except PeerSilent as error:
        if not judges:
            raise
        print(f"dbmpi: {error}: all is written, and the job is ended", file=sys.stderr, flush=True)
        world.service.Abort(status)


def _shard(context: "RunContext", world: "World") -> "Shard | None":
    """Make the shard of a rank that is one; none begins before all have read their checkpoint. Collective."""
    from dbmpi.run.start.refusal import READING_S, READS_PER_S, together

    def make() -> "Shard | None":
        if world.role.kind != "shard":
            return None
        from dbmpi.run.roles.shard_rank import shard

        return shard(context, world.role.shard_index)[0]

    saved = context.setup.resume
    if saved is None:
        return make()
    patience_s = max(context.config.cluster.timeout_s, READING_S) + saved.bytes / READS_PER_S
    return together(world.service, make, world.name(world.rank), patience_s)


def _play(context: "RunContext", world: "World", shard: "Shard | None", started: float) -> int:
    """Do what this rank's role is; return the exit status of the run."""
    if world.role.kind == "coordinator":
        from dbmpi.run.roles.coordinator_rank import run_coordinator

        return run_coordinator(context, world, started)
    if shard is not None:
        from dbmpi.run.roles.shard_rank import run_shard

        return run_shard(context, world, shard)
    from dbmpi.run.roles.replica_rank import run_replica, run_spare

    return run_replica(context, world) if world.role.kind == "replica" else run_spare(context, world)


if __name__ == "__main__":
    EARLY.exit(main())
