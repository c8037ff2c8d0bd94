"""What a partition of a replica is made of: its objects, put together from the blueprint."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.layout import sharding
from dbmpi.run.context import Blueprint, batches_of, portions_plans

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.comm.world import World
    from dbmpi.replica.client import Link
    from dbmpi.replica.worker import Replica

DRAW_STRIDE = 1 << 20  # between the seeds of the replicas' dropout


def remote_link(
    blueprint: Blueprint,
    comm: "MPI.Intracomm",
    partition: int,
    look: Callable[[], None] = lambda: None,
) -> "Link":
    """Make the link of one partition to the shards that hold its parameters.

    `look` looks for orders of the coordinator, while the link waits to hear who has a dead shard's pieces.
    """
    from dbmpi.replica.mpi_client import RemoteLink
    from dbmpi.server.compression import wire_of

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
    from dbmpi.model.partition import PartitionModel
    from dbmpi.replica.downpour import Downpour
    from dbmpi.replica.learning_rate import Rate
    from dbmpi.replica.loader import Feed
    from dbmpi.replica.worker import Replica

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
        from dbmpi.replica.leader import Lead
        from dbmpi.replica.portion_cache import BatchFeed
        from dbmpi.replica.sandblaster import GradientClient

        batch = BatchFeed(feed, batches_of(blueprint).plan, config.sandblaster.memory_mb * 10**6)
        gradients = GradientClient(model, batch, link, Lead(comm, blueprint.waiter), pieces, between)
    width = config.evaluation.minibatch
    return Replica(*who, model, feed, downpour, gradients, blueprint.waiter, between, width)


def run_replica(blueprint: "Blueprint", world: "World") -> int:
    """Be one partition of a replica until the coordinator says to leave; return the exit status."""
    from dbmpi.replica.service import Desk

    partition = world.role.partition_index
    desk = Desk(world.service, blueprint.setup.topology.coordinator, blueprint.waiter, blueprint.signals)
    link = remote_link(blueprint, world.service, partition, desk.between)
    who = world.role.replica_index, partition
    mine = replica(blueprint, who, link, world.replica, desk.between)
    status = desk.run(mine, world.replica)
    if not desk.retired:
        mine.close()
    desk.close()
    return status


def run_spare(blueprint: "Blueprint", world: "World") -> int:
    """Spare ranks have nothing to do, for as long as the run takes."""
    from dbmpi.replica.service import spare

    return spare(world.service, blueprint.setup.topology.coordinator)
