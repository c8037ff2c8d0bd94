"""What partitions ask of one shard: to apply a gradient, to send parameters, or both.

What a client on this node names in its memory is read and written in place (`areas`), and the rest travels
as messages. Their buffers stay bounded whatever the number of clients: one for the gradient that is being
received, and `REPLY_BUFFERS` for parameters on their way out, each made when it is first needed; when all are
in flight the shard waits for one before it serves the next request. What a client that has died announced, or
waits for, is dropped. Requests of a round are served by `round_requests`.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dbmpi.arrays import Array, Record
from dbmpi.comm.messages import complete, tolerant
from dbmpi.comm.protocol import REPLY_HEADER, WIRE, WIRE_DTYPES, Op, Status, Tag, piece_tag
from dbmpi.comm.wait import Waiter
from dbmpi.errors import ProtocolError
from dbmpi.server.areas import Areas
from dbmpi.server.compression import COMPRESSED, decode
from dbmpi.server.rules import Since
from dbmpi.server.shard import Shard
from dbmpi.spans import Kind

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.comm.ulfm import FailureDetector

REPLY_BUFFERS = 4


class Unmapped(Exception):
    """A request names memory that cannot be mapped here."""


class LeftOut(Exception):
    """The run goes on without the rank whose message is awaited."""


class RequestHandler:
    """Receives what REQUESTs announce, and replies.

    Parameters
    ----------
    shard
        What is served.
    largest
        Elements of the largest piece that may come to be served here.
    comm, waiter, detector
        The service communicator, how to wait, what is known of deaths.
    companions
        The world ranks that learn no more when one has died: those of its replica.

    Attributes
    ----------
    clients
        The world ranks that have asked.
    bytes_in, bytes_out
        Received and sent, without headers.
    serial
        Of the request that came last: `spans.Recorder.serial`.
    """

    def __init__(
        self,
        shard: Shard,
        largest: int,
        comm: "MPI.Intracomm",
        waiter: Waiter,
        detector: "FailureDetector",
        companions: Callable[[int], Iterable[int]] = lambda rank: (rank,),
    ) -> None:
        self._shard, self._comm, self._waiter, self._detector = shard, comm, waiter, detector
        self._received = self._decoded = np.empty(0, np.uint8)
        self._largest, self._areas = largest, Areas(shard.index)
        self._replies = [_Reply() for _ in range(REPLY_BUFFERS)]
        self._forgotten = 0  # of the dead, those whose memory is let go
        self._companions = companions
        self._silent: set[int] = set()  # ranks that the run goes on without,
        self._refused: set[int] = set()  # and those of their replicas
        self._abandoned: list[object] = []  # what MPI may still know: buffers, and sends to these ranks
        self.clients: set[int] = set()
        self.bytes_in = self.bytes_out = self.serial = 0
        self._spans = waiter.spans

    def serve(self, header: Record, source: int) -> None:
        """Do what a REQUEST says; drop it if its sender dies meanwhile, or is left out of the run.

        The reply to one that both pushes and fetches holds the parameters after the push.
        """
        with suppress(LeftOut):
            tolerant(partial(self._serve, header, source), self._detector.learn, None)

    def refuse(self, rank: int) -> None:
        """Do nothing any more of what a rank that is silent and its replica ask for, but answer."""
        self._silent.add(rank)
        self._refused.update(self._companions(rank))

    def forget_dead(self) -> list[int]:
        """Let go of the memory of ranks that have died, and of what is kept for their replicas.

        Returns
        -------
        list of int
            The ranks of which this was not known.
        """
        fresh = self._detector.dead[self._forgotten :]
        for client in fresh:
            self._areas.forget(client)
            for companion in self._companions(client):
                self._shard.forget(companion)
        self._forgotten += len(fresh)
        return fresh

    def _serve(self, header: Record, source: int) -> None:
        start = time.monotonic()
        op, piece = Op(int(header["op"])), self.known_piece(header, source)
        if source in self._refused:
            self._refuse(header, source, op)
            return
        reply = self._free_reply()
        try:
            gradient = self.gradient(header, source) if op & (Op.PUSH | Op.ACCRUE) else None
            values = self._room(header, source, reply) if op & Op.FETCH else None
        except Unmapped:
            reply.send(self._comm, source, None, (piece, Status.UNMAPPED, 0, 0))
            return
        version = int(header["version"])
        since = self._shard.since(piece, source, op, version, int(header["steps"]))
        status = self._take(op, header, gradient, values, since) if gradient is not None else Status.OK
        if values is not None:
            held = self._shard.fetch(piece, source if op & Op.LEARN else None)
            if op & Op.AVERAGE:
                np.copyto(values, self._shard.evaluated(piece))
            elif not op & Op.PUSH or status is not Status.OK:
                np.copyto(values, held.value)
            self.bytes_out += values.nbytes
        if op & Op.CLOSE:
            self._shard.close([piece])
        message, after = None if header["parameters"]["pid"] else values, self._shard.held[piece].version
        if self._spans.on:
            stale = max(0, after - 1 - version) if op & Op.PUSH else 0
            about = source, piece, self.serial, after, stale
            self._spans.note(Kind.SERVE, start, time.monotonic(), op, *about)
        reply.send(self._comm, source, message, (piece, status, after, 0))

    def _refuse(self, header: Record, source: int, op: Op) -> None:
        """Answer that nothing was done; a gradient that follows is dropped."""
        if op & (Op.PUSH | Op.ACCRUE) and not header["gradient"]["pid"]:
            self.gradient(header, source)
        self.answer(header, source, Status.FENCED)

    def known_piece(self, header: Record, source: int) -> int:
        """Return the piece that a client asks for, which must be of this shard; count the client."""
        piece = int(header["piece"])
        if piece not in self._shard.held:
            raise ProtocolError(f"rank {source} asks for piece {piece}, which is not of this shard")
        self.clients.add(source)
        self.serial = self._spans.serial(source, piece)
        return piece

    def answer(self, header: Record, source: int, status: Status, next_round: int = 0) -> None:
        """Reply; the parameters follow, unless they are in place or the client's memory cannot be mapped."""
        piece, reply, message = int(header["piece"]), self._free_reply(), None
        held = self._shard.held[piece]
        if status is not Status.UNMAPPED:
            self._shard.fetch(piece)
            self.bytes_out += held.value.nbytes
            if not header["parameters"]["pid"]:
                message = self._room(header, source, reply)
                np.copyto(message, held.value)
        reply.send(self._comm, source, message, (piece, status, held.version, next_round))

    def _room(self, header: Record, source: int, reply: "_Reply") -> Array:
        """Return where fetched parameters go: into the client's memory, or into a message."""
        if header["parameters"]["pid"]:
            return self.mapped(header, "parameters", source)
        size = len(self._shard.held[int(header["piece"])].value)
        return reply.room(self._largest, self._shard.dtype)[:size]

    def gradient(self, header: Record, source: int) -> Array:
        """Return the gradient that a request brings, in the client's memory or received; until the next call.

        Raises
        ------
        Unmapped
            As `mapped`.
        """
        wire, size = WIRE[int(header["wire"])], len(self._shard.held[int(header["piece"])].value)
        if header["gradient"]["pid"]:
            gradient = self.mapped(header, "gradient", source)
            self.bytes_in += gradient.nbytes
        else:
            self._received = _at_least(self._received, self._largest * self._shard.dtype.itemsize)
            gradient = self._received[: size * WIRE_DTYPES[wire].itemsize].view(WIRE_DTYPES[wire])
            self.receive(gradient, source, Tag.GRADIENT, int(header["piece"]))
        if wire not in COMPRESSED:
            return gradient
        self._decoded = _at_least(self._decoded, self._largest * self._shard.dtype.itemsize)
        return decode(gradient, wire, self._decoded.view(self._shard.dtype)[:size])

    def mapped(self, header: Record, field: str, source: int) -> Array:
        """Return the gradient or the parameters of a request, as its field is called, in the client's memory.

        Raises
        ------
        Unmapped
            It cannot be mapped here.
        """
        size = len(self._shard.held[int(header["piece"])].value)
        dtype = WIRE_DTYPES[WIRE[int(header["wire"])]] if field == "gradient" else self._shard.dtype
        place = self._areas.find(header[field], source, int(header["start"]), size, dtype)
        if place is None:
            raise Unmapped
        return place

    def _take(
        self, op: Op, header: Record, gradient: Array, out: Array | None, since: Since | None
    ) -> Status:
        """Apply or accrue a gradient."""
        piece, version = int(header["piece"]), int(header["version"])
        if op & Op.ACCRUE:
            return self._shard.accrue(piece, gradient, version)
        rate, square = float(header["rate"]), float(header["square"])
        return self._shard.push(piece, gradient, version, rate, out, square, since)

    def receive(self, into: Array, source: int, tag: Tag, piece: int | None = None) -> None:
        """Receive what a request about a piece, or a command, announced."""
        number = tag if piece is None else piece_tag(tag, piece)
        request, what = self._comm.Irecv(into.view(np.uint8), source, number), f"{tag.name} that it announced"

        def check() -> None:
            if source in self._silent:
                self._abandoned.append(self._received)
                self._received = np.empty(0, np.uint8)
                raise LeftOut

        peer = partial(str, f"rank {source} ({what})")
        complete(request, into, source, what, self._waiter, peer, check)
        self.bytes_in += into.nbytes

    def _free_reply(self) -> "_Reply":
        """Return a reply whose buffers are free, waiting for one if all are on their way."""
        free = next(filter(self._is_free, self._replies), None)
        if free is not None:
            return free

        def late() -> str:
            return ", ".join(f"rank {reply.to}" for reply in self._replies) + " (replies)"

        self._waiter.until(lambda: any(map(self._is_free, self._replies)), late)
        return self._free_reply()

    def _is_free(self, reply: "_Reply") -> bool:
        """Return whether a reply has left, or nobody is there to take it."""
        if not tolerant(reply.sent, self._detector.learn, True):
            if reply.to not in self._silent:
                return False
            self._abandoned.append(reply.abandon())
        reply.forget()
        return True

    def drain(self) -> None:
        """Wait until all replies have left."""
        for reply in self._replies:
            sent = partial(self._is_free, reply)
            self._waiter.until(sent, partial("rank {0.to} (a reply)".format, reply))


