"""What partitions ask of one shard: to apply a gradient, to send parameters, or both.

Memory stays bounded whatever the number of clients: one buffer for the gradient that is being received, and
`REPLY_BUFFERS` for parameters on their way out; when all are in flight the shard waits for one before it
serves the next request. What a client that has died announced, or waits for, is dropped.
"""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.arrays import Array, Record
from dbmpi.comm.protocol import REPLY_HEADER, WIRE, WIRE_DTYPES, Op, Status, Tag, check_size
from dbmpi.comm.wait import Waiter
from dbmpi.errors import ProtocolError
from dbmpi.server.compression import decode
from dbmpi.server.shard import Shard

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.comm.ulfm import FailureDetector

REPLY_BUFFERS = 4


class RequestHandler:
    """Receives what REQUESTs announce, and replies.

    Parameters
    ----------
    shard
        What is served.
    largest
        Elements of the largest piece that may come to be served here.
    comm, waiter, watch
        The service communicator, how to wait, who is dead.

    Attributes
    ----------
    clients
        The world ranks that have asked.
    bytes_in, bytes_out
        Received and sent, without headers.
    """

    def __init__(
        self, shard: Shard, largest: int, comm: "MPI.Intracomm", waiter: Waiter, detector: "FailureDetector"
    ) -> None:
        self._shard, self._comm, self._waiter, self._detector = shard, comm, waiter, detector
        self._received = np.empty(largest * shard.dtype.itemsize, np.uint8)
        self._decoded = np.empty(largest, shard.dtype)
        self._replies = [_Reply(np.empty(largest, shard.dtype)) for _ in range(REPLY_BUFFERS)]
        self.clients: set[int] = set()
        self.bytes_in = self.bytes_out = 0

    def serve(self, header: Record, source: int) -> None:
        """Do what a REQUEST says; drop it if who asked dies meanwhile.

        The answer to one that both pushes and fetches holds the parameters after the push.
        """
        from mpi4py import MPI

        try:
            self._serve(Op(int(header["op"])), header, source)
        except MPI.Exception as error:
            self._detector.learn(error)

    def _serve(self, op: Op, header: Record, source: int) -> None:
        piece = int(header["piece"])
        if piece not in self._shard.held:
            raise ProtocolError(f"rank {source} asks for piece {piece}, which is not of this shard")
        self.clients.add(source)
        reply = self._free_reply()
        values = reply.values[: len(self._shard.held[piece].value)] if op & Op.FETCH else None
        status = Status.OK
        if op & (Op.PUSH | Op.ACCRUE):
            status = self._take_push(op, header, source, values)
        if values is not None:
            held = self._shard.fetch(piece)
            if not op & Op.PUSH or status is not Status.OK:
                np.copyto(values, held.value)
            self.bytes_out += values.nbytes
        reply.send(self._comm, source, values, status, piece, self._shard.held[piece].version)

    def _take_push(self, op: Op, header: Record, source: int, out: Array | None) -> Status:
        """Receive the gradient that follows the request, and apply or accrue it."""
        piece, version = int(header["piece"]), int(header["version"])
        wire, size = WIRE[int(header["wire"])], len(self._shard.held[piece].value)
        raw = self._received[: size * WIRE_DTYPES[wire].itemsize].view(WIRE_DTYPES[wire])
        self.receive(raw, source, Tag.GRADIENT)
        gradient = decode(raw, wire, self._decoded[:size])
        if op & Op.ACCRUE:
            return self._shard.accrue(piece, gradient, version)
        return self._shard.push(piece, gradient, version, float(header["rate"]), out)

    def receive(self, into: Array, source: int, tag: Tag) -> None:
        """Receive what a request announced."""
        from mpi4py import MPI

        request, status = self._comm.Irecv(into.view(np.uint8), source, tag), MPI.Status()
        what = f"{tag.name} that it announced"
        self._waiter.until(lambda: request.Test(status), lambda: f"rank {source} ({what})")
        check_size(status.Get_count(), into.nbytes, what, source)
        self.bytes_in += into.nbytes

    def answer(self, source: int, status: Status = Status.OK, piece: int = 0, version: int = 0) -> None:
        """Send a reply without parameters."""
        self._free_reply().send(self._comm, source, None, status, piece, version)

    def _free_reply(self) -> "_Reply":
        """Return a reply whose buffers are free, waiting for one if all are on their way."""
        free: list[_Reply] = []

        def found() -> bool:
            free.extend(reply for reply in self._replies if self._is_free(reply))
            return bool(free)

        def late() -> str:
            return ", ".join(f"rank {reply.to}" for reply in self._replies) + " (replies)"

        self._waiter.until(found, late)
        return free[0]

    def _is_free(self, reply: "_Reply") -> bool:
        """Return whether a reply has left, or nobody is there to take it."""
        from mpi4py import MPI

        try:
            return reply.sent()
        except MPI.Exception as error:
            self._detector.learn(error)
            reply.forget()
            return True

    def drain(self) -> None:
        """Wait until all replies have left."""
        for reply in self._replies:
            sent = partial(self._is_free, reply)
            self._waiter.until(sent, partial("rank {0.to} (a reply)".format, reply))


class _Reply:
    """The buffers of one reply, and its sends while they are in flight."""

    def __init__(self, values: Array) -> None:
        self.values = values
        self.to = -1
        self._header = np.zeros(1, REPLY_HEADER)
        self._requests: list[MPI.Request] = []

    def send(
        self, comm: "MPI.Intracomm", to: int, values: Array | None, status: Status, piece: int, version: int
    ) -> None:
        self.to, header = to, self._header[0]  # a view
        header["piece"], header["status"], header["version"] = piece, status, version
        self._requests = [comm.Isend(self._header.view(np.uint8), to, Tag.REPLY)]
        if values is not None:
            self._requests.append(comm.Isend(values, to, Tag.PARAMETERS))

    def forget(self) -> None:
        self._requests.clear()

    def sent(self) -> bool:
        return all(request.Test() for request in self._requests)
