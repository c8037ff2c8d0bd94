"""What each role is made of: the objects of a run, put together from its setup."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbmpi import rundir, sharding
from dbmpi.operations import PARAMETERS
from dbmpi.partition import Partitioning
from dbmpi.sharding import MAX_PIECE_BYTES, Piece
from dbmpi.signals import Signals
from dbmpi.waiting import Waiter

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.batches import Batches
    from dbmpi.client import Link
    from dbmpi.coordinator import Coordinator
    from dbmpi.keeper import Keeper
    from dbmpi.manifest import Checkpoint
    from dbmpi.metrics import Book
    from dbmpi.mirror import Mirror
    from dbmpi.origin import Origin
    from dbmpi.portions import Plan, Plans
    from dbmpi.replica import Replica
    from dbmpi.roster import Mail, Roster
    from dbmpi.sandblaster import Cluster, Shards
    from dbmpi.server import ShardService
    from dbmpi.setup import Setup
    from dbmpi.shard import Shard
    from dbmpi.slices import Slices
    from dbmpi.stopping import Stopping

Array = NDArray[Any]
DRAW_STRIDE = 1 << 20  # between the seeds of the replicas' dropout


class Blueprint:
    """What follows from the setup alone, the same on every rank."""

    def __init__(self, setup: "Setup") -> None:
        self.setup, self.config = setup, setup.config
        self.dtype = np.dtype(self.config.model.dtype)
        topology = setup.topology
        self.plan = Partitioning(setup.network, topology.partitions, self.config.cluster.grid)
        largest = MAX_PIECE_BYTES // self.dtype.itemsize
        self.pieces = sharding.cut(self.plan.sizes, len(topology.shards), largest)
        self.waiter = Waiter(self.config.cluster.timeout_s, setup.crowded)
        self.signals = Signals()

    @property
    def mirrors(self) -> bool:
        """Whether shards are mirrored, and have the coordinator's will, for where ranks may die."""
        if not self.config.checkpoint.mirror_s:
            return False
        from dbmpi.failures import enabled

        return enabled()

    @property
    def labels(self) -> bool:
        """Whether targets are class labels."""
        return self.setup.description.classes is not None


def shard(blueprint: Blueprint, index: int) -> "tuple[Shard, Array]":
    """Make shard `index` with its first parameters; return these too, one piece after another."""
    from dbmpi import initialize, rule
    from dbmpi.batches import vectors_of
    from dbmpi.shard import Shard

    config, mine = blueprint.config, sharding.of_shard(blueprint.pieces, index)
    ends = list(accumulate(piece.size for piece in mine))
    ranges = [(end - piece.size, end) for piece, end in zip(mine, ends, strict=True)]
    matrix = np.zeros((vectors_of(config), sum(piece.size for piece in mine)), blueprint.dtype)
    held = {
        piece: matrix[PARAMETERS, start:stop] for piece, (start, stop) in zip(mine, ranges, strict=True)
    }
    for piece, room in held.items():
        initialize.piece(blueprint.plan, piece, config.train.seed, room)
    limits = config.downpour if config.uses_downpour else replace(config.downpour, rule="sgd")  # no state
    slices = None
    if config.batch:
        from dbmpi.slices import Slices

        slices = Slices(matrix, mine)
    made = Shard(index, held, rule.make(limits), limits, slices)
    if blueprint.setup.resume is not None:
        restore_shard(blueprint, blueprint.setup.resume, made, held, slices)
    return made, matrix[PARAMETERS]


def restore_shard(
    blueprint: Blueprint,
    saved: "Checkpoint",
    shard: "Shard",
    held: "Mapping[Piece, Array]",
    slices: "Slices | None",
) -> None:
    """Fill a shard with its share of a checkpoint, whatever the shape that wrote it."""
    from dbmpi import manifest
    from dbmpi.assembly import Reader
    from dbmpi.sandblaster import continues

    state = saved.manifest.state.get("sandblaster")
    goes_on = slices is not None and state and continues(blueprint.config.sandblaster, state)
    kept = state["vectors"] if state and goes_on else []
    with Reader(saved.index, blueprint.plan) as reader:
        for piece, values in held.items():
            reader.read(manifest.PARAMETERS, piece, values)
            for name, values in zip(shard.rule.states, shard.held[piece.index].states, strict=True):
                if reader.has(manifest.rule_vector(name)):
                    reader.read(manifest.rule_vector(name), piece, values)
            for number in kept:
                reader.read(manifest.numbered_vector(number), piece, shard.part(number, piece.index))
        shard.restore(reader.updates(blueprint.pieces))


