"""What the coordinator is made of, and what it does from start to end."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from dbmpi.output import run_directory
from dbmpi.run.context import Blueprint, batches_of, origin, portions_plans

if TYPE_CHECKING:
    from dbmpi.comm.world import World
    from dbmpi.coordinator.checkpoint_manager import Keeper
    from dbmpi.coordinator.cluster import Cluster, Shards
    from dbmpi.coordinator.downpour import Coordinator
    from dbmpi.coordinator.replicas import Mail, Roster
    from dbmpi.coordinator.stopping import Stopping
    from dbmpi.output.metrics import Book
    from dbmpi.run.setup import Setup


def book(blueprint: Blueprint, started: float) -> "Book":
    """Make the book of the run, in its directory."""
    from dbmpi.output import progress
    from dbmpi.output.metrics import Book

    config, rows = blueprint.config, blueprint.setup.description.train_rows
    output = config.output
    iterations = config.sandblaster.iterations if config.batch else None
    shown = progress.make(output.progress, output.plain_every_s, config.train, rows, iterations)
    path = blueprint.setup.run_dir / run_directory.METRICS
    return Book(path, rows, blueprint.labels, output.every_s, shown, started)


def coordinate(
    blueprint: Blueprint, cluster: "Cluster", mail: "Mail", book: "Book", name: Callable[[int, int], str]
) -> "Stopping":
    """Do all that the coordinator does, up to the final evaluation; return why the run ended.

    Parameters
    ----------
    cluster
        What drives activities and reaches the shards.
    mail, book, name
        As `Roster` and `Activity` take them.
    """
    from dbmpi.coordinator.replicas import Roster
    from dbmpi.coordinator.stopping import Stopping

    config, topology = blueprint.config, blueprint.setup.topology
    shape = (len(topology.replicas), topology.partitions)
    roster = Roster(shape, config.cluster.timeout_s, mail, name)
    stopping, saved = Stopping(config.train, blueprint.signals), blueprint.setup.resume
    state = saved.manifest.state if saved is not None else {}
    if state:
        book.restore(state["book"])
        stopping.restore(state["stopping"])
    book.start(roster.clock())
    if saved is not None:
        book.event(f"goes on from checkpoint {saved.manifest.number}, after {book.examples:,} examples")
    keeper = _keeper(blueprint, cluster.shards, book, stopping)
    if config.uses_downpour and not (config.batch and "sandblaster" in state):
        activity = _downpour(blueprint, roster, book, stopping, keeper)
        if "downpour" in state:
            activity.restore(state["downpour"])
        cluster.drive(activity)
    if config.batch:
        from dbmpi.sandblaster.training import Sandblaster

        description = blueprint.setup.description
        rows = description.train_rows, description.test_rows
        batches = batches_of(blueprint)
        run = Sandblaster(config, batches, rows, cluster, roster, book, stopping, keeper)
        if "sandblaster" in state:
            run.restore(state["sandblaster"])
        run.train()
    keeper.finish()
    return stopping


def _keeper(blueprint: Blueprint, shards: "Shards", book: "Book", stopping: "Stopping") -> "Keeper":
    """Make what takes checkpoints."""
    from dbmpi.checkpoint.directory import checkpoint_numbers
    from dbmpi.coordinator.checkpoint_manager import Keeper

    last = max(checkpoint_numbers(blueprint.setup.run_dir), default=0)
    return Keeper(origin(blueprint), shards, book, stopping, last)


def _downpour(
    blueprint: Blueprint, roster: "Roster", book: "Book", stopping: "Stopping", keeper: "Keeper"
) -> "Coordinator":
    """Make the activity that is a run of Downpour, or the warmstart of a batch method."""
    from dbmpi.coordinator.downpour import Coordinator
    from dbmpi.coordinator.portion_scheduler import Ledger
    from dbmpi.data.portions import examples_in

    config, description = blueprint.config, blueprint.setup.description
    rows, train = description.train_rows, config.train
    examples = None if train.epochs is None else examples_in(train.epochs, rows)
    if config.batch:
        examples = config.sandblaster.warmstart_examples
    ledger = Ledger(portions_plans(blueprint), examples, train.steps)
    final = not config.batch
    return Coordinator(config, ledger, rows, description.test_rows, roster, book, stopping, keeper, final)


def run_coordinator(blueprint: "Blueprint", world: "World", started: float) -> int:
    """Lead the run from its first assignment to its summary; return the exit status."""
    from dbmpi.coordinator.dispatcher import Post
    from dbmpi.coordinator.service import CoordinatorService

    setup = blueprint.setup
    log = book(blueprint, started)
    post = Post(world.service, setup.topology)
    replicas = setup.topology.replicas
    every_s = blueprint.config.output.shard_every_s
    service = CoordinatorService(
        world.service,
        setup.topology,
        post,
        log,
        blueprint.waiter,
        every_s,
        blueprint.signals,
        blueprint.mirrors,
    )

    def name(replica: int, partition: int) -> str:
        return world.name(replicas[replica][partition])

    stopping = coordinate(blueprint, service, post, log, name)
    if not stopping.hasty:
        service.shards.save_model()
    service.dismiss(stopping.status)
    return conclude(setup, log, stopping)


def conclude(setup: "Setup", book: "Book", stopping: "Stopping") -> int:
    """Write the summary, and say how the run ended and where everything is."""
    from dbmpi.files import write_json, write_text
    from dbmpi.output import run_directory
    from dbmpi.output.summary import conclusion, summary

    content = summary(book, stopping.reason, stopping.status)
    write_json(setup.run_dir / run_directory.SUMMARY, content)
    book.close()
    print(conclusion(content, setup.run_dir), flush=True)
    if stopping.finished:
        write_text(setup.run_dir / run_directory.FINISHED, f"{stopping.reason}\n")
    else:
        print("dbmpi: stopped before its end: the same command, or --resume, goes on from there", flush=True)
    if stopping.lost:
        print(f"dbmpi: error: {stopping.advice}", file=sys.stderr, flush=True)
    return stopping.status
