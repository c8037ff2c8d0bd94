"""Small messages on the service communicator: as they arrive, and on their way; orders; word of a signal."""

from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI

from dbmpi.arrays import Record
from dbmpi.comm import ulfm
from dbmpi.comm.protocol import Tag, check_size
from dbmpi.comm.wait import Waiter


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
            self._ignore_if_dead(error)

    def _left(self, request: MPI.Request) -> bool:
        try:
            return request.Test()
        except MPI.Exception as error:
            self._ignore_if_dead(error)
            return True

    def _ignore_if_dead(self, error: MPI.Exception) -> None:
        if not ulfm.tells_of_death(error, self._comm):
            raise error

    def drain(self, waiter: Waiter) -> None:
        """Wait until all have left."""
        for request in self._sends:
            waiter.until(partial(self._left, request), lambda: "the receiver of a small message")
        self._sends.clear()
