"""What the coordinator is made of, and what it does from start to end."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.output import run_directory
from dbmpi.run.roles.context import RunContext, batch_of, checkpoint_writer, measures, portion_plan

if TYPE_CHECKING:
    from dbmpi.checkpoint.manifest import Checkpoint
    from dbmpi.comm.world import World
    from dbmpi.coordinator.activity import Coordination
    from dbmpi.coordinator.checkpoint_manager import CheckpointManager
    from dbmpi.coordinator.cluster import Cluster
    from dbmpi.coordinator.downpour import DownpourActivity
    from dbmpi.coordinator.replicas import Dispatcher
    from dbmpi.coordinator.service import CoordinatorService
    from dbmpi.coordinator.stopping import Stopping
    from dbmpi.output.metrics import MetricsLog
    from dbmpi.output.progress import Progress
    from dbmpi.run.plan.setup import Setup
    from dbmpi.sandblaster.training import Sandblaster


def metrics_log(context: RunContext, started: float, shown: "Progress | None" = None) -> "MetricsLog":
    """Open the run's metrics.jsonl; `shown` is what the user sees, None: as `output.progress` says."""
    from dbmpi.output import progress
    from dbmpi.output.goodput import Room
    from dbmpi.output.interval import Every
    from dbmpi.output.metrics import MetricsLog
    from dbmpi.run.plan.choices import examples_a_record

    config, rows = context.config, context.setup.description.train_rows
    output = config.output
    iterations = config.sandblaster.iterations if config.batch else None
    shown = shown or progress.make(output.progress, output.plain_every_s, config.train, rows, iterations)
    path = context.setup.run_dir / run_directory.METRICS
    topology = context.setup.topology
    replicas = len(topology.replicas)
    room = Room(replicas * topology.partitions, _earlier_s(path), replicas)
    counted = measures(context)
    answers = counted.units if counted.kind == "labels" else 0
    every = Every(output.every_s, examples_a_record(config, rows))
    plan = rows, context.labels, every, shown
    log = MetricsLog(path, *plan, started, room, counted, answers, output.shard_every_s)
    log.watched = context.setup.description.watched
    if output.tensorboard:
        _listen(context, log)
    return log


def _listen(context: RunContext, log: "MetricsLog") -> None:
    """Let TensorBoard's file have all records too; that it cannot be made ends nothing."""
    import time

    from dbmpi.errors import UserError
    from dbmpi.files import writing
    from dbmpi.output.tensorboard import TensorBoard, file_name

    directory = context.setup.run_dir / run_directory.TENSORBOARD
    name = file_name(time.time(), context.setup.places[0].host, context.setup.owned.generation)
    try:
        with writing(directory):
            directory.mkdir(exist_ok=True)
        log.listeners.append(TensorBoard(directory / name, lambda text: log.say(f"warning: {text}")))
    except UserError as error:
        log.say(f"warning: {error}")


def _earlier_s(path: Path) -> float:
    """Return the time that partitions of earlier jobs of this run had; nothing where it cannot be read."""
    from dbmpi.output.goodput import earlier_s

    try:
        with path.open(errors="replace") as lines:
            return earlier_s(lines)
    except OSError:
        return 0.0


@dataclass(frozen=True)
class Coordinator:
    """What coordinates a run, made and not begun.

    Parameters
    ----------
    cluster
        Drives activities, and reaches the shards.
    shared
        The replicas, the metrics log, and why the run ends.
    checkpoints
        Takes checkpoints.
    downpour
        The run, or the warmstart of a batch method; None for a batch method without one.
    sandblaster
        The run of a batch method.
    looks
        How many held-out rows are for test, and the first of them, where they are looked at once, at the end;
        None where evaluations are of them.
    keeps_best
        Whether the model is the best checkpoint, and not the last parameters.
    """

    cluster: "Cluster"
    shared: "Coordination"
    checkpoints: "CheckpointManager"
    downpour: "DownpourActivity | None"
    sandblaster: "Sandblaster | None"
    looks: "tuple[int, int] | None"
    keeps_best: bool

    @property
    def model(self) -> int:
        """The checkpoint that the model is made of; 0 for what the shards have."""
        best = self.checkpoints.best if self.keeps_best else 0
        return best or (0 if self.shared.stopping.lost else self.checkpoints.last)


