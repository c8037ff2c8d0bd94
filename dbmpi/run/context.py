"""What follows from the setup of a run alone, the same on every rank."""

from typing import TYPE_CHECKING

import numpy as np

from dbmpi.comm.signals import Signals
from dbmpi.comm.wait import Waiter
from dbmpi.layout import sharding
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.sharding import MAX_PIECE_BYTES

if TYPE_CHECKING:
    from dbmpi.checkpoint.writer import Origin
    from dbmpi.data.portions import Plan, Plans
    from dbmpi.run.setup import Setup
    from dbmpi.sandblaster.batch import Batches


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
        from dbmpi.comm.ulfm import enabled

        return enabled()

    @property
    def labels(self) -> bool:
        """Whether targets are class labels."""
        return self.setup.description.classes is not None


def batches_of(blueprint: Blueprint) -> "Batches":
    """Return the batches of Sandblaster."""
    from dbmpi.sandblaster.batch import batches

    config, description = blueprint.config, blueprint.setup.description
    replicas = len(blueprint.setup.topology.replicas)
    return batches(config.sandblaster, config.train, description.train_rows, replicas, description.chunk_rows)


def portions_plan(blueprint: Blueprint) -> "Plan":
    """Return the order of the examples."""
    from dbmpi.data.portions import Plan

    train, description = blueprint.config.train, blueprint.setup.description
    replicas = len(blueprint.setup.topology.replicas)
    return Plan(
        description.train_rows, train.minibatch, replicas, train.seed, train.portion, description.chunk_rows
    )


def portions_plans(blueprint: Blueprint) -> "Plans":
    """Return the order of the examples, of an epoch under way too if the run was resumed in one."""
    from dbmpi.data.portions import course

    saved = blueprint.setup.resume
    state = saved.manifest.state.get("downpour") if saved is not None else None
    return course(portions_plan(blueprint), state["ledger"] if state else None)


def origin(blueprint: Blueprint) -> "Origin":
    """Return what all checkpoints of the job have in common."""
    from dbmpi.checkpoint.writer import Origin

    topology, rows = blueprint.setup.topology, blueprint.setup.description.train_rows
    shape = {
        "shards": len(topology.shards),
        "replicas": len(topology.replicas),
        "partitions": topology.partitions,
    }
    run_dir = blueprint.setup.run_dir
    return Origin(run_dir, blueprint.config, blueprint.plan, blueprint.pieces, rows, shape)
