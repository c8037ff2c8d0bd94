"""Messages between ranks: received and checked, sent in the background, tolerant of the death of a peer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from mpi4py import MPI

from dbmpi.arrays import Array, Record
from dbmpi.comm import ulfm
from dbmpi.comm.protocol import Tag
from dbmpi.comm.signals import Signals
from dbmpi.comm.wait import Cause, Waiter
from dbmpi.comm.watch import CoordinatorWatch
from dbmpi.errors import Fenced, ProtocolError
from dbmpi.process import Process, kill

T = TypeVar("T")


def tolerant(call: Callable[[], T], learn: Callable[[MPI.Exception], object], otherwise: T) -> T:
    """Return what `call` returns, or `otherwise` where a rank that it needs has died. Local.

    Parameters
    ----------
    call
        Calls MPI.
    learn
        Takes an error in that tells of a death, and raises any other: `ulfm.FailureDetector.learn`, or
        `ulfm.raise_unless_death`.
    """
    try:
        return call()
    except MPI.Exception as error:
        learn(error)
        return otherwise


def wrong_size(received: int, expected: int, what: str, peer: int) -> ProtocolError:
    """Return the error that says: a message from world rank `peer` has not the size its layout says."""
    return ProtocolError(f"{what} from rank {peer} has {received} bytes where {expected} were due")


def has_come(request: MPI.Request, status: MPI.Status, expected: int, what: str, peer: int) -> bool:
    """Return whether a message from world rank `peer` has come. Local.

    Raises
    ------
    ProtocolError
        It has not the `expected` size, in bytes.
    """
    try:
        if not request.Test(status):
            return False
    except MPI.Exception as error:
        if error.Get_error_class() != MPI.ERR_TRUNCATE:
            raise
        text = f"{what} from rank {peer} has more than the {expected} bytes that were due"
        raise ProtocolError(text) from None
    if status.Get_count() != expected:
        raise wrong_size(status.Get_count(), expected, what, peer)
    return True


def take(comm: MPI.Intracomm, tag: Tag, *layouts: np.dtype[Any]) -> tuple[Record, int] | None:
    """Return the next message of a tag as a record, `()`, and who sent it, if there is one. Local.

    Where there are several layouts, the size of the message says which one it has.

    Raises
    ------
    ProtocolError
        It has not the size of a layout.
    """
    status = MPI.Status()
    message = comm.Improbe(MPI.ANY_SOURCE, tag, status)
    if message is None:
        return None
    source = status.Get_source()
    layout = next((one for one in layouts if one.itemsize == status.Get_count()), None)
    if layout is None:
        raise wrong_size(status.Get_count(), layouts[0].itemsize, tag.name, source)
    record = np.empty(1, layout)
    message.Recv(record.view(np.uint8))
    return record.reshape(()), source


def complete(
    request: MPI.Request,
    into: Array,
    source: int,
    what: str,
    waiter: Waiter,
    peer: Callable[[], str],
    meanwhile: Callable[[], None] | None = None,
    cause: Cause = Cause.FETCH,
    patience: float | None = None,
) -> None:
    """Wait until the message that `request` receives into `into` is there.

    Parameters
    ----------
    source, what
        Who sends it, and what it is, for the error.
    peer
        Says who is waited for, and for what.
    meanwhile
        Called again and again.
    cause, patience
        See `Waiter.until`.

    Raises
    ------
    ProtocolError
        It is not as long as `into`.
    PeerSilent
        See `Waiter.until`.
    """
    status = MPI.Status()

    def arrived() -> bool:
        if meanwhile is not None:
            meanwhile()
        return has_come(request, status, into.nbytes, what, source)

    waiter.until(arrived, peer, patience, cause)


@dataclass(frozen=True)
class Endpoint:
    """What the service loop of a rank needs: communicator, the coordinator's rank, how to wait, signals.

    `watch` is kept of the coordinator; `processes` are those of all ranks, where silent ones are killed.
    """

    comm: MPI.Intracomm
    coordinator: int
    waiter: Waiter
    signals: Signals
    watch: CoordinatorWatch
    processes: Sequence[Process] = ()

    def fence(self, rank: int) -> None:
        """A rank is silent, and the run goes on without it: end it if it is on this host.

        Raises
        ------
        Fenced
            It is this one.
        """
        if rank == self.comm.Get_rank():
            raise Fenced
        if self.processes:
            kill(self.processes[rank])


class Inbox:
    """Records of one tag from one rank; the receive for the next one is always posted."""

    def __init__(self, comm: MPI.Intracomm, source: int, tag: Tag, layout: np.dtype[Any]) -> None:
        self._comm, self._source, self._tag = comm, source, tag
        self._buffer, self._status = np.zeros(1, layout), MPI.Status()
        self._bytes = self._buffer.view(np.uint8)
        self._request = comm.Irecv(self._bytes, source, tag)

    def take(self) -> Record | None:
        """Return the next record, `()`, if it is there; None when this is closed. Local."""
        if self._request == MPI.REQUEST_NULL or not has_come(
            self._request, self._status, self._buffer.nbytes, self._tag.name, self._source
        ):
            return None
        record = self._buffer.copy().reshape(())
        self._request = self._comm.Irecv(self._bytes, self._source, self._tag)
        return record

    def close(self) -> None:
        """Withdraw the receive that is still posted. Local."""
        self._request.Cancel()
        self._request.Wait()


class Outbox:
    """Small messages on their way; keeps their buffers until they have left, or their receiver is dead.

    Parameters
    ----------
    comm
        The service communicator.
    learn
        Takes in an error that tells of a death, and raises any other. A rank that acts on deaths gives its
        `ulfm.FailureDetector.learn`: a death is told once, and the first call to meet it acknowledges it.
    """

    def __init__(self, comm: MPI.Intracomm, learn: Callable[[MPI.Exception], object] | None = None) -> None:
        self._comm = comm
        self._learn = partial(ulfm.raise_unless_death, comm) if learn is None else learn
        self._sends: list[MPI.Request] = []

    def send(self, record: Record, to: int, tag: int) -> None:
        """Send a copy of a record, `()`, or of several, `(n,)`, to a world rank."""
        self._drop_left()
        start = partial(self._comm.Isend, record.reshape(-1).view(np.uint8).copy(), to, tag)
        request = tolerant(start, self._learn, None)
        if request is not None:
            self._sends.append(request)

    def _drop_left(self) -> bool:
        """Let go of those that have left; return whether all have."""
        self._sends = [request for request in self._sends if not tolerant(request.Test, self._learn, True)]
        return not self._sends

    def drain(self, waiter: Waiter, patience: float | None = None) -> None:
        """Wait until all have left, those too that are sent meanwhile. Raises as `Waiter.until`."""
        waiter.until(self._drop_left, lambda: "the receiver of a small message", patience)
