"""The coordinator's messages, from the first assignment to the order to leave."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from mpi4py import MPI

from dbmpi.comm.assignments import leave
from dbmpi.comm.background import Background
from dbmpi.comm.protocol import FENCED, REPORT, SIGNAL, Tag, scored
from dbmpi.comm.signals import Signals
from dbmpi.comm.ulfm import FailureDetector
from dbmpi.comm.wait import IdleBackoff, Waiter
from dbmpi.coordinator.activity import Activity
from dbmpi.coordinator.commands import CommandChannel, MpiDispatcher
from dbmpi.coordinator.fencing import Fencing
from dbmpi.coordinator.shards import ShardGroup
from dbmpi.errors import STATUS_OK, Fenced, PeerSilent
from dbmpi.layout.topology import Topology
from dbmpi.output.metrics import MetricsLog
from dbmpi.process import Process
from dbmpi.spans import Kind

TICK_S = 0.01
MOST_READ = 10_000  # messages, before somebody is judged
T = TypeVar("T")


class CoordinatorService:
    """Carries the messages of the coordinator. See `cluster.Cluster`.

    Parameters
    ----------
    comm, topology, log, waiter
        The service communicator, the role of every rank, where results go, how to wait.
    shard_every_s
        Interval of the shards' reports, in seconds.
    signals
        Notes what other ranks have received.
    mirrored
        Whether shards are mirrored, and the run survives the death of one.
    processes
        Of every rank, to end those that are silent.

    Attributes
    ----------
    dispatcher, shards, fencing
        The way to the replicas, and to the shards; what becomes of silent ranks.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        topology: Topology,
        log: MetricsLog,
        waiter: Waiter,
        shard_every_s: float,
        signals: Signals,
        mirrored: bool = False,
        processes: Sequence[Process] = (),
    ) -> None:
        self._topology, self._signals, self._waiter = topology, signals, waiter
        shards = {rank: f"rank {rank} (shard {i})" for i, rank in enumerate(topology.shards)}
        self._detector = FailureDetector(comm, {} if mirrored else shards)
        self.dispatcher = MpiDispatcher(comm, topology, self._detector)
        self._channel = CommandChannel(comm, self.dispatcher.out, waiter, self._detector)
        self.fencing = Fencing(
            self._channel, self.dispatcher, topology, list(processes), self._detector, log.silence
        )
        self.shards = ShardGroup(
            self._channel, topology, self.dispatcher, log, shard_every_s, self.fencing, mirrored
        )
        sizes = (log.measures.size, log.measures.full_size) if log.measures is not None else (0,)
        self._reports = REPORT, *map(scored, sizes)
        self._log, self._handled = log, 0  # dead ranks
        self._lost: set[int] = set()  # replicas

    def drive(self, activity: Activity) -> None:
        """Start an activity, and carry its messages until it is finished."""
        idle, next_tick = IdleBackoff(), 0.0
        activity.start()
        while not activity.finished:
            if self._receive(activity):
                idle.busy()
            else:
                idle.rest()
            if len(self._detector.dead) > self._handled:
                self._handle_failures(activity)
            if time.monotonic() >= next_tick:
                activity.tick()
                self._judge(activity)
                next_tick = time.monotonic() + TICK_S

    def _judge(self, activity: Activity) -> None:
        """Give and look for signs of life: who is silent when all has been read that has come, is fenced."""
        self.shards.attend()
        if not activity.silent():
            return
        for _ in range(MOST_READ):
            if activity.finished or not self._receive(activity):
                break
        for replica, partition in activity.silent():
            rank = self._topology.replicas[replica][partition]
            if rank not in self._detector.dead and not self.fencing.fence(rank):
                activity.fell_silent(replica)

    def attending(self, keep_alive: Callable[[], None]) -> Callable[[], None]:
        """Return what a wait for something else calls now and then: `Waiter.meanwhile`."""

        def attend() -> None:
            self._heed_signal()
            keep_alive()
            self.shards.attend()

        return attend

    def _receive(self, activity: Activity) -> bool:
        self._heed_signal()  # first: this rank may be fenced, and must write nothing then
        report = self._channel.take(Tag.REPORT, *self._reports)
        if report is not None:
            self._log.hear(report, f"replica {report['replica']} partition {report['partition']}")
            start = time.monotonic()
            activity.receive(report)
            about = int(report["work"]), int(report["replica"])
            self._waiter.spans.note(Kind.REPORT, start, time.monotonic(), *about)
        return self.shards.receive() or report is not None

    def _heed_signal(self) -> None:
        """Take in what signal another rank has received. Raises Fenced."""
        signal = self._channel.take(Tag.SIGNAL, SIGNAL)
        if signal is None:
            return
        if signal["number"] == FENCED:
            raise Fenced
        self._signals.note(int(signal["number"]))

    def _handle_failures(self, activity: Activity) -> None:
        """Let successors serve for dead shards, and tell an activity which replicas have lost a rank."""
        dead = self._detector.dead[self._handled :]
        self._handled += len(dead)  # not those that are learned of from here on
        if self.shards.handle_failures():
            activity.shard_died()
        for rank in dead:
            role = self._topology.roles[rank]
            if role.kind == "replica" and role.replica_index not in self._lost:
                self._lost.add(role.replica_index)
                activity.died(role.replica_index, f"rank {rank}")

    def meanwhile(self, task: Callable[[], T], keep_alive: Callable[[], None]) -> T:
        """Let a task that may take long run in a thread, with signs of life; return its result."""

        def look() -> None:
            self.shards.look()
            keep_alive()

        return Background(lambda call: task()).result(look)

    def dismiss(self, status: int = STATUS_OK) -> None:
        """Let everyone leave, shards first.

        Parameters
        ----------
        status
            The exit status of the run, for everyone.
        """
        self.shards.stop(status)
        for ranks in (*self._topology.replicas, self._topology.spares):
            self.dispatcher.send_to(ranks, leave(status))
        if not self.fencing.absent:  # they may never take it
            with suppress(PeerSilent):  # nor a spare rank that is silent: all is written
                self.dispatcher.out.drain(self._waiter, patience=1.0)
