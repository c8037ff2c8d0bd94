"""What the coordinator asks of shards, one message at a time, and what they answer."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI

from dbmpi.arrays import Record
from dbmpi.comm.messages import Outbox, receive
from dbmpi.comm.protocol import REPLY_HEADER, REQUEST_HEADER, Op, Tag, check_size
from dbmpi.comm.ulfm import FailureDetector
from dbmpi.comm.wait import Waiter
from dbmpi.layout.topology import Topology


class MpiDispatcher:
    """Sends an assignment to every partition of a replica. See `replicas.Dispatcher`.

    Attributes
    ----------
    out
        What is on its way.
    """

    def __init__(self, comm: MPI.Intracomm, topology: Topology) -> None:
        self.out = Outbox(comm)
        self._topology = topology

    def send(self, replica: int, assignment: Record) -> None:
        """See `replicas.Dispatcher`."""
        self.send_to(self._topology.replicas[replica], assignment)

    def send_to(self, ranks: Sequence[int], assignment: Record) -> None:
        """Send an assignment to world ranks."""
        for rank in ranks:
            self.out.send(assignment, rank, Tag.ASSIGNMENT)


class CommandChannel:
    """Carries requests to shards; a death that shows itself on the way is noted, not raised.

    Parameters
    ----------
    comm
        The service communicator.
    out
        What the coordinator sends.
    waiter
        How it waits.
    watch
        Knows who is dead.
    """

    def __init__(self, comm: MPI.Intracomm, out: Outbox, waiter: Waiter, detector: FailureDetector) -> None:
        self.comm, self.waiter, self.detector = comm, waiter, detector
        self._out = out

    def ask(self, op: Op, rank: int, count: int = 0, number: int = 0, piece: int = 0) -> None:
        """Send a REQUEST. Local."""
        header = np.zeros((), REQUEST_HEADER)
        header["op"], header["steps"], header["version"], header["piece"] = op, count, number, piece
        self._out.send(header, rank, Tag.REQUEST)

    def ask_with_vectors(
        self, op: Op, rank: int, vectors: Sequence[int] | None, number: int, piece: int = 0
    ) -> None:
        """Send a REQUEST about some vectors of a batch method; None for what Downpour has. Local."""
        self.ask(op, rank, -1 if vectors is None else len(vectors), number, piece)
        if vectors:
            self._out.send(np.array(vectors, np.int64), rank, Tag.VECTORS)

    def follow(self, records: Record, rank: int, tag: Tag) -> None:
        """Send what a REQUEST announced. Local."""
        self._out.send(records, rank, tag)

    def reply(self, rank: int, what: str) -> Record | None:
        """Wait for a REPLY about `what`, and return its header, `()`; None if the shard has died."""
        answer = np.zeros(1, REPLY_HEADER)
        arrived = self.receive(answer.view(np.uint8), rank, Tag.REPLY, what)
        return answer.reshape(()) if arrived else None

    def expect(self, into: Record, rank: int, tag: Tag) -> MPI.Request | None:
        """Post a receive; None if the shard has died. Local."""
        try:
            return self.comm.Irecv(into, rank, tag)
        except MPI.Exception as error:
            self._learn(error, rank)
            return None

    def receive(self, into: Record, rank: int, tag: Tag, what: str) -> bool:
        """Wait for a message, and return whether it came; it did not if the shard has died."""
        return self.complete(self.expect(into, rank, tag), into, rank, tag, what)

    def complete(self, request: MPI.Request | None, into: Record, rank: int, tag: Tag, what: str) -> bool:
        """Wait for a message that is expected; see `receive`."""
        if request is None:
            return False
        status = MPI.Status()
        try:
            self.waiter.until(partial(request.Test, status), partial(str, f"rank {rank} (a shard: {what})"))
        except MPI.Exception as error:
            self._learn(error, rank)
            return False
        check_size(status.Get_count(), into.nbytes, tag.name, rank)
        return True

    def take(self, tag: Tag, layout: np.dtype[Any]) -> Record | None:
        """Return the next message of a tag, whoever sent it, if there is one. Local."""
        try:
            return receive(self.comm, tag, layout)
        except MPI.Exception as error:
            self.detector.learn(error)
            return None

    def _learn(self, error: MPI.Exception, rank: int) -> None:
        self.detector.learn(error)
        if rank not in self.detector.dead:
            raise error
