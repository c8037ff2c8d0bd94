"""A communicator without MPI, for what one rank does with requests; the test is all others."""

from collections import deque
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

Array = NDArray[Any]


class Request:
    """A request that the test completes, or that fails with its peer."""

    def __init__(self, comm: "Comm", peer: int, buffer: Array) -> None:
        self.comm, self.peer, self.buffer = comm, peer, buffer
        self.done = self.cancelled = False
        self.arrived = 0  # bytes

    def Test(self, status: MPI.Status | None = None) -> bool:
        """See MPI."""
        if not self.done and self.peer in self.comm.dead:
            self.done = True  # MPI frees it, and then takes it for complete
            raise MPI.Exception(MPI.ERR_OTHER)
        if self.done and status is not None:
            status.Set_elements(MPI.BYTE, self.arrived)
        return self.done

    def Cancel(self) -> None:
        """See MPI."""
        self.cancelled = True

    def Free(self) -> None:
        """See MPI."""


class Comm:
    """Keeps what was sent and what is expected, by peer and tag."""

    def __init__(self) -> None:
        self.dead: set[int] = set()
        self.sent: dict[tuple[int, int], deque[Request]] = {}
        self.expected: dict[tuple[int, int], deque[Request]] = {}

    def _start(self, where: dict[tuple[int, int], deque[Request]], buffer: Array, peer: int, tag: int) -> Any:
        if peer in self.dead:
            raise MPI.Exception(MPI.ERR_OTHER)
        where.setdefault((peer, tag), deque()).append(Request(self, peer, buffer))
        return where[peer, tag][-1]

    def Isend(self, buffer: Array, to: int, tag: int) -> Any:
        """See MPI."""
        return self._start(self.sent, buffer, to, tag)

    def Irecv(self, buffer: Array, source: int, tag: int) -> Any:
        """See MPI."""
        return self._start(self.expected, buffer, source, tag)

    def take(self, peer: int, tag: int, dtype: Any) -> Array:
        """Return a copy of the oldest message to a peer, as it receives it."""
        request = self.sent[peer, tag].popleft()
        request.done = True
        return request.buffer.view(np.uint8).copy().view(dtype)

    def give(self, peer: int, tag: int, values: Array) -> None:
        """Let a message from a peer arrive."""
        request = self.expected[peer, tag].popleft()
        message = values.reshape(-1).view(np.uint8)
        request.buffer.view(np.uint8)[: len(message)] = message
        request.arrived, request.done = len(message), True

    def waiting(self, peer: int, tag: int) -> int:
        """Return how many messages to a peer it has not taken."""
        return len(self.sent.get((peer, tag), ()))


def tell(monkeypatch: Any, comm: Comm) -> None:
    """Let `dbmpi.comm.ulfm` learn of the dead from a `Comm`."""
    from dbmpi.comm import ulfm

    monkeypatch.setattr(ulfm, "failed", lambda comm: sorted(comm.dead))
    monkeypatch.setattr(ulfm, "revoked", lambda comm: False)
    monkeypatch.setattr(ulfm, "tells_of_death", lambda error, comm: bool(comm.dead))
