"""Work and reports on the wire: the coordinator's side, and the partitions'."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from dbmpi import failures
from dbmpi.activity import Activity
from dbmpi.assignments import leave, reroute
from dbmpi.errors import STATUS_OK, PeerDied, PeerSilent
from dbmpi.failures import Watch
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
    Status,
    Tag,
    Work,
    check_size,
)
from dbmpi.replica import Retired
from dbmpi.roster import PATIENCE
from dbmpi.sharding import Owners
from dbmpi.signals import Signals
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
        self.send_to(self._topology.replicas[replica], assignment)

    def send_to(self, ranks: Sequence[int], assignment: Record) -> None:
        """Send an assignment to world ranks."""
        for rank in ranks:
            self.out.send(assignment, rank, Tag.ASSIGNMENT)


class CoordinatorService:
    """Carries the messages of the coordinator, from the first assignment to the order to leave.

    Parameters
    ----------
    shard_every_s
        Interval of the shards' reports, in seconds: one that is silent for much longer is lost.
    signals
        Notes what other ranks have received.
    mirrors
        Whether shards are mirrored, and the run survives the death of one.

    Attributes
    ----------
    owners
        Which shards live, and serve what.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        topology: Topology,
        post: Post,
        book: Book,
        waiter: Waiter,
        shard_every_s: float,
        signals: Signals,
        mirrors: bool = False,
    ) -> None:
        self._comm, self._topology, self._signals = comm, topology, signals
        self._post, self._book, self._waiter = post, book, waiter
        self._shard_silence_s = PATIENCE * waiter.timeout_s + shard_every_s
        self._heard = dict.fromkeys(range(len(topology.shards)), time.monotonic())
        self._left: set[int] = set()
        self._unwritten: set[int] = set()  # shards, of checkpoint `_number`
        self._number = 0
        self._began = time.monotonic()
        self.owners = Owners(len(topology.shards))
        self._written: Callable[[Written], None] = lambda written: None
        shards = {rank: f"rank {rank} (shard {i})" for i, rank in enumerate(topology.shards)}
        self._watch = Watch(comm, {} if mirrors else shards)
        self._mourned = 0  # of those that it knows to be dead
        self._lost: set[int] = set()  # replicas

    def drive(self, activity: Activity) -> None:
        """Start an activity, and carry its messages until it is finished."""
        idle, next_tick = Idle(), 0.0
        activity.start()
        while not activity.finished:
            if self._receive(activity):
                idle.busy()
            else:
                idle.rest()
            if len(self._watch.dead) > self._mourned:
                self._mourn(activity)
            if time.monotonic() >= next_tick:
                activity.tick()
                self._miss_shards()
                next_tick = time.monotonic() + TICK_S

    def _mourn(self, activity: Activity) -> None:
        """Let an activity know which replicas have lost a rank, and see to the pieces of shards that died."""
        self._bury()
        dead, self._mourned = self._watch.dead[self._mourned :], len(self._watch.dead)
        for rank in dead:
            role = self._topology.roles[rank]
            if role.kind == "replica" and role.replica_index not in self._lost:
                self._lost.add(role.replica_index)
                activity.died(role.replica_index, f"rank {rank}")

    def _take(self, tag: Tag, layout: np.dtype[Any]) -> Record | None:
        """Return the next message of a tag; a death that shows itself instead is noted."""
        try:
            return receive(self._comm, tag, layout)
        except MPI.Exception as error:
            self._watch.learn(error)
            return None

    def _receive(self, activity: Activity) -> bool:
        report = self._take(Tag.REPORT, REPORT)
        if report is not None:
            activity.receive(report)
        signal = self._take(Tag.SIGNAL, SIGNAL)
        if signal is not None:
            self._signals.note(int(signal["number"]))
        return self._receive_written() or self._receive_shard() or report is not None

    def _receive_written(self) -> bool:
        """Take in that a shard's part of a checkpoint is on disk."""
        record = self._take(Tag.WRITTEN, WRITTEN) if self._unwritten else None
        if record is None:
            return False
        if record["number"] == self._number:
            self._unwritten.discard(int(record["shard"]))
        file = FileRecord(int(record["bytes"]), record["sha256"].tobytes().hex())
        self._written(Written(int(record["number"]), int(record["shard"]), file, int(record["updates"])))
        return True

    def snapshot(
        self, number: int, vectors: Sequence[int] | None, written: Callable[[Written], None]
    ) -> None:
        """See `keeper.Copying.snapshot`."""
        ranks, self._number = self._shards, number
        self._unwritten, self._written = set(self.owners.living), written
        for rank in ranks:
            self._request(Op.CHECKPOINT, rank, -1 if vectors is None else len(vectors), number)
            if vectors:
                self._post.out.send(np.array(vectors, np.int64), rank, Tag.VECTORS)
        self._await_replies(ranks, "copying its slice for a checkpoint")
        while self._receive_shard():
            pass
        self._bury()

    def await_files(self) -> None:
        """See `keeper.Copying.await_files`."""

        def all_written() -> bool:
            while self._receive_written():
                pass
            self._bury()
            return not self._unwritten

        self._waiter.until(all_written, lambda: f"{len(self._unwritten)} shards (writing a checkpoint)")

    @property
    def _shards(self) -> list[int]:
        """The world ranks of the shards that live, as far as is known."""
        return [self._topology.shards[i] for i in self.owners.living]

    def _await_replies(self, ranks: Sequence[int], what: str) -> list[Record | None]:
        """Return the header of a reply from each of some shards; None from one that has died."""
        return [self._await_reply(rank, what) for rank in ranks]

    def _await_reply(self, rank: int, what: str) -> Record | None:
        answer = np.zeros(1, REPLY_HEADER)
        try:
            received = self._comm.Irecv(answer.view(np.uint8), rank, Tag.REPLY)
            self._waiter.until(received.Test, partial(str, f"rank {rank} (a shard: {what})"))
        except MPI.Exception as error:
            self._watch.learn(error)
            if rank not in self._watch.dead:
                raise
            return None
        return answer.reshape(())

    def _bury(self) -> None:
        """Let the heirs of shards that have died go on with their pieces, and tell all who ask for them."""
        for rank in self._watch.dead:
            shard = self._topology.roles[rank].shard_index
            if shard in self.owners.living:
                self._bury_shard(shard, rank)

    def _bury_shard(self, dead: int, rank: int) -> None:
        """See `_bury`.

        Raises
        ------
        PeerDied
            It was the last one, its heir has no whole mirror, or is dead too.
        """
        while self._receive_shard():
            pass
        name = f"rank {rank} (shard {dead})"
        if self.owners.living == [dead]:
            raise PeerDied.named([name])
        heir = self.owners.bury(dead)
        for living in self._shards:
            self._request(Op.ADOPT, living, piece=dead)
        to = self._topology.shards[heir]
        answer = self._await_reply(to, "taking over from another shard")
        if answer is None:
            raise PeerDied.named([name, f"rank {to} (shard {heir})"])
        if answer["status"] != Status.OK:
            raise PeerDied(f"{PeerDied.named([name])}: no mirror of it was whole yet")
        for partitions in self._topology.replicas:
            self._post.send_to(partitions, reroute(dead, heir))
        self._unwritten.discard(dead)
        self._book_death(dead, heir, answer)
        self._heard.pop(dead)

    def _book_death(self, dead: int, heir: int, answer: Record) -> None:
        """Say what was lost: what the mirror lacks of the last report, and as much for the time since."""
        now, report = time.monotonic(), self._book.shards.get(dead)
        pieces, reported = (int(report["pieces"]), int(report["updates"])) if report is not None else (0, 0)
        since = reported * (now - self._heard[dead]) / max(self._heard[dead] - self._began, 1e-3)
        lost = round(max(0.0, reported + since - int(answer["version"])) / max(pieces, 1))
        age_s, ranks = int(answer["piece"]) / 1000, self._topology.shards
        self._book.bury(dead)
        self._book.event(
            f"shard {dead} has died (rank {ranks[dead]}): shard {heir} (rank {ranks[heir]}) goes on with its "
            f"parameters as they were {age_s:.1f} s ago; about {lost:,} updates are lost",
            shard=dead,
            heir=heir,
            mirror_age_s=age_s,
            updates_lost=lost,
        )

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
        shard = self._take(Tag.SHARD, SHARD_REPORT)
        if shard is None:
            return False
        index = int(shard["shard"])
        if index not in self.owners.living:  # sent before it died
            return True
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
        """Let the first shard write the model: again, if one dies meanwhile."""
        answer: Record | None = None
        while answer is None or answer["status"] != Status.OK:
            self._look_for_deaths()
            first = self._shards[0]
            self._request(Op.SAVE, first)
            answer = self._await_reply(first, "writing the model")

    def _look_for_deaths(self) -> None:
        while self._receive_shard():
            pass
        self._bury()

    def dismiss(self, status: int = STATUS_OK) -> None:
        """Let everyone leave, shards first with their last reports.

        Parameters
        ----------
        status
            The exit status of the run, for everyone.
        """
        for rank in self._shards:
            self._request(Op.STOP, rank, piece=status)
        for ranks in (*self._topology.replicas, self._topology.spares):
            self._post.send_to(ranks, leave(status))
        self._waiter.until(self._all_left, lambda: f"the last reports of {self._missing()}")
        self._post.out.drain(self._waiter)

    def _request(self, op: Op, rank: int, count: int = 0, number: int = 0, piece: int = 0) -> None:
        header = np.zeros((), REQUEST_HEADER)
        header["op"], header["steps"], header["version"], header["piece"] = op, count, number, piece
        self._post.out.send(header, rank, Tag.REQUEST)

    def _all_left(self) -> bool:
        while self._receive_shard():
            pass
        return not self._staying()

    def _staying(self) -> list[int]:
        """Return the shards that live and have not said that they leave."""
        ranks, dead = self._topology.shards, self._watch.dead
        return [i for i in self.owners.living if i not in self._left and ranks[i] not in dead]

    def _missing(self) -> str:
        return ", ".join(f"rank {self._topology.shards[i]} (shard {i})" for i in self._staying())


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

    def __init__(self, comm: MPI.Intracomm, coordinator: int, waiter: Waiter, signals: Signals) -> None:
        self._herald = Herald(comm, coordinator, signals)
        self._comm, self._coordinator, self._waiter = comm, coordinator, waiter
        self._out = Outbox(comm)
        self._queue: deque[Record] = deque()
        self._replica: Replica | None = None
        self.retired = False
        self._sent_at = time.monotonic()
        self._buffer = np.zeros(1, ASSIGNMENT)
        self._expect()

    def run(self, replica: "Replica", comm: MPI.Intracomm | None = None) -> int:
        """Do what the coordinator orders until it says to leave; return the exit status that it gives.

        Parameters
        ----------
        comm
            The replica's communicator: when one of its ranks dies, the others leave all work.
        """
        self._replica = replica
        try:
            status = self._work(replica)
        except Retired:
            failures.revoke(comm)
            status = self._retire(replica)
        except MPI.Exception as error:
            if not failures.lost(error, comm):
                raise
            status = self._retire(replica)
        self._out.drain(self._waiter)
        return status

    def _work(self, replica: "Replica") -> int:
        while (assignment := self._next())["work"] != Work.LEAVE:
            self._report(replica.perform(assignment))
        return int(assignment["index"])

    def _retire(self, replica: "Replica") -> int:
        """Wait for the order to leave; nothing else is obeyed any more."""
        replica.retire()
        self.retired, self._replica = True, None
        while (assignment := self._next())["work"] != Work.LEAVE:
            pass
        return int(assignment["index"])

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
        self._herald.look()
        for report in self._replica.take_pushed() if self._replica is not None else ():
            self._report(report)
        if not self._request.Test():
            return False
        assignment = self._buffer.copy().reshape(())
        self._expect()
        if self._replica is None:
            self._queue.append(assignment)
        elif assignment["work"] in URGENT:
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


def spare(comm: MPI.Intracomm, coordinator: int) -> int:
    """Wait, as a rank without work, until the coordinator says to leave; return the status. Local."""
    record, idle = np.zeros(1, ASSIGNMENT), Idle()
    request = comm.Irecv(record.view(np.uint8), coordinator, Tag.ASSIGNMENT)
    while not request.Test():
        idle.rest()
    return int(record[0]["index"])
