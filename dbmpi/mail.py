"""Small messages on the service communicator: as they arrive, and on their way; orders; word of a signal."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from dbmpi import failures
from dbmpi.protocol import SIGNAL, Tag, check_size
from dbmpi.signals import Signals
from dbmpi.topology import Topology
from dbmpi.waiting import Waiter

Record = NDArray[Any]


def receive(comm: MPI.Intracomm, tag: Tag, layout: np.dtype[Any]) -> Record | None:
    """Return the next message of a tag as a record, `()`, if there is one. Local."""
    status = MPI.Status()
    message = comm.Improbe(MPI.ANY_SOURCE, tag, status)
    if message is None:
        return None
    check_size(status.Get_count(), layout.itemsize, tag.name, status.Get_source())
    record = np.zeros(1, layout)
    message.Recv(record.view(np.uint8))
    return record.reshape(())


class Outbox:
    """Small messages on their way; keeps their buffers until they have left, or their receiver is dead."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm = comm
        self._sends: list[MPI.Request] = []

    def send(self, record: Record, to: int, tag: Tag) -> None:
        """Send a copy of a record, `()`, or of several, `(n,)`, to a world rank."""
        self._sends = [request for request in self._sends if not self._left(request)]
        try:
            self._sends.append(self._comm.Isend(record.reshape(-1).view(np.uint8).copy(), to, tag))
        except MPI.Exception as error:
            self._excuse(error)

    def _left(self, request: MPI.Request) -> bool:
        try:
            return request.Test()
        except MPI.Exception as error:
            self._excuse(error)
            return True

    def _excuse(self, error: MPI.Exception) -> None:
        if not failures.tells_of_death(error, self._comm):
            raise error

    def drain(self, waiter: Waiter) -> None:
        """Wait until all have left."""
        for request in self._sends:
            waiter.until(partial(self._left, request), lambda: "the receiver of a small message")
        self._sends.clear()


class Post:
    """The coordinator's mail: an assignment goes to every partition of a replica."""

    def __init__(self, comm: MPI.Intracomm, topology: Topology) -> None:
        self.out = Outbox(comm)
        self._topology = topology

    def send(self, replica: int, assignment: Record) -> None:
        """See `roster.Mail`."""
        self.send_to(self._topology.replicas[replica], assignment)

    def send_to(self, ranks: Sequence[int], assignment: Record) -> None:
        """Send an assignment to world ranks."""
        for rank in ranks:
            self.out.send(assignment, rank, Tag.ASSIGNMENT)


class Herald:
    """Tells the coordinator, once, that this rank has received a signal to stop.

    Parameters
    ----------
    comm, coordinator
        The service communicator, and the coordinator's world rank.
    signals
        What has been received.
    """

    def __init__(self, comm: MPI.Intracomm, coordinator: int, signals: Signals) -> None:
        self._comm, self._coordinator, self._signals = comm, coordinator, signals
        self._request: MPI.Request | None = None

    def look(self) -> None:
        """Send the message if it is time. Local."""
        if self._signals and self._request is None:
            record = np.full(1, self._signals.number, SIGNAL)
            self._request = self._comm.Isend(record.view(np.uint8), self._coordinator, Tag.SIGNAL)

    def close(self) -> None:
        """Let go of the message, which nobody may be waiting for any more. Local."""
        if self._request is not None:
            self._request.Free()
