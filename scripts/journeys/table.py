"""The journeys, and all names of the program that they are known by. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Journey:
    """What is watched, in which run.

    Parameters
    ----------
    what
        Where it begins and where it ends.
    ranks, settings
        Of the run: 1 coordinator + shards + replicas x partitions; 0 ranks: no run, a configuration is read.
    windows
        Pairs of events, "call MODULE:FUNCTION" or "return MODULE:FUNCTION": a rank is watched from the first
        to the second, once in each window.
    occurrence
        Which of the first events counts, from 1: not one of the first where these have more to do.
    together
        Whether all ranks are watched while the window is open on one of them.
    inside
        Functions: where one of these runs again and again, only what it calls counts, not the loop around it.
    resumed
        Settings of a run before it, from whose checkpoint this one goes on; None for none.
    dies
        A rank, and which of its calls of which function it does not survive; None for none.
    """

    what: str
    ranks: int
    settings: Sequence[str]
    windows: Sequence[tuple[str, str]]
    occurrence: int = 1
    together: bool = False
    inside: Sequence[str] = ()
    resumed: Sequence[str] | None = None
    dies: tuple[int, str, int] | None = None


def during(name: str) -> tuple[str, str]:
    """Return the window that is open from the call of a function to its return."""
    return f"call {name}", f"return {name}"


TWO_REPLICAS = "cluster.shards=1 cluster.replicas=2 cluster.partitions=1".split()
TWO_SHARDS = "cluster.shards=2 cluster.replicas=2 cluster.partitions=1".split()
TILES = "cluster.shards=1 cluster.replicas=2 cluster.partitions=2".split()
L_BFGS = "train.algorithm=sandblaster train.minibatch=100 sandblaster.deterministic=true".split()
PROGRAM = "dbmpi.train:main"
JOURNEYS = {
    "key": Journey(
        "a key of the TOML file, to the dataclass that holds it",
        0,
        ["train.minibatch = 32"],
        [during("dbmpi.config.load:load")],
    ),
    "gradient": Journey(
        "a gradient of Downpour: from the minibatch to the shard, and its reply to the parameters",
        4,
        [*TWO_REPLICAS, "train.epochs=3", "downpour.overlap=false"],
        [
            during("dbmpi.replica.downpour:DownpourClient.step"),
            during("dbmpi.server.service:ShardService._serve"),
        ],
        occurrence=20,
    ),
    "iteration": Journey(
        "an iteration of L-BFGS, with an evaluation on the held-out set",
        5,
        [*TWO_SHARDS, *L_BFGS, "sandblaster.iterations=12", "output.shard_every_s=600"],
        [
            (
                "return dbmpi.sandblaster.training:Sandblaster._record_iteration",
                "return dbmpi.sandblaster.training:Sandblaster._record_iteration",
            )
        ],
        occurrence=6,
        together=True,
        inside=["dbmpi.server.service:ShardService._serve"],
    ),
    "save": Journey(
        "a checkpoint, from the moment that it is taken until it has its name and is recorded",
        5,
        [*TWO_SHARDS, "train.epochs=30", "checkpoint.every_examples=10000", "output.shard_every_s=600"],
        [
            during("dbmpi.coordinator.checkpoint_manager:CheckpointManager.save"),
            during("dbmpi.coordinator.pending_checkpoint:PendingCheckpoint.written"),
            during("dbmpi.coordinator.pending_checkpoint:PendingCheckpoint._complete"),
            during("dbmpi.coordinator.checkpoint_manager:CheckpointManager._record"),
            during("dbmpi.server.service:ShardService._checkpoint"),
            during("dbmpi.checkpoint.shard_file:ShardWriter._write"),
        ],
    ),
    "resume": Journey(
        "going on: from the run directory to the first minibatch, without what any start does",
        5,
        [*TWO_SHARDS, "train.epochs=3"],
        [
            during("dbmpi.run.plan.setup:_go_on"),
            (
                "call dbmpi.run.roles.coordinator_rank:coordinate",
                "call dbmpi.coordinator.service:CoordinatorService.drive",
            ),
            during("dbmpi.run.roles.shard_rank:restore_shard"),
            (
                "call dbmpi.replica.downpour:DownpourClient.train",
                "call dbmpi.replica.downpour:DownpourClient.step",
            ),
        ],
        resumed=["train.epochs=2"],
    ),
    "death": Journey(
        "the death of a rank: until its replica has left, and others have its work",
        6,
        [*TILES, "train.epochs=20", "train.portion=2", "checkpoint.mirror_s=0"],
        [
            during("dbmpi.comm.ulfm:FailureDetector.learn"),
            (
                "call dbmpi.coordinator.service:CoordinatorService._handle_failures",
                "return dbmpi.coordinator.replicas:ReplicaTable.order",
            ),
            ("call dbmpi.comm.ulfm:lost", "call dbmpi.replica.service:ReplicaService._next"),
        ],
        dies=(5, "call dbmpi.replica.downpour:DownpourClient.step", 40),
    ),
}
