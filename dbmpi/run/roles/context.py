"""What follows from the setup of a run alone, the same on every rank; roles are made from it."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.comm.signals import Signals
from dbmpi.comm.wait import SAVING, WATCHED, YIELDS_S, Waiter
from dbmpi.layout.decomposition import decompose
from dbmpi.spans import recorder

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.checkpoint.writer import CheckpointWriter
    from dbmpi.comm.messages import Endpoint
    from dbmpi.data.measures import Measures
    from dbmpi.data.portions import PortionPlan
    from dbmpi.run.plan.setup import Setup
    from dbmpi.sandblaster.batch import Batch


class RunContext:
    """A run as the roles are made from it: the setup, and what follows from it.

    Parameters
    ----------
    setup
        What rank 0 has decided for all.

    Attributes
    ----------
    opened
        Closes threads and files of a run that has failed, where its process goes on.
    """

    def __init__(self, setup: "Setup") -> None:
        self.setup, self.config = setup, setup.config
        self.dtype = np.dtype(self.config.model.dtype)
        parts = decompose(self.config, setup.topology, setup.network)
        self.partitioning, self.pieces = parts.partitioning, parts.pieces
        yields_s = YIELDS_S if setup.core_each else 0.0
        patience = SAVING if self.may_die else WATCHED
        spans = recorder(self.config.output.trace, self.config.output.trace_mib)
        self.waiter = Waiter(self.config.cluster.timeout_s, setup.crowded, yields_s, patience, spans)
        self.signals = Signals()
        self.opened = ExitStack()

    @property
    def mirrors(self) -> bool:
        """Whether shards are mirrored and keep the state of the coordinator: where ranks may die."""
        return bool(self.config.checkpoint.mirror_s) and self.may_die

    @property
    def may_die(self) -> bool:
        """Whether ranks may die without an end of the job."""
        if self.setup.topology.serial:
            return False
        from dbmpi.comm.ulfm import enabled

        return enabled()

    def endpoint(self, comm: "MPI.Intracomm") -> "Endpoint":
        """Return what the service loop of a rank needs, on the service communicator."""
        from dbmpi.comm.messages import Endpoint
        from dbmpi.comm.watch import CoordinatorWatch

        coordinator, timeout_s = self.setup.topology.coordinator, self.config.cluster.timeout_s
        processes = [place.process for place in self.setup.places] if self.may_die else []
        name = f"rank {coordinator} (coordinator)"
        watch = CoordinatorWatch(timeout_s, name, processes[coordinator] if processes else None)
        return Endpoint(comm, coordinator, self.waiter, self.signals, watch, processes)

    @property
    def labels(self) -> bool:
        """Whether targets are class labels."""
        return self.setup.description.classes is not None


def batch_of(context: RunContext) -> "Batch":
    """Return the batch of Sandblaster."""
    from dbmpi.sandblaster.batch import cut_batch

    config, description = context.config, context.setup.description
    replicas = len(context.setup.topology.replicas)
    rows, chunk_rows = description.train_rows, description.chunk_rows
    return cut_batch(config.sandblaster, config.train, rows, replicas, chunk_rows)


def measures(context: RunContext) -> "Measures":
    """Return what evaluations count beside the loss."""
    from dbmpi.data.format import meaning
    from dbmpi.data.measures import Measures

    data, network, top = context.setup.description, context.setup.network, context.config.evaluation.top
    means = meaning(data.classes is not None, data.binary, network.loss)
    if means == "classes":
        counted = top if network.loss == "softmax" and network.outputs > top else 0
        return Measures("classes", network.outputs, counted)
    if means == "labels":
        return Measures("labels", network.outputs)
    if data.scaling is None or not data.scaling.target_scale:
        return Measures("targets", network.outputs, centres=data.means)
    deviations = tuple(1 / scale for scale in data.scaling.target_scale)
    return Measures("targets", network.outputs, deviations=deviations)


def portion_plan(context: RunContext) -> "PortionPlan":
    """Return the order of the examples, in epochs that begin in this job."""
    from dbmpi.data.portions import PortionPlan

    train, description = context.config.train, context.setup.description
    replicas = len(context.setup.topology.replicas)
    return PortionPlan(
        description.train_rows, train.minibatch, replicas, train.seed, train.portion, description.chunk_rows
    )


def checkpoint_writer(context: RunContext) -> "CheckpointWriter":
    """Return what writes the checkpoints of this job."""
    from dbmpi.checkpoint.writer import CheckpointWriter

    topology, data = context.setup.topology, context.setup.description
    shape = {
        "shards": len(topology.shards),
        "replicas": len(topology.replicas),
        "partitions": topology.partitions,
    }
    owned = context.setup.owned
    parts, rows = (context.partitioning, context.pieces), data.train_rows
    return CheckpointWriter(owned, context.config, *parts, rows, shape, data.made, data.scaling)