def shard_service(
    blueprint: Blueprint, comm: "MPI.Intracomm", index: int, among: "MPI.Intracomm | None" = None
) -> "ShardService":
    """Make the service of shard `index` on the service communicator; `among` the shards there are mirrors."""
    from dbmpi.server import ShardService
    from dbmpi.snapshot import Saver

    setup = blueprint.setup
    state, _ = shard(blueprint, index)
    owners = sharding.Owners(len(setup.topology.shards))
    save = partial(save_model, blueprint, remote_reader(blueprint, comm, state, owners))
    saver, every_s = Saver(setup.run_dir, index), blueprint.config.output.shard_every_s
    mirrored = mirror(blueprint, among, state, owners) if among is not None and blueprint.mirrors else None
    if mirrored is not None:  # so that what is lost with a shard is known
        every_s = min(every_s, blueprint.config.checkpoint.mirror_s / 2)
    return ShardService(
        state,
        comm,
        setup.topology.coordinator,
        blueprint.waiter,
        save,
        saver,
        blueprint.signals,
        every_s,
        owners,
        mirrored,
    )


def mirror(
    blueprint: Blueprint, among: "MPI.Intracomm", state: "Shard", owners: sharding.Owners
) -> "Mirror":
    """Make what mirrors a shard, `among` all of them."""
    from dbmpi import manifest
    from dbmpi.mirror import Mirror

    names = [manifest.PARAMETERS, *map(manifest.rule_vector, state.rule.states)]
    config = blueprint.config
    every_s = config.checkpoint.mirror_s if config.uses_downpour else math.inf  # else by order alone
    return Mirror(among, state.index, owners, blueprint.pieces, names, blueprint.dtype, every_s)


def remote_reader(
    blueprint: Blueprint, comm: "MPI.Intracomm", state: "Shard", owners: sharding.Owners
) -> Callable[[Piece], Array]:
    """Return what reads any piece: from this shard, or from the one that serves it now."""

    def read(piece: Piece) -> Array:
        from dbmpi.client import RemoteLink
        from dbmpi.protocol import Op

        if piece.index in state.held:
            return state.held[piece.index].value
        ranks, values = blueprint.setup.topology.shards, np.empty(piece.size, blueprint.dtype)
        # `values` holds this piece alone.
        whole = replace(piece, start=0, stop=piece.size, shard=owners.of(piece.shard))
        link = RemoteLink(comm, [whole], ranks, values, blueprint.dtype.name, blueprint.waiter)
        link.begin(Op.FETCH, values, np.zeros(1, np.int64), 0.0, 0)
        link.wait()
        return values

    return read


def save_model(blueprint: Blueprint, read: Callable[[Piece], Array]) -> None:
    """Write model.h5 into the run directory."""
    from dbmpi import modelfile

    path = blueprint.setup.run_dir / rundir.MODEL
    modelfile.write(path, blueprint.config, blueprint.plan, blueprint.pieces, read)


def remote_link(
    blueprint: Blueprint,
    comm: "MPI.Intracomm",
    partition: int,
    look: Callable[[], None] = lambda: None,
) -> "Link":
    """Make the link of one partition to the shards that hold its parameters.

    `look` looks for orders of the coordinator, while the link waits to hear who has a dead shard's pieces.
    """
    from dbmpi.client import RemoteLink
    from dbmpi.wire import wire_of

    config, mine = blueprint.config, sharding.of_partition(blueprint.pieces, partition)
    incoming = np.empty(blueprint.plan.sizes[partition], blueprint.dtype)
    # What a batch method adds up must not be rounded.
    wire = wire_of("float32" if config.batch else config.downpour.wire, blueprint.dtype)
    ranks = blueprint.setup.topology.shards
    patience = look if blueprint.mirrors else None
    return RemoteLink(comm, mine, ranks, incoming, wire, blueprint.waiter, patience)


