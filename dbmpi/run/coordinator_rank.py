"""What the coordinator is made of, and what it does from start to end."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from dbmpi.output import run_directory
from dbmpi.run.context import RunContext, batches_of, checkpoint_writer, portion_plans

if TYPE_CHECKING:
    from dbmpi.comm.world import World
    from dbmpi.coordinator.checkpoint_manager import CheckpointManager
    from dbmpi.coordinator.cluster import Cluster, Shards
    from dbmpi.coordinator.downpour import DownpourActivity
    from dbmpi.coordinator.replicas import Dispatcher, ReplicaTable
    from dbmpi.coordinator.stopping import Stopping
    from dbmpi.output.metrics import MetricsLog
    from dbmpi.run.setup import Setup


def metrics_log(context: RunContext, started: float) -> "MetricsLog":
    """Open the run's metrics.jsonl."""
    from dbmpi.output import progress
    from dbmpi.output.metrics import MetricsLog

    config, rows = context.config, context.setup.description.train_rows
    output = config.output
    iterations = config.sandblaster.iterations if config.batch else None
    shown = progress.make(output.progress, output.plain_every_s, config.train, rows, iterations)
    path = context.setup.run_dir / run_directory.METRICS
    return MetricsLog(path, rows, context.labels, output.every_s, shown, started)


def coordinate(
    context: RunContext,
    cluster: "Cluster",
    dispatcher: "Dispatcher",
    log: "MetricsLog",
    name: Callable[[int, int], str],
) -> "Stopping":
    """Do all that the coordinator does, up to the final evaluation; return why the run ended.

    Parameters
    ----------
    cluster
        What drives activities and reaches the shards.
    mail, book, name
        As `ReplicaTable` and `Activity` take them.
    """
    from dbmpi.coordinator.replicas import ReplicaTable
    from dbmpi.coordinator.stopping import Stopping

    config, topology = context.config, context.setup.topology
    shape = (len(topology.replicas), topology.partitions)
    replicas = ReplicaTable(shape, config.cluster.timeout_s, dispatcher, name)
    stopping, saved = Stopping(config.train, context.signals), context.setup.resume
    state = saved.manifest.state if saved is not None else {}
    if state:
        log.restore(state["book"])
        stopping.restore(state["stopping"])
    log.start(replicas.clock())
    if saved is not None:
        log.event(f"goes on from checkpoint {saved.manifest.number}, after {log.examples:,} examples")
    checkpoints = _checkpoints(context, cluster.shards, log, stopping)
    if config.uses_downpour and not (config.batch and "sandblaster" in state):
        activity = _downpour(context, replicas, log, stopping, checkpoints)
        if "downpour" in state:
            activity.restore(state["downpour"])
        cluster.drive(activity)
    if config.batch:
        from dbmpi.sandblaster.training import Sandblaster

        description = context.setup.description
        rows = description.train_rows, description.test_rows
        batches = batches_of(context)
        run = Sandblaster(config, batches, rows, cluster, replicas, log, stopping, checkpoints)
        if "sandblaster" in state:
            run.restore(state["sandblaster"])
        run.train()
    checkpoints.finish()
    return stopping


def _checkpoints(
    context: RunContext, shards: "Shards", log: "MetricsLog", stopping: "Stopping"
) -> "CheckpointManager":
    """Make what takes checkpoints."""
    from dbmpi.checkpoint.directory import checkpoint_numbers
    from dbmpi.coordinator.checkpoint_manager import CheckpointManager

    last = max(checkpoint_numbers(context.setup.run_dir), default=0)
    return CheckpointManager(checkpoint_writer(context), shards, log, stopping, last)


def _downpour(
    context: RunContext,
    replicas: "ReplicaTable",
    log: "MetricsLog",
    stopping: "Stopping",
    checkpoints: "CheckpointManager",
) -> "DownpourActivity":
    """Make the activity that is a run of Downpour, or the warmstart of a batch method."""
    from dbmpi.coordinator.downpour import DownpourActivity
    from dbmpi.coordinator.portion_scheduler import PortionScheduler
    from dbmpi.data.portions import examples_in

    config, description = context.config, context.setup.description
    rows, train = description.train_rows, config.train
    examples = None if train.epochs is None else examples_in(train.epochs, rows)
    if config.batch:
        examples = config.sandblaster.warmstart_examples
    scheduler = PortionScheduler(portion_plans(context), examples, train.steps)
    final = not config.batch
    return DownpourActivity(
        config, scheduler, rows, description.test_rows, replicas, log, stopping, checkpoints, final
    )


def run_coordinator(context: "RunContext", world: "World", started: float) -> int:
    """Lead the run from its first assignment to its summary; return the exit status."""
    from dbmpi.coordinator.dispatcher import MpiDispatcher
    from dbmpi.coordinator.service import CoordinatorService

    setup = context.setup
    log = metrics_log(context, started)
    dispatcher = MpiDispatcher(world.service, setup.topology)
    replicas = setup.topology.replicas
    every_s = context.config.output.shard_every_s
    service = CoordinatorService(
        world.service,
        setup.topology,
        dispatcher,
        log,
        context.waiter,
        every_s,
        context.signals,
        context.mirrors,
    )

    def name(replica: int, partition: int) -> str:
        return world.name(replicas[replica][partition])

    stopping = coordinate(context, service, dispatcher, log, name)
    if not stopping.hasty:
        service.shards.save_model()
    service.dismiss(stopping.status)
    return conclude(setup, log, stopping)


def conclude(setup: "Setup", log: "MetricsLog", stopping: "Stopping") -> int:
    """Write the summary, and say how the run ended and where everything is."""
    from dbmpi.files import write_json, write_text
    from dbmpi.output import run_directory
    from dbmpi.output.summary import conclusion, summary

    content = summary(log, stopping.reason, stopping.status)
    write_json(setup.run_dir / run_directory.SUMMARY, content)
    log.close()
    print(conclusion(content, setup.run_dir), flush=True)
    if stopping.finished:
        write_text(setup.run_dir / run_directory.FINISHED, f"{stopping.reason}\n")
    else:
        print("dbmpi: stopped before its end: the same command, or --resume, goes on from there", flush=True)
    if stopping.lost:
        print(f"dbmpi: error: {stopping.advice}", file=sys.stderr, flush=True)
    return stopping.status
