"""A partition's message loop: assignments of the coordinator come in, reports go out."""

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI

from dbmpi.arrays import Record
from dbmpi.comm import ulfm
from dbmpi.comm.messages import Endpoint, Outbox, complete, has_come
from dbmpi.comm.protocol import ASSIGNMENT, URGENT, Tag, Work
from dbmpi.comm.signals import SignalForwarder
from dbmpi.comm.wait import SIGN, Cause, Waiter
from dbmpi.replica.worker import Retired

if TYPE_CHECKING:
    from dbmpi.replica.worker import PartitionWorker


class ReplicaService:
    """Receives a partition's assignments, and sends its reports.

    Parameters
    ----------
    endpoint
        The service communicator, and how to use it.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        comm, coordinator, self._signals = endpoint.comm, endpoint.coordinator, endpoint.signals
        self._forwarder = SignalForwarder(comm, coordinator, self._signals)
        self._comm, self._coordinator, self._waiter = comm, coordinator, endpoint.waiter
        self._endpoint = endpoint
        self._out = Outbox(comm)
        self._queue: deque[Record] = deque()
        self._waiting: deque[Record] = deque()  # assignments that came while this rank waited for something
        self._worker: PartitionWorker | None = None
        self.retired = False
        self._sent_at = time.monotonic()
        self._buffer, self._status = np.zeros(1, ASSIGNMENT), MPI.Status()
        self._expect()

    def run(self, worker: "PartitionWorker", comm: MPI.Intracomm | None = None) -> int:
        """Do what the coordinator orders until it says to leave; return the exit status that it gives.

        Parameters
        ----------
        comm
            The replica's communicator: when one of its ranks dies, the others leave all work.
        """
        self._worker = worker
        self._endpoint.watch.heard()
        with self._waiter.attending(self._attend):
            status = self._work_or_retire(worker, comm)
            self._out.drain(self._waiter)
        return status

    def _work_or_retire(self, worker: "PartitionWorker", comm: MPI.Intracomm | None) -> int:
        try:
            return self._work(worker)
        except Retired:
            if ulfm.enabled():
                ulfm.revoke(comm)
        except MPI.Exception as error:
            if not ulfm.lost(error, comm):
                raise
        return self._retire(worker)

    def _work(self, worker: "PartitionWorker") -> int:
        while (assignment := self._next())["work"] != Work.LEAVE:
            self._report(worker.perform(assignment))
        return int(assignment["status"])

    def _retire(self, worker: "PartitionWorker") -> int:
        """Wait for the order to leave; every other assignment is ignored."""
        self.retired = True  # from here on what still comes is not for the worker, but where shards are
        worker.retire()
        self._worker = None
        while (assignment := self._next())["work"] != Work.LEAVE:
            pass
        return int(assignment["status"])

    def on_minibatch(self) -> None:
        """Between minibatches: take in assignments; report a sign of life if it is time."""
        while self._arrived():
            pass
        self._give_sign()

    def _attend(self) -> None:
        """While this rank waits: give a sign of life, and take in who is lost. Raises Retired."""
        self._give_sign()
        while (assignment := self._take()) is not None:
            if assignment["work"] == Work.FENCE:
                self._endpoint.fence(int(assignment["dead"]))
            elif assignment["work"] in (Work.RETIRE, Work.REROUTE) and self._worker is not None:
                self._worker.handle_urgent(assignment)  # what it waits for may never come
            else:
                self._waiting.append(assignment)
        self._endpoint.watch.look()

    def _give_sign(self) -> None:
        if self._worker is not None and time.monotonic() - self._sent_at > SIGN * self._waiter.timeout_s:
            self._report(self._worker.alive())

    def _report(self, report: Record) -> None:
        self._sent_at = time.monotonic()
        self._out.send(report, self._coordinator, Tag.REPORT)

    def _next(self) -> Record:
        while not self._queue:
            self._waiter.until(self._arrived, self._silent, cause=Cause.COORDINATOR)
        return self._queue.popleft()

    def _silent(self) -> str:
        return f"rank {self._coordinator} (coordinator: the next assignment)"

    def _arrived(self) -> bool:
        """Take in the coordinator's next assignment, if it has arrived; report pushes that have ended."""
        if self._signals.number:
            self._forwarder.poll()
        for report in self._worker.take_pushed() if self._worker is not None else ():
            self._report(report)
        assignment = self._waiting.popleft() if self._waiting else self._take()
        if assignment is None:
            return False
        if assignment["work"] == Work.FENCE:
            self._endpoint.fence(int(assignment["dead"]))
        elif self._worker is None or (self.retired and assignment["work"] != Work.REROUTE):
            self._queue.append(assignment)
        elif assignment["work"] in URGENT:
            self._worker.handle_urgent(assignment)
        elif assignment["work"] != Work.ALIVE:
            self._queue.append(assignment)
            self._worker.prepare(assignment)
        return True

    def _take(self) -> Record | None:
        """Return the coordinator's next assignment, if it has arrived."""
        size, name = self._buffer.nbytes, Tag.ASSIGNMENT.name
        if not has_come(self._request, self._status, size, name, self._coordinator):
            return None
        assignment = self._buffer.copy().reshape(())
        self._expect()
        self._endpoint.watch.heard()
        return assignment

    def _expect(self) -> None:
        self._request = self._comm.Irecv(self._buffer.view(np.uint8), self._coordinator, Tag.ASSIGNMENT)

    def close(self) -> None:
        """Withdraw the receive that is still posted. Local."""
        self._forwarder.close()
        self._request.Cancel()
        self._request.Wait()


def wait_as_spare(comm: MPI.Intracomm, coordinator: int, waiter: Waiter) -> int:
    """Wait, as a rank without work, until the coordinator says to leave; return the status. Local.

    Raises
    ------
    PeerSilent
        The coordinator gives no sign of life.
    """
    record = np.zeros(1, ASSIGNMENT)
    late = partial(str, f"rank {coordinator} (coordinator: the end of the run)")
    while record[0]["work"] != Work.LEAVE:
        request = comm.Irecv(record.view(np.uint8), coordinator, Tag.ASSIGNMENT)
        complete(request, record, coordinator, Tag.ASSIGNMENT.name, waiter, late)
    return int(record[0]["status"])
