"""A rank's correspondence with the coordinator: orders come in, reports go out."""

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI

from dbmpi.arrays import Record
from dbmpi.comm import ulfm
from dbmpi.comm.messages import Outbox
from dbmpi.comm.protocol import ASSIGNMENT, URGENT, Tag, Work
from dbmpi.comm.signals import SignalForwarder, Signals
from dbmpi.comm.wait import IdleBackoff, Waiter
from dbmpi.replica.worker import Retired

if TYPE_CHECKING:
    from dbmpi.replica.worker import Replica


class ReplicaService:
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
        self._forwarder = SignalForwarder(comm, coordinator, signals)
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
            ulfm.revoke(comm)
            status = self._retire(replica)
        except MPI.Exception as error:
            if not ulfm.lost(error, comm):
                raise
            status = self._retire(replica)
        self._out.drain(self._waiter)
        return status

    def _work(self, replica: "Replica") -> int:
        while (assignment := self._next())["work"] != Work.LEAVE:
            self._report(replica.perform(assignment))
        return int(assignment["status"])

    def _retire(self, replica: "Replica") -> int:
        """Wait for the order to leave; nothing else is obeyed any more."""
        replica.retire()
        self.retired, self._replica = True, None
        while (assignment := self._next())["work"] != Work.LEAVE:
            pass
        return int(assignment["status"])

    def on_minibatch(self) -> None:
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
        self._forwarder.poll()
        for report in self._replica.take_pushed() if self._replica is not None else ():
            self._report(report)
        if not self._request.Test():
            return False
        assignment = self._buffer.copy().reshape(())
        self._expect()
        if self._replica is None:
            self._queue.append(assignment)
        elif assignment["work"] in URGENT:
            self._replica.handle_urgent(assignment)
        elif assignment["work"] != Work.ALIVE:
            self._queue.append(assignment)
            self._replica.prepare(assignment)
        return True

    def _expect(self) -> None:
        self._request = self._comm.Irecv(self._buffer.view(np.uint8), self._coordinator, Tag.ASSIGNMENT)

    def close(self) -> None:
        """Withdraw the receive that is still posted. Local."""
        self._forwarder.close()
        self._request.Cancel()
        self._request.Wait()


def wait_as_spare(comm: MPI.Intracomm, coordinator: int) -> int:
    """Wait, as a rank without work, until the coordinator says to leave; return the status. Local."""
    record, idle = np.zeros(1, ASSIGNMENT), IdleBackoff()
    request = comm.Irecv(record.view(np.uint8), coordinator, Tag.ASSIGNMENT)
    while not request.Test():
        idle.rest()
    return int(record[0]["status"])
