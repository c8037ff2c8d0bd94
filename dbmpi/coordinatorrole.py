"""What the coordinator is made of, and what it does from start to end."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from dbmpi import rundir
from dbmpi.blueprint import Blueprint, batches_of, origin, portions_plans

if TYPE_CHECKING:
    from dbmpi.coordinator import Coordinator
    from dbmpi.keeper import Keeper
    from dbmpi.metrics import Book
    from dbmpi.roster import Mail, Roster
    from dbmpi.sandblaster import Cluster, Shards
    from dbmpi.stopping import Stopping


def book(blueprint: Blueprint, started: float) -> "Book":
    """Make the book of the run, in its directory."""
    from dbmpi import progress
    from dbmpi.metrics import Book

    config, rows = blueprint.config, blueprint.setup.description.train_rows
    output = config.output
    iterations = config.sandblaster.iterations if config.batch else None
    shown = progress.make(output.progress, output.plain_every_s, config.train, rows, iterations)
    path = blueprint.setup.run_dir / rundir.METRICS
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
    from dbmpi.roster import Roster
    from dbmpi.stopping import Stopping

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
        from dbmpi.sandblaster import Sandblaster

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
    from dbmpi import manifest
    from dbmpi.keeper import Keeper

    last = max(manifest.numbers(blueprint.setup.run_dir), default=0)
    return Keeper(origin(blueprint), shards, book, stopping, last)


def _downpour(
    blueprint: Blueprint, roster: "Roster", book: "Book", stopping: "Stopping", keeper: "Keeper"
) -> "Coordinator":
    """Make the activity that is a run of Downpour, or the warmstart of a batch method."""
    from dbmpi.coordinator import Coordinator
    from dbmpi.ledger import Ledger, examples_in

    config, description = blueprint.config, blueprint.setup.description
    rows, train = description.train_rows, config.train
    examples = None if train.epochs is None else examples_in(train.epochs, rows)
    if config.batch:
        examples = config.sandblaster.warmstart_examples
    ledger = Ledger(portions_plans(blueprint), examples, train.steps)
    final = not config.batch
    return Coordinator(config, ledger, rows, description.test_rows, roster, book, stopping, keeper, final)
