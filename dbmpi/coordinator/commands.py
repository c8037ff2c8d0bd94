"""What the coordinator orders shards to do, one message at a time, and what they answer."""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

import numpy as np
from mpi4py import MPI

from dbmpi.arrays import Record
from dbmpi.comm.messages import Outbox, complete, take, tolerant
from dbmpi.comm.protocol import ANSWER, COMMAND, Command, Tag
from dbmpi.comm.ulfm import FailureDetector
from dbmpi.comm.wait import Waiter
from dbmpi.layout.topology import Topology


class MpiDispatcher:
    """Sends an assignment to every partition of a replica. See `replicas.Dispatcher`.

    Parameters
    ----------
    comm, topology
        The service communicator, and which rank has which role.
    detector
        Learns of the deaths that a message meets.

    Attributes
    ----------
    out
        What is on its way.
    """

    def __init__(self, comm: MPI.Intracomm, topology: Topology, detector: FailureDetector) -> None:
        self.out = Outbox(comm, detector.learn)
        self._topology = topology

    def send(self, replica: int, assignment: Record) -> None:
        """See `replicas.Dispatcher`."""
        self.send_to(self._topology.replicas[replica], assignment)

    def send_to_spares(self, assignment: Record) -> None:
        """See `replicas.Dispatcher`."""
        self.send_to(self._topology.spares, assignment)

    def send_to(self, ranks: Sequence[int], assignment: Record) -> None:
        """Send an assignment to world ranks."""
        for rank in ranks:
            self.out.send(assignment, rank, Tag.ASSIGNMENT)


class _Gone(Exception):
    """The shard whose message is awaited counts as dead."""


class CommandChannel:
    """Carries commands to shards; a death that shows itself on the way is noted, not raised.

    Parameters
    ----------
    comm
        The service communicator.
    outbox
        What the coordinator sends.
    waiter
        How it waits.
    detector
        Which ranks are dead, as far as is known.
    """

    def __init__(
        self, comm: MPI.Intracomm, outbox: Outbox, waiter: Waiter, detector: FailureDetector
    ) -> None:
        self.comm, self.waiter, self.detector = comm, waiter, detector
        self._outbox = outbox
        self._abandoned: list[object] = []  # receives of messages that may yet come, and their buffers

    def order(self, rank: int, command: Command, **fields: int) -> None:
        """Send a COMMAND; the fields that are not given are zero. Local."""
        record = np.zeros((), COMMAND)
        record["command"] = command
        for name, value in fields.items():
            record[name] = value
        self._outbox.send(record, rank, Tag.COMMAND)

    def order_of_vectors(
        self, rank: int, command: Command, vectors: Sequence[int] | None, **fields: int
    ) -> None:
        """Send a COMMAND about some vectors of a batch method; None for what Downpour has. Local."""
        count = len(vectors) if vectors else 0
        self.order(rank, command, vectors=vectors is not None, count=count, **fields)
        if vectors:
            self.follow(np.array(vectors, np.int64), rank, Tag.VECTORS)

    def follow(self, records: Record, rank: int, tag: Tag) -> None:
        """Send what a COMMAND announced. Local."""
        self._outbox.send(records, rank, tag)

    def answer(self, rank: int, what: str, meanwhile: Callable[[], None] | None = None) -> Record | None:
        """Wait for an ANSWER about `what`, and return it, `()`; None if the shard has died.

        With `meanwhile`, which is called again and again, however long it takes.
        """
        answer = np.zeros(1, ANSWER)
        into = answer.view(np.uint8)
        arrived = self.complete(self.expect(into, rank, Tag.ANSWER), into, rank, Tag.ANSWER, what, meanwhile)
        return answer.reshape(()) if arrived else None

    def expect(self, into: Record, rank: int, tag: Tag) -> MPI.Request | None:
        """Post a receive; None if the shard has died. Local."""
        return tolerant(partial(self.comm.Irecv, into, rank, tag), partial(self._learn, rank), None)

    def complete(
        self,
        request: MPI.Request | None,
        into: Record,
        rank: int,
        tag: Tag,
        what: str,
        meanwhile: Callable[[], None] | None = None,
    ) -> bool:
        """Wait for a message that is expected, and return whether it came; not if the shard has died."""

        def look() -> None:
            if rank in self.detector.dead:  # also one that MPI does not know of, as it is only silent
                raise _Gone
            if meanwhile is not None:
                meanwhile()

        def arrive() -> bool:
            if request is not None:
                peer, patience = partial(str, f"rank {rank} (a shard: {what})"), inf if meanwhile else None
                complete(request, into, rank, tag.name, self.waiter, peer, look, patience=patience)
            return request is not None

        try:
            return tolerant(arrive, partial(self._learn, rank), False)
        except _Gone:
            self._abandoned.append((request, into))
            return False

    def take(self, tag: Tag, *layouts: np.dtype[Any]) -> Record | None:
        """Return the next message of a tag, whoever sent it, if there is one. Local."""
        message = tolerant(partial(take, self.comm, tag, *layouts), self.detector.learn, None)
        return message[0] if message is not None else None

    def _learn(self, rank: int, error: MPI.Exception) -> None:
        """Take in an error that tells of the death of a shard; raise any other."""
        self.detector.learn(error)
        if rank not in self.detector.dead:
            raise error
