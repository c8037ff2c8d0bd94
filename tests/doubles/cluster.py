"""A whole training on the ranks of a test: the real roles, each on its own rank."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.comm.abort import RankIdentity
from dbmpi.comm.meeting import meet
from dbmpi.comm.world import World
from dbmpi.coordinator.service import CoordinatorService
from dbmpi.layout.boxes import whole, within
from dbmpi.layout.partitioning import Partitioning
from dbmpi.replica.service import ReplicaService
from dbmpi.replica.worker import PartitionWorker
from dbmpi.run.plan import setup
from dbmpi.run.roles import coordinator_rank, replica_rank, shard_rank
from dbmpi.run.roles.context import RunContext
from dbmpi.run.roles.warmup import warm_up
from dbmpi.run.start import cli
from dbmpi.server import initialize
from dbmpi.server.service import ShardService

Array = NDArray[Any]


def run_cluster(
    comm: Any,
    asked: cli.Arguments,
    on_replica: Callable[[PartitionWorker, Any], None] = lambda replica, role: None,
    on_shard: Callable[[ShardService], None] = lambda service: None,
) -> RunContext:
    """Run a training; `on_replica` is called before a partition starts, `on_shard` after a shard ends."""
    context = RunContext(setup.prepare(asked, comm, RankIdentity(comm.Get_rank())))
    warm_up(context, comm)
    with World(context.setup.topology, comm) as world:
        role = world.role
        if role.kind == "coordinator":
            coordinate(context, world)
        elif role.kind == "shard":
            state, _ = shard_rank.shard(context, role.shard_index)
            service = shard_rank.shard_service(context, world.service, state)
            service.run()
            on_shard(service)
        elif role.kind == "replica":
            service = ReplicaService(context.endpoint(world.service))
            client = replica_rank.mpi_client(context, world.service, role.partition_index)
            who = role.replica_index, role.partition_index
            replica = replica_rank.partition_worker(context, who, client, world.replica, service.on_minibatch)
            on_replica(replica, role)
            service.run(replica)
            replica.close()
            service.close()
        meet(world.service, "the end of the test", 30.0)
    context.setup.release()
    return context


def coordinate(context: RunContext, world: World) -> None:
    log = coordinator_rank.metrics_log(context, 0.0)
    carries = world.service, world.topology, log, context.waiter, 5.0, context.signals
    service = CoordinatorService(*carries)
    coordinator = coordinator_rank.make(context, service, service.dispatcher, log, lambda r, p: "?")
    coordinator_rank.coordinate(coordinator, context.setup.resume)
    service.shards.save_model(0, coordinator.shared.replicas.keep_alive)
    service.shards.collect_reports(coordinator.shared.replicas.keep_alive)
    service.dismiss()
    log.close()


def first_values(context: RunContext) -> list[Array]:
    """The tensors before training, each drawn whole."""
    net, seed = context.setup.network, context.config.train.seed
    return [initialize.values(net, t, seed, 0, t.size).reshape(t.shape) for t in net.tensors]


def slice_of(plan: Partitioning, partition: int, tensors: list[Array]) -> Array:
    """The vector of a partition, of whole tensors."""
    named = dict(zip((t.name for t in plan.network.tensors), tensors, strict=True))
    parts = [named[s.tensor.name][within(s.box, whole(s.tensor.shape))] for s in plan.slices[partition]]
    return np.concatenate([part.ravel() for part in parts])


def gradients(w: list[Array], b: list[Array], x: Array, y: Array, l2: float) -> tuple[float, list[Array]]:
    """Loss and gradient of a tanh-relu-softmax network, one example a row: plain NumPy."""
    h1 = np.tanh(x @ w[0].T + b[0])
    h2 = np.maximum(h1 @ w[1].T + b[1], 0)
    z = h2 @ w[2].T + b[2]
    z -= z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    d3 = (np.exp(log_p) - np.eye(10)[y]) / len(x)
    d2 = d3 @ w[2] * (h2 > 0)
    d1 = d2 @ w[1] * (1 - h1**2)
    out: list[Array] = []
    for d, below, weights in ((d1, x, w[0]), (d2, h1, w[1]), (d3, h2, w[2])):
        out += [d.T @ below + l2 * weights, d.sum(0)]
    loss = -float(log_p[np.arange(len(y)), y].mean()) + 0.5 * l2 * sum(float((v * v).sum()) for v in w)
    return loss, out