def make(
    context: RunContext,
    cluster: "Cluster",
    dispatcher: "Dispatcher",
    log: "MetricsLog",
    name: Callable[[int, int], str],
) -> Coordinator:
    """Make what coordinates a run.

    Parameters
    ----------
    cluster
        Drives activities, and reaches the shards.
    dispatcher, log, name
        As `ReplicaTable` and `Activity` take them.
    """
    from dbmpi.checkpoint.directory import checkpoint_numbers
    from dbmpi.coordinator.activity import Coordination
    from dbmpi.coordinator.checkpoint_manager import CheckpointManager
    from dbmpi.coordinator.replicas import ReplicaTable
    from dbmpi.coordinator.stopping import Stopping

    config, topology = context.config, context.setup.topology
    shape = (len(topology.replicas), topology.partitions)
    timeout_s = inf if topology.serial else config.cluster.timeout_s  # nobody is silent to oneself
    replicas = ReplicaTable(shape, timeout_s, dispatcher, name)
    chance, examples = _chance(context), _judged_together(context)
    stopping = Stopping(config.train, context.signals, chance, examples, log.event, log.watched)
    shared = Coordination(replicas, log, stopping)
    last = max(checkpoint_numbers(context.setup.run_dir), default=0)
    writer = checkpoint_writer(context)
    parts = shared.stopping, last, replicas.keep_alive, context.waiter.spans
    checkpoints = CheckpointManager(writer, cluster.shards, log, *parts)
    downpour = _downpour(context, cluster, shared, checkpoints) if config.uses_downpour else None
    sandblaster = _sandblaster(context, cluster, shared, checkpoints) if config.batch else None
    keeps_best, data = config.train.patience is not None, context.setup.description
    looks = (data.test_rows, data.validation_rows) if data.validation_rows or keeps_best else None
    return Coordinator(cluster, shared, checkpoints, downpour, sandblaster, looks, keeps_best)


def _downpour(
    context: RunContext, cluster: "Cluster", shared: "Coordination", checkpoints: "CheckpointManager"
) -> "DownpourActivity":
    """Make the activity that is a run of Downpour, or the warmstart of a batch method."""
    from dbmpi.coordinator.downpour import DownpourActivity
    from dbmpi.coordinator.portion_scheduler import PortionScheduler
    from dbmpi.coordinator.sync import SyncActivity
    from dbmpi.data.portions import examples_in

    config, train = context.config, context.config.train
    rows = _rows(context)
    examples = None if train.epochs is None else examples_in(train.epochs, rows[0])
    if config.batch:
        examples = config.sandblaster.warmstart_examples
    scheduler = PortionScheduler(portion_plan(context), examples, train.steps)
    mirrors, final = cluster.shards.mirrors, not config.batch
    kind = SyncActivity if config.sync else DownpourActivity
    return kind(config, scheduler, rows, shared, checkpoints, final, mirrors)


def _sandblaster(
    context: RunContext, cluster: "Cluster", shared: "Coordination", checkpoints: "CheckpointManager"
) -> "Sandblaster":
    """Make the run of a batch method."""
    from dbmpi.sandblaster.problem import BatchProblem
    from dbmpi.sandblaster.training import Sandblaster

    config = context.config
    problem = BatchProblem(config.sandblaster, batch_of(context), cluster, shared)
    return Sandblaster(config, problem, _rows(context), cluster, shared, checkpoints)


def _chance(context: RunContext) -> float:
    """Return the training loss of chance; 0 where it is not known, as with weights of rows."""
    config, data = context.config, context.setup.description
    if config.data.weights is not None:
        return 0.0
    if config.train.class_weights is None:
        return data.chance.get(config.model.loss, 0.0)
    import numpy as np

    from dbmpi.data.chance import losses_of

    counts = np.array(data.counts)
    weights = counts * np.array(config.train.class_weights[: len(counts)])
    return float(losses_of(weights).get(config.model.loss, 0.0) * weights.sum() / max(counts.sum(), 1))


def _judged_together(context: RunContext) -> int:
    """Return over how many examples a run must have learned something (`coordinator.learning`).

    An epoch after the warm-up of the learning rate, or what a shorter run has, but for few minibatches.
    """
    from dbmpi.coordinator.learning import LEAST_MINIBATCHES
    from dbmpi.data.portions import examples_in

    config, train, replicas = context.config, context.config.train, len(context.setup.topology.replicas)
    rows = context.setup.description.train_rows
    lengths = [int((1 + config.downpour.schedule.warmup_epochs) * rows)]
    if train.epochs is not None and not config.batch:
        lengths.append(examples_in(train.epochs, rows))
    if train.steps is not None and not config.batch:
        lengths.append(train.steps * train.minibatch)
    return max(min(lengths), LEAST_MINIBATCHES * train.minibatch * replicas)


