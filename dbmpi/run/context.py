"""What follows from the setup of a run alone, the same on every rank."""

from typing import TYPE_CHECKING

import numpy as np

from dbmpi.comm.signals import Signals
from dbmpi.comm.wait import Waiter
from dbmpi.layout import sharding
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.sharding import MAX_PIECE_BYTES

if TYPE_CHECKING:
    from dbmpi.checkpoint.writer import CheckpointWriter
    from dbmpi.data.portions import PortionPlan, PortionPlans
    from dbmpi.run.setup import Setup
    from dbmpi.sandblaster.batch import Batch


class RunContext:
    """What follows from the setup alone, the same on every rank."""

    def __init__(self, setup: "Setup") -> None:
        self.setup, self.config = setup, setup.config
        self.dtype = np.dtype(self.config.model.dtype)
        topology = setup.topology
        self.partitioning = Partitioning(setup.network, topology.partitions, self.config.cluster.grid)
        largest = MAX_PIECE_BYTES // self.dtype.itemsize
        self.pieces = sharding.cut(self.partitioning.sizes, len(topology.shards), largest)
        self.waiter = Waiter(self.config.cluster.timeout_s, setup.crowded)
        self.signals = Signals()

    @property
    def mirrors(self) -> bool:
        """Whether shards are mirrored, and have the coordinator's will, for where ranks may die."""
        if not self.config.checkpoint.mirror_s:
            return False
        from dbmpi.comm.ulfm import enabled

        return enabled()

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


def portion_plan(context: RunContext) -> "PortionPlan":
    """Return the order of the examples."""
    from dbmpi.data.portions import PortionPlan

    train, description = context.config.train, context.setup.description
    replicas = len(context.setup.topology.replicas)
    return PortionPlan(
        description.train_rows, train.minibatch, replicas, train.seed, train.portion, description.chunk_rows
    )


def portion_plans(context: RunContext) -> "PortionPlans":
    """Return the order of the examples, of an epoch under way too if the run was resumed in one."""
    from dbmpi.data.portions import course

    saved = context.setup.resume
    state = saved.manifest.state.downpour if saved is not None else None
    return course(portion_plan(context), vars(state.scheduler) if state is not None else None)


def checkpoint_writer(context: RunContext) -> "CheckpointWriter":
    """Return what all checkpoints of the job have in common."""
    from dbmpi.checkpoint.writer import CheckpointWriter

    topology, rows = context.setup.topology, context.setup.description.train_rows
    shape = {
        "shards": len(topology.shards),
        "replicas": len(topology.replicas),
        "partitions": topology.partitions,
    }
    run_dir = context.setup.run_dir
    return CheckpointWriter(run_dir, context.config, context.partitioning, context.pieces, rows, shape)