def replica(
    blueprint: Blueprint,
    who: tuple[int, int],
    link: "Link",
    comm: "MPI.Intracomm | None",
    between: Callable[[], None],
) -> "Replica":
    """Make partition `who = (replica_index, partition_index)`."""
    from dbmpi.downpour import Downpour
    from dbmpi.feed import Feed
    from dbmpi.model import PartitionModel
    from dbmpi.replica import Replica
    from dbmpi.schedule import Rate

    config, description = blueprint.config, blueprint.setup.description
    model = PartitionModel(
        blueprint.plan,
        who[1],
        blueprint.labels,
        blueprint.dtype,
        config.model.l2,
        comm,
        blueprint.waiter,
        link.progress,
        seed=config.train.seed + DRAW_STRIDE * who[0],
    )
    rate = Rate(config.downpour.learning_rate, config.downpour.schedule, description.train_rows)
    pieces = len(sharding.of_partition(blueprint.pieces, who[1]))
    downpour = Downpour(config.downpour, rate, model, link, pieces) if config.uses_downpour else None
    feed = Feed(description.path, portions_plans(blueprint), model, config.cluster.timeout_s)
    gradients = None
    if config.batch:
        from dbmpi.batchfeed import BatchFeed
        from dbmpi.gradient import GradientClient
        from dbmpi.lead import Lead

        batch = BatchFeed(feed, batches_of(blueprint).plan, config.sandblaster.memory_mb * 10**6)
        gradients = GradientClient(model, batch, link, Lead(comm, blueprint.waiter), pieces, between)
    width = config.evaluation.minibatch
    return Replica(*who, model, feed, downpour, gradients, blueprint.waiter, between, width)


def batches_of(blueprint: Blueprint) -> "Batches":
    """Return the batches of Sandblaster."""
    from dbmpi.batches import batches

    config, description = blueprint.config, blueprint.setup.description
    replicas = len(blueprint.setup.topology.replicas)
    return batches(
        config.sandblaster, config.train, description.train_rows, replicas, description.chunk_rows
    )


def portions_plan(blueprint: Blueprint) -> "Plan":
    """Return the order of the examples."""
    from dbmpi.portions import Plan

    train, description = blueprint.config.train, blueprint.setup.description
    replicas = len(blueprint.setup.topology.replicas)
    return Plan(
        description.train_rows, train.minibatch, replicas, train.seed, train.portion, description.chunk_rows
    )


def portions_plans(blueprint: Blueprint) -> "Plans":
    """Return the order of the examples, of an epoch under way too if the run was resumed in one."""
    from dbmpi.ledger import course

    saved = blueprint.setup.resume
    state = saved.manifest.state.get("downpour") if saved is not None else None
    return course(portions_plan(blueprint), state["ledger"] if state else None)


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


def origin(blueprint: Blueprint) -> "Origin":
    """Return what all checkpoints of the job have in common."""
    from dbmpi.origin import Origin

    topology, rows = blueprint.setup.topology, blueprint.setup.description.train_rows
    shape = {
        "shards": len(topology.shards),
        "replicas": len(topology.replicas),
        "partitions": topology.partitions,
    }
    run_dir = blueprint.setup.run_dir
    return Origin(run_dir, blueprint.config, blueprint.plan, blueprint.pieces, rows, shape)


def execute_will(
    blueprint: Blueprint, service: "ShardService", among: "MPI.Intracomm", died: str
) -> None:
    """As a shard, make a checkpoint of what the coordinator knew, and end; see `testament.Estate.execute`."""
    from dbmpi import will
    from dbmpi.testament import Estate

    shard, owners = service.shard, service.owners

    def copy(mirror: int, vectors: Sequence[int] | None) -> Mapping[str, Array]:
        if mirror:
            shard.back(mirror)
        return shard.snapshot(vectors)

    estate = Estate(origin(blueprint), among, shard.index, owners, blueprint.waiter, copy)
    estate.execute(will.read(service.will) if service.will is not None else None, died)


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
