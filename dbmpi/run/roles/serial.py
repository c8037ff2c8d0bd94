"""Training in one process: coordinator, shard and replica without messages, by the same code."""

import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Array, Record
from dbmpi.checkpoint.directory import Written
from dbmpi.checkpoint.shard_file import ShardWriter
from dbmpi.comm.protocol import URGENT, Op, Status
from dbmpi.coordinator.activity import Activity
from dbmpi.layout.sharding import Owners, Piece
from dbmpi.output import run_directory
from dbmpi.output.metrics import MetricsLog
from dbmpi.replica.client import Outcome, Request
from dbmpi.replica.worker import PartitionWorker
from dbmpi.run.roles import coordinator_rank, replica_rank, shard_rank
from dbmpi.run.roles.context import RunContext
from dbmpi.run.roles.last_word import LastWord
from dbmpi.run.roles.model_output import save_model, save_saved
from dbmpi.server.shard import Shard
from dbmpi.spans import OFF, Kind, Off
from kernels.parameters import rules

POLL_S = 1e-3
CLIENT = 0  # the one there is, as the shard calls it


class LocalClient:
    """See `client.ParameterClient`.

    Parameters
    ----------
    values
        The vector that the shard's pieces are views of.
    shared
        Whether the replica may compute on `values` itself, so that a fetch moves nothing: it must
        then fetch after every step, and take none on its own copy.
    spans
        Records when.
    """

    def __init__(
        self, shard: Shard, pieces: Sequence[Piece], values: Array, shared: bool, spans: Off = OFF
    ) -> None:
        self._shard, self._pieces, self._values, self._spans = shard, pieces, values, spans
        self.shared = shared
        self.incoming = values if shared else np.empty_like(values)
        self._ended: Outcome | None = None

    @property
    def busy(self) -> bool:
        """Whether an outcome waits to be taken."""
        return self._ended is not None

    def room(self) -> Array:
        """See `ParameterClient.room`."""
        return np.zeros_like(self._values)

    def begin(self, request: Request) -> None:
        """Do the whole exchange: a round has one replica. See `ParameterClient.begin`."""
        op, rate, refused, behind = request.op, request.rate, 0, []
        start = time.monotonic()
        for piece, version in zip(self._pieces, request.versions, strict=True):
            part = request.gradient[piece.start : piece.stop]
            since = self._shard.since(piece.index, CLIENT, op, int(version), request.steps)
            if op & Op.PUSH:
                status = self._shard.push(piece.index, part, int(version), rate, since=since)
                refused += status is not Status.OK
                if status is Status.OK:
                    behind.append(self._shard.held[piece.index].version - int(version))
            elif op & Op.ACCRUE:
                refused += self._shard.accrue(piece.index, part, int(version)) is not Status.OK
            if op & Op.CLOSE:
                self._shard.close([piece.index])
        self._ended = Outcome(self._fetch(op) if op & Op.FETCH else None, refused, behind=behind)
        self._spans.add((Kind.LOCAL, start, time.monotonic(), op))

    def pushed_square(self, gradient: Array) -> float:
        """See `ParameterClient.pushed_square`."""
        return float(rules.sum_of_squares(gradient))

    def _fetch(self, op: Op) -> NDArray[np.int64]:
        client = CLIENT if op & Op.LEARN else None
        for piece in self._pieces if op & Op.AVERAGE else ():
            np.copyto(self.incoming[piece.start : piece.stop], self._shard.evaluated(piece.index))
        if not op & Op.AVERAGE and self.incoming is not self._values:
            np.copyto(self.incoming, self._values)
        return np.array([self._shard.fetch(piece.index, client).version for piece in self._pieces])

    def poll(self) -> Outcome | None:
        """See `ParameterClient.poll`."""
        ended, self._ended = self._ended, None
        return ended

    def wait(self) -> Outcome:
        """See `ParameterClient.wait`."""
        ended = self.poll()
        assert ended is not None
        return ended

    def progress(self) -> None:
        """Nothing is in flight."""

    def adopt(self, spare: Array) -> None:
        """See `ParameterClient.adopt`."""
        self.incoming = spare

    def forget(self) -> None:
        """Nothing is rounded."""

    def reroute(self, dead: int, successor: int) -> None:
        """The shard dies with this process."""