class _Reply:
    """The buffers of one reply, and its sends while they are in flight."""

    def __init__(self) -> None:
        self._values, self.to = np.empty(0, np.uint8), -1
        self._header = np.zeros(1, REPLY_HEADER)
        self._header_bytes = self._header.view(np.uint8)
        self._requests: list[MPI.Request] = []

    def room(self, size: int, dtype: np.dtype[Any]) -> Array:
        """Return the buffer for parameters."""
        self._values = _at_least(self._values, size * dtype.itemsize)
        return self._values.view(dtype)

    def send(
        self, comm: "MPI.Intracomm", to: int, values: Array | None, header: tuple[int, Status, int, int]
    ) -> None:
        """Begin to send a `REPLY_HEADER`, and the parameters that follow it, if there are any."""
        self.to, self._header[0] = to, header
        self._requests.append(comm.Isend(self._header_bytes, to, piece_tag(Tag.REPLY, header[0])))
        if values is not None:
            self._requests.append(comm.Isend(values, to, piece_tag(Tag.PARAMETERS, header[0])))

    def forget(self) -> None:
        """Let go of the sends."""
        self._requests.clear()

    def abandon(self) -> object:
        """Return what is on its way, to be kept, and take other buffers."""
        left = self._requests[:], self._values, self._header
        self._values, self._header = np.empty(0, np.uint8), np.zeros(1, REPLY_HEADER)
        self._header_bytes = self._header.view(np.uint8)
        return left

    def sent(self) -> bool:
        """Return whether all have left."""
        return all(request.Test() for request in self._requests)


def _at_least(buffer: Array, size: int) -> Array:
    """Return a buffer of bytes, or a new one where it is not made yet."""
    return buffer if len(buffer) >= size else np.empty(size, np.uint8)
