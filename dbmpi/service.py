"""Work and reports on the wire: the coordinator's side, and the partitions'."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from dbmpi.activity import Activity
from dbmpi.assignments import plain
from dbmpi.errors import PeerSilent
from dbmpi.mail import Herald, Outbox, receive
from dbmpi.manifest import FileRecord, Written
from dbmpi.metrics import Book
from dbmpi.operations import Kind
from dbmpi.protocol import (
    ASSIGNMENT,
    REPLY_HEADER,
    REPORT,
    REQUEST_HEADER,
    SHARD_REPORT,
    SIGNAL,
    URGENT,
    WRITTEN,
    Op,
    Tag,
    Work,
    check_size,
)
from dbmpi.roster import PATIENCE
from dbmpi.signals import Watch
from dbmpi.topology import Topology
from dbmpi.waiting import Idle, Waiter

if TYPE_CHECKING:
    from dbmpi.replica import Replica

Record = NDArray[Any]
TICK_S = 0.01


class Post:
    """The coordinator's mail: an assignment goes to every partition of a replica."""

    def __init__(self, comm: MPI.Intracomm, topology: Topology) -> None:
        self.out = Outbox(comm)
        self._topology = topology

    def send(self, replica: int, assignment: Record) -> None:
        """See `coordinator.Mail`."""
        for rank in self._topology.replicas[replica]:
            self.out.send(assignment, rank, Tag.ASSIGNMENT)


class CoordinatorService:
    """Carries the messages of the coordinator, from the first assignment to the order to leave.

    Parameters
    ----------
    shard_every_s
        Interval of the shards' reports, in seconds: one that is silent for much longer is lost.
    signals
        Notes what other ranks have received.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        topology: Topology,
        post: Post,
        book: Book,
        waiter: Waiter,
        shard_every_s: float,
        signals: Watch,
    ) -> None:
        self._comm, self._topology, self._signals = comm, topology, signals
        self._post, self._book, self._waiter = post, book, waiter
        self._shard_silence_s = PATIENCE * waiter.timeout_s + shard_every_s
        self._heard = dict.fromkeys(range(len(topology.shards)), time.monotonic())
        self._left: set[int] = set()
        self._unwritten = 0
        self._written: Callable[[Written], None] = lambda written: None

    def drive(self, activity: Activity) -> None:
        """Start an activity, and carry its messages until it is finished."""
        idle, next_tick = Idle(), 0.0
        activity.start()
        while not activity.finished:
            if self._receive(activity):
                idle.busy()
            else:
                idle.rest()
            if time.monotonic() >= next_tick:
                activity.tick()
                self._miss_shards()
                next_tick = time.monotonic() + TICK_S

    def _receive(self, activity: Activity) -> bool:
        report = receive(self._comm, Tag.REPORT, REPORT)
        if report is not None:
            activity.receive(report)
        signal = receive(self._comm, Tag.SIGNAL, SIGNAL)
        if signal is not None:
            self._signals.note(int(signal["number"]))
        return self._receive_written() or self._receive_shard() or report is not None

    def _receive_written(self) -> bool:
        """Take in that a shard's part of a checkpoint is on disk."""
        record = receive(self._comm, Tag.WRITTEN, WRITTEN) if self._unwritten else None
        if record is None:
            return False
        self._unwritten -= 1
        file = FileRecord(int(record["bytes"]), record["sha256"].tobytes().hex())
        self._written(Written(int(record["number"]), int(record["shard"]), file, int(record["updates"])))
        return True

    def snapshot(
        self, number: int, vectors: Sequence[int] | None, written: Callable[[Written], None]
    ) -> None:
        """See `keeper.Copying.snapshot`."""
        self._unwritten, self._written = len(self._topology.shards), written
        for rank in self._topology.shards:
            self._request(Op.CHECKPOINT, rank, -1 if vectors is None else len(vectors), number)
            if vectors:
                self._post.out.send(np.array(vectors, np.int64), rank, Tag.VECTORS)
        self._await_replies(self._topology.shards, "copying its slice for a checkpoint")
        while self._receive_shard():
            pass

    def await_files(self) -> None:
        """See `keeper.Copying.await_files`."""

        def all_written() -> bool:
            while self._receive_written():
                pass
            return not self._unwritten

        self._waiter.until(all_written, lambda: f"{self._unwritten} shards (writing a checkpoint)")

    def _await_replies(self, ranks: Sequence[int], what: str) -> None:
        """Wait for the header of a reply from each of some shards."""
        answers = np.zeros(len(ranks), REPLY_HEADER)
        parts = [answers[i : i + 1].view(np.uint8) for i in range(len(ranks))]
        receives = [
            self._comm.Irecv(part, rank, Tag.REPLY) for part, rank in zip(parts, ranks, strict=True)
        ]
        for rank, received in zip(ranks, receives, strict=True):
            self._waiter.until(received.Test, partial(str, f"rank {rank} (a shard: {what})"))

    def operate(self, records: Record) -> NDArray[np.float64]:
        """Let every shard perform `OPERATION` records; return the sums of their scalars, in shard order."""
        scalars = np.count_nonzero(records["kind"] == Kind.DOT)
        answers = np.zeros((len(self._topology.shards), scalars))
        receives = []
        for rank, answer in zip(self._topology.shards, answers, strict=True):
            receives.append(self._comm.Irecv(answer, rank, Tag.SCALARS))
            self._request(Op.OPERATE, rank, len(records))
            self._post.out.send(records, rank, Tag.OPERATIONS)
        for rank, received, answer in zip(self._topology.shards, receives, answers, strict=True):
            status, peer = MPI.Status(), partial(str, f"rank {rank} (a shard: vector operations)")
            self._waiter.until(partial(received.Test, status), peer)
            check_size(status.Get_count(), answer.nbytes, Tag.SCALARS.name, rank)
        return answers.sum(axis=0)

    def _receive_shard(self) -> bool:
        shard = receive(self._comm, Tag.SHARD, SHARD_REPORT)
        if shard is None:
            return False
        index = int(shard["shard"])
        self._heard[index] = time.monotonic()
        self._book.shard(shard)
        if shard["last"]:
            self._left.add(index)
        return True

    def _miss_shards(self) -> None:
        now = time.monotonic()
        for index, heard in self._heard.items():
            if now - heard > self._shard_silence_s:
                rank = self._topology.shards[index]
                raise PeerSilent(
                    f"no report within {self._shard_silence_s:g} s from rank {rank} (shard {index})"
                )

    def save_model(self) -> None:
        """Let shard 0 write the model."""
        first = self._topology.shards[0]
        self._request(Op.SAVE, first)
        self._await_replies([first], "writing the model")

    def dismiss(self) -> None:
        """Let everyone leave, shards first with their last reports."""
        for rank in self._topology.shards:
            self._request(Op.STOP, rank)
        for replica in range(len(self._topology.replicas)):
            self._post.send(replica, plain(Work.LEAVE))
        self._waiter.until(self._all_left, lambda: f"the last reports of {self._missing()}")
        self._post.out.drain(self._waiter)

    def _request(self, op: Op, rank: int, count: int = 0, number: int = 0) -> None:
        header = np.zeros((), REQUEST_HEADER)
        header["op"], header["steps"], header["version"] = op, count, number
        self._post.out.send(header, rank, Tag.REQUEST)

    def _all_left(self) -> bool:
        while self._receive_shard():
            pass
        return len(self._left) == len(self._topology.shards)

    def _missing(self) -> str:
        return ", ".join(
            f"rank {rank} (shard {i})" for i, rank in enumerate(self._topology.shards) if i not in self._left
        )


