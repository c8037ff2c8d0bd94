"""What a partition of a replica is made of: its objects, put together from the run's context."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from dbmpi.layout import sharding
from dbmpi.run.roles.context import RunContext, batch_of, measures

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.comm.world import World
    from dbmpi.model.partition import PartitionModel
    from dbmpi.replica.client import ParameterClient
    from dbmpi.replica.downpour import DownpourClient
    from dbmpi.replica.leader import Leader
    from dbmpi.replica.loader import Loader
    from dbmpi.replica.sandblaster import SandblasterClient
    from dbmpi.replica.worker import AlgorithmClient, PartitionWorker

DRAW_STRIDE = 1 << 20  # between the seeds of the replicas' dropout


def mpi_client(
    context: RunContext,
    comm: "MPI.Intracomm",
    partition: int,
    poll_orders: Callable[[], None] = lambda: None,
) -> "ParameterClient":
    """Make the client of one partition for the shards that hold its parameters.

    `poll_orders` takes in assignments of the coordinator, while the client waits to hear which shard has the
    pieces of a dead one.
    """
    from dbmpi.replica.mpi_client import MpiClient
    from dbmpi.replica.rooms import Rooms
    from dbmpi.server.compression import wire_of

    config, mine = context.config, sharding.of_partition(context.pieces, partition)
    # What a batch method adds up must not be rounded.
    wire = wire_of("float32" if config.batch else config.downpour.wire, context.dtype)
    ranks, places = context.setup.topology.shards, context.setup.places
    near = [rank for rank in ranks if places[rank].node == places[comm.Get_rank()].node]
    rooms = Rooms(shared=bool(near))
    incoming = rooms.take(context.partitioning.sizes[partition], context.dtype)
    poll = poll_orders if context.mirrors else None
    return MpiClient(comm, mine, ranks, incoming, wire, context.waiter, poll, rooms, near)


def partition_worker(
    context: RunContext,
    indices: tuple[int, int],
    client: "ParameterClient",
    comm: "MPI.Intracomm | None",
    on_minibatch: Callable[[], None],
) -> "PartitionWorker":
    """Make the worker of partition `indices = (replica_index, partition_index)`."""
    from dbmpi.data.augment import Augmentation
    from dbmpi.model.boundary import Peers
    from dbmpi.model.figures import Figures
    from dbmpi.model.partition import PartitionModel
    from dbmpi.replica.loader import Loader
    from dbmpi.replica.worker import PartitionWorker
    from dbmpi.run.roles.model_output import saved_reader

    config, labels, l2 = context.config, context.labels, context.config.model.l2
    peers = Peers(comm, context.waiter, client.progress)
    seed = config.train.seed + DRAW_STRIDE * indices[0]
    model = PartitionModel(context.partitioning, indices[1], labels, context.dtype, l2, peers, seed)
    model.prepare(min(config.train.minibatch, context.setup.description.train_rows))
    by_class = config.train.class_weights or ()
    assert not isinstance(by_class, str)  # resolved
    train, augmentation = config.train, None
    if train.flip or train.shift:
        augmentation = Augmentation(train.flip, train.shift, train.seed)
    loader = Loader(context.setup.description, model, by_class, augmentation)
    algorithms: list[AlgorithmClient] = []
    if config.uses_downpour:
        algorithms.append(_downpour(context, model, loader, client, on_minibatch))
    if config.batch:
        algorithms.append(_sandblaster(context, model, loader, client, on_minibatch))
    width, read = config.evaluation.minibatch, saved_reader(context, indices[1])
    figures, wait = Figures(measures(context), indices[1], model.outputs[0]), context.waiter
    return PartitionWorker(indices, model, loader, algorithms, wait, on_minibatch, width, figures, read)


def _downpour(
    context: RunContext,
    model: "PartitionModel",
    loader: "Loader",
    client: "ParameterClient",
    on_minibatch: Callable[[], None],
) -> "DownpourClient":
    from dbmpi.replica.downpour import DownpourClient
    from dbmpi.replica.learning_rate import LearningRate

    settings, rows = context.config.downpour, context.setup.description.train_rows
    rate = LearningRate(settings.learning_rate, settings.schedule, rows)
    pieces = len(sharding.of_partition(context.pieces, model.partition))
    whole = min(context.config.train.minibatch, -(-rows // len(context.setup.topology.replicas)))
    averages = context.config.train.average is not None
    parts = settings, rate, model, loader, client, pieces, whole, on_minibatch, averages
    if not context.config.sync:
        return DownpourClient(*parts)
    from dbmpi.replica.sync import SyncClient

    leader = _leader(context, model) if settings.backups else None
    return SyncClient(*parts, leader=leader)


def _leader(context: RunContext, model: "PartitionModel") -> "Leader | None":
    """Make what decides for all partitions of a replica, where there are several."""
    if model.peers.comm is None or context.partitioning.partitions == 1:
        return None
    from dbmpi.replica.leader import Leader

    return Leader(model.peers.comm, context.waiter)


def _sandblaster(
    context: RunContext,
    model: "PartitionModel",
    loader: "Loader",
    client: "ParameterClient",
    on_minibatch: Callable[[], None],
) -> "SandblasterClient":
    from dbmpi.replica.portion_cache import PortionCache
    from dbmpi.replica.sandblaster import SandblasterClient

    most_bytes = context.config.sandblaster.memory_mb * 10**6
    portions = PortionCache(loader, batch_of(context).plan, most_bytes)
    pieces = len(sharding.of_partition(context.pieces, model.partition))
    return SandblasterClient(model, portions, client, _leader(context, model), pieces, on_minibatch)


def run_replica(context: "RunContext", world: "World") -> int:
    """Be one partition of a replica until the coordinator says to leave; return the exit status."""
    from dbmpi.replica.service import ReplicaService

    partition = world.role.partition_index
    service = ReplicaService(context.endpoint(world.service))
    client = mpi_client(context, world.service, partition, service.on_minibatch)
    indices = world.role.replica_index, partition
    worker = partition_worker(context, indices, client, world.replica, service.on_minibatch)
    status = service.run(worker, world.replica)
    worker.close(service.retired)
    service.close()
    return status


def run_spare(context: "RunContext", world: "World") -> int:
    """Wait, as a spare rank without work, for the end of the run; return the exit status."""
    from dbmpi.replica.service import wait_as_spare

    return wait_as_spare(world.service, context.setup.topology.coordinator, context.waiter)
