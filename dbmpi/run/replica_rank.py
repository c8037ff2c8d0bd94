"""What a partition of a replica is made of: its objects, put together from the blueprint."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.layout import sharding
from dbmpi.run.context import RunContext, batch_of, portion_plans

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.comm.world import World
    from dbmpi.replica.client import ParameterClient
    from dbmpi.replica.worker import Replica

DRAW_STRIDE = 1 << 20  # between the seeds of the replicas' dropout


def mpi_client(
    context: RunContext,
    comm: "MPI.Intracomm",
    partition: int,
    look: Callable[[], None] = lambda: None,
) -> "ParameterClient":
    """Make the link of one partition to the shards that hold its parameters.

    `look` looks for orders of the coordinator, while the link waits to hear who has a dead shard's pieces.
    """
    from dbmpi.replica.mpi_client import MpiClient
    from dbmpi.server.compression import wire_of

    config, mine = context.config, sharding.of_partition(context.pieces, partition)
    incoming = np.empty(context.partitioning.sizes[partition], context.dtype)
    # What a batch method adds up must not be rounded.
    wire = wire_of("float32" if config.batch else config.downpour.wire, context.dtype)
    ranks = context.setup.topology.shards
    patience = look if context.mirrors else None
    return MpiClient(comm, mine, ranks, incoming, wire, context.waiter, patience)


def replica(
    context: RunContext,
    who: tuple[int, int],
    client: "ParameterClient",
    comm: "MPI.Intracomm | None",
    on_minibatch: Callable[[], None],
) -> "Replica":
    """Make partition `who = (replica_index, partition_index)`."""
    from dbmpi.model.partition import PartitionModel
    from dbmpi.replica.downpour import Downpour
    from dbmpi.replica.learning_rate import LearningRate
    from dbmpi.replica.loader import Loader
    from dbmpi.replica.worker import Replica

    config, description = context.config, context.setup.description
    model = PartitionModel(
        context.partitioning,
        who[1],
        context.labels,
        context.dtype,
        config.model.l2,
        comm,
        context.waiter,
        client.progress,
        seed=config.train.seed + DRAW_STRIDE * who[0],
    )
    rate = LearningRate(config.downpour.learning_rate, config.downpour.schedule, description.train_rows)
    pieces = len(sharding.of_partition(context.pieces, who[1]))
    downpour = Downpour(config.downpour, rate, model, client, pieces) if config.uses_downpour else None
    loader = Loader(description.path, portion_plans(context), model, config.cluster.timeout_s)
    gradients = None
    if config.batch:
        from dbmpi.replica.leader import Leader
        from dbmpi.replica.portion_cache import PortionCache
        from dbmpi.replica.sandblaster import SandblasterClient

        batch = PortionCache(loader, batch_of(context).plan, config.sandblaster.memory_mb * 10**6)
        gradients = SandblasterClient(
            model, batch, client, Leader(comm, context.waiter), pieces, on_minibatch
        )
    width = config.evaluation.minibatch
    return Replica(*who, model, loader, downpour, gradients, context.waiter, on_minibatch, width)


def run_replica(context: "RunContext", world: "World") -> int:
    """Be one partition of a replica until the coordinator says to leave; return the exit status."""
    from dbmpi.replica.service import ReplicaService

    partition = world.role.partition_index
    service = ReplicaService(
        world.service, context.setup.topology.coordinator, context.waiter, context.signals
    )
    client = mpi_client(context, world.service, partition, service.on_minibatch)
    who = world.role.replica_index, partition
    mine = replica(context, who, client, world.replica, service.on_minibatch)
    status = service.run(mine, world.replica)
    if not service.retired:
        mine.close()
    service.close()
    return status


def run_spare(context: "RunContext", world: "World") -> int:
    """Spare ranks have nothing to do, for as long as the run takes."""
    from dbmpi.replica.service import wait_as_spare

    return wait_as_spare(world.service, context.setup.topology.coordinator)