class Desk:
    """A partition's correspondence with the coordinator.

    Parameters
    ----------
    comm, coordinator
        The service communicator, and the coordinator's world rank.
    waiter
        How this rank waits.
    signals
        What has been received.
    """

    def __init__(self, comm: MPI.Intracomm, coordinator: int, waiter: Waiter, signals: Watch) -> None:
        self._herald = Herald(comm, coordinator, signals)
        self._comm, self._coordinator, self._waiter = comm, coordinator, waiter
        self._out = Outbox(comm)
        self._queue: deque[Record] = deque()
        self._replica: Replica | None = None
        self._sent_at = time.monotonic()
        self._buffer = np.zeros(1, ASSIGNMENT)
        self._expect()

    def run(self, replica: "Replica") -> None:
        """Do what the coordinator orders until it says to leave."""
        self._replica = replica
        while (assignment := self._next())["work"] != Work.LEAVE:
            self._report(replica.perform(assignment))
        self._out.drain(self._waiter)

    def between(self) -> None:
        """Between minibatches: look for assignments; give a sign of life if it is time."""
        while self._arrived():
            pass
        if self._replica is not None and time.monotonic() - self._sent_at > self._waiter.timeout_s / 4:
            self._report(self._replica.alive())

    def _report(self, report: Record) -> None:
        self._sent_at = time.monotonic()
        self._out.send(report, self._coordinator, Tag.REPORT)

    def _next(self) -> Record:
        peer = partial(str, f"rank {self._coordinator} (coordinator: the next assignment)")
        while not self._queue:
            self._waiter.until(self._arrived, peer)
        return self._queue.popleft()

    def _arrived(self) -> bool:
        """Take in the next message of the coordinator, if there is one; report pushes that have ended."""
        assert self._replica is not None
        self._herald.look()
        for report in self._replica.take_pushed():
            self._report(report)
        if not self._request.Test():
            return False
        assignment = self._buffer.copy().reshape(())
        self._expect()
        if assignment["work"] in URGENT:
            self._replica.heed(assignment)
        elif assignment["work"] != Work.ALIVE:
            self._queue.append(assignment)
            self._replica.prepare(assignment)
        return True

    def _expect(self) -> None:
        self._request = self._comm.Irecv(self._buffer.view(np.uint8), self._coordinator, Tag.ASSIGNMENT)

    def close(self) -> None:
        """Withdraw the receive that is still posted. Local."""
        self._herald.close()
        self._request.Cancel()
        self._request.Wait()