def _rows(context: RunContext) -> tuple[int, int]:
    """Return the size of the training set, and of what evaluations are of."""
    description = context.setup.description
    return description.train_rows, description.rows(description.watched)


def coordinate(coordinator: Coordinator, saved: "Checkpoint | None") -> "Stopping":
    """Do all that the coordinator does, up to the final evaluation; return why the run ended.

    Parameters
    ----------
    saved
        What to go on from; None to begin.
    """
    from dbmpi.coordinator.activity import Evaluation

    shared, downpour, sandblaster = coordinator.shared, coordinator.downpour, coordinator.sandblaster
    state = saved.manifest.state if saved is not None else None
    if state is not None:
        shared.log.restore(state.log)
        shared.stopping.restore(state.stopping)
    shared.log.start(shared.replicas.clock())
    shared.log.job(began=True)
    if saved is not None:
        learned = f"after {saved.manifest.state.examples:,} examples"
        shared.log.event(f"goes on from checkpoint {saved.manifest.number}, {learned}", about="resume")
    coordinator.checkpoints.start()

    warm = sandblaster is not None and state is not None and state.sandblaster is not None
    if downpour is not None and not warm:
        if state is not None and state.downpour is not None:
            downpour.restore(state.downpour)
        coordinator.checkpoints.cover(downpour.state())
        coordinator.cluster.drive(downpour)
    if sandblaster is not None:
        if state is not None and state.sandblaster is not None:
            sandblaster.restore(state.sandblaster)
        sandblaster.train()
    coordinator.checkpoints.finish()
    if coordinator.checkpoints.retaken and shared.stopping.finished:
        rows = shared.log.final_evaluation.rows
        again = Evaluation(shared, rows, full=True)  # a shard's successor has other values
        coordinator.cluster.drive(again)
        if shared.replicas.living:
            shared.stopping.check_final(again.result)
            shared.log.final(again.result)
    if coordinator.looks is not None and shared.stopping.finished and shared.replicas.living:
        _look_at_test(coordinator, *coordinator.looks)
    return shared.stopping


def _look_at_test(coordinator: Coordinator, rows: int, first: int) -> None:
    """Score the model on the test set."""
    from dbmpi.coordinator.activity import Evaluation

    shared = coordinator.shared
    checkpoint = coordinator.model if coordinator.keeps_best else 0
    look = Evaluation(shared, rows, first, checkpoint, full=True)
    coordinator.cluster.drive(look)
    if shared.replicas.living:
        shared.log.test(look.result)


def run_coordinator(context: "RunContext", world: "World", started: float) -> int:
    """Coordinate the run from its first assignment to its summary; return the exit status."""
    from dbmpi.comm import ulfm
    from dbmpi.coordinator.service import CoordinatorService

    setup, comm = context.setup, world.service
    log, every_s = metrics_log(context, started), context.config.output.shard_every_s
    processes = [place.process for place in setup.places]
    service = CoordinatorService(
        comm, setup.topology, log, context.waiter, every_s, context.signals, context.mirrors, processes
    )

    def name(replica: int, partition: int) -> str:
        return world.name(setup.topology.replicas[replica][partition])

    coordinator = make(context, service, service.dispatcher, log, name)
    with context.waiter.attending(service.attending(coordinator.shared.replicas.keep_alive)):
        status = _to_the_end(setup, service, coordinator)
    if service.fencing.absent and not ulfm.enabled():
        comm.Abort(status)  # nobody has anything left to do, and those would not come to the end
    return status


def _to_the_end(setup: "Setup", service: "CoordinatorService", coordinator: Coordinator) -> int:
    """Coordinate the run, and let all leave; return the exit status."""
    from dbmpi.run.roles.last_word import LastWord

    shared, checkpoints = coordinator.shared, coordinator.checkpoints
    log, keep_alive = shared.log, shared.replicas.keep_alive
    stopping = coordinate(coordinator, setup.resume)
    service.shards.collect_reports(keep_alive)
    last_word = LastWord(setup, log, stopping, checkpoints.problem)
    if not stopping.hasty:
        stopping.check_refusals(log.shards, final=True)
        with last_word.attempting(run_directory.MODEL):
            last_word.note(service.shards.save_model(coordinator.model, keep_alive, coordinator.keeps_best))
    status = service.meanwhile(last_word.conclude, keep_alive)
    service.dismiss(status)
    return status