class LocalDispatcher:
    """The dispatcher of one process: assignments wait here until they are done, urgent ones do not wait."""

    def __init__(self, replica: PartitionWorker) -> None:
        self.replica = replica
        self.waiting: deque[Record] = deque()

    def send(self, replica: int, assignment: Record) -> None:
        """See `replicas.Dispatcher`."""
        if assignment["work"] in URGENT:
            self.replica.handle_urgent(assignment)
        else:
            self.waiting.append(assignment)
            self.replica.prepare(assignment)

    def send_to_spares(self, assignment: Record) -> None:
        """There are none."""


class LocalCluster:
    """The cluster of one process, and its one shard. See `cluster.Cluster` and `cluster.Shards`."""

    mirrors = None

    def __init__(
        self, context: RunContext, shard: Shard, dispatcher: LocalDispatcher, log: MetricsLog
    ) -> None:
        self._every_s = context.config.output.shard_every_s
        self._shard, self._dispatcher, self._log = shard, dispatcher, log
        self._next_report = 0.0
        self._shard_writer = ShardWriter(context.setup.owned, 0, context.waiter.spans)
        self.owners = Owners(1)
        self._written: Callable[[Written], None] = lambda written: None

    @property
    def shards(self) -> "LocalCluster":
        """Itself."""
        return self

    def drive(self, activity: Activity) -> None:
        """Start an activity, and do its orders until it is finished."""
        activity.start()
        while not activity.finished:
            for report in self._dispatcher.replica.take_pushed():
                activity.receive(report)
            if self._dispatcher.waiting:
                activity.receive(self._dispatcher.replica.perform(self._dispatcher.waiting.popleft()))
            activity.tick()
            if self._log.elapsed_s >= self._next_report:
                self._log.shard(self._shard.report())
                self._next_report = self._log.elapsed_s + self._every_s

            self._take_written()

    def snapshot(
        self, number: int, vectors: Sequence[int] | None, written: Callable[[Written], None]
    ) -> None:
        """See `cluster.Shards.snapshot`."""
        self._written = written
        self._log.shard(self._shard.report())
        self._shard_writer.begin(number, self._shard.snapshot(vectors))

    def wait_until(self, done: Callable[[], bool]) -> None:
        """See `cluster.Shards.wait_until`."""
        while not done():
            time.sleep(POLL_S)
            self._take_written()

    def _take_written(self) -> None:
        written = self._shard_writer.take_written()
        if written is not None:
            self._written(written)

    def operate(self, records: Record) -> NDArray[np.float64]:
        """See `cluster.Shards.operate`."""
        return self._shard.operate(records)


def run(context: RunContext, log: MetricsLog) -> int:
    """Train, evaluate and save in this process; return the exit status."""
    shard, client = _parameters(context)
    replica = replica_rank.partition_worker(context, (0, 0), client, None, lambda: None)
    context.opened.callback(replica.close)
    dispatcher = LocalDispatcher(replica)
    cluster = LocalCluster(context, shard, dispatcher, log)
    coordinator = coordinator_rank.make(context, cluster, dispatcher, log, lambda r, p: "this process")
    stopping = coordinator_rank.coordinate(coordinator, context.setup.resume)
    _report_last(shard, log)
    last_word = LastWord(context.setup, log, stopping, coordinator.checkpoints.problem)
    if not stopping.hasty:
        stopping.check_refusals(log.shards, final=True)
        with last_word.attempting(run_directory.MODEL):
            if coordinator.keeps_best and coordinator.model:
                save_saved(context, coordinator.model)
            else:
                save_model(context, lambda piece: shard.evaluated(piece.index))
    replica.close()
    return last_word.conclude()


def _parameters(context: RunContext) -> tuple[Shard, LocalClient]:
    """Make the shard; the replica computes on its parameters themselves where it may."""
    shard, values = shard_rank.shard(context, 0)
    settings = context.config.downpour
    shared = (settings.waits and settings.n_fetch == 1) or not context.config.uses_downpour
    return shard, LocalClient(shard, context.pieces, values, shared, context.waiter.spans)


def _report_last(shard: Shard, log: MetricsLog) -> None:
    record = shard.report()
    record["last"], record["clients"] = True, 1
    log.shard(record)
