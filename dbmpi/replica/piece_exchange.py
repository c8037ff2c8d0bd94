"""The exchange of one piece of a partition's parameters with the shard that serves it."""

from collections import deque
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

from dbmpi.arrays import Array, Record
from dbmpi.comm.messages import has_come
from dbmpi.comm.protocol import Op, Status, Tag, piece_tag
from dbmpi.layout.sharding import Piece
from dbmpi.replica.rooms import NOWHERE
from kernels.parameters import rules

PUSHES = Op.PUSH | Op.ACCRUE
NO_PIECE = -1  # in a reply that has not come yet


class Vectors(NamedTuple):
    """What an exchange moves, and where that lies for shards that map it: `AREA` records, `()`."""

    parameters: Array
    gradient: Array
    parameters_area: Record = NOWHERE
    gradient_area: Record = NOWHERE

    def as_messages(self) -> "Vectors":
        """Return the same, to be moved by messages."""
        return Vectors(self.parameters, self.gradient)


class PieceExchange:
    """The exchange of one piece with the shard that serves it.

    Parameters
    ----------
    piece, rank
        The piece, and the world rank of the shard.
    request, reply
        Where the headers are, `(1,)` of `REQUEST_HEADER` and of `REPLY_HEADER`.

    Attributes
    ----------
    open
        Whether it has begun, and not all of its messages have passed.
    begun, serial
        When its request was sent, `time.monotonic`, and the number of that: `spans.Recorder.serial`.
    """

    def __init__(self, piece: Piece, rank: int, request: Record, reply: Record) -> None:
        self.piece, self.rank, self.open = piece, rank, False
        self.begun, self.serial = 0.0, 0
        self._range = slice(piece.start, piece.stop)
        self._request, self._reply = request, reply
        self._request_bytes, self._reply_bytes = request.view(np.uint8), reply.view(np.uint8)
        self._status = MPI.Status()
        self._under_way: deque[tuple[MPI.Request, Tag, Array | None]] = deque()  # with buffers of receives

    @property
    def replied(self) -> bool:
        """Whether the reply has come."""
        return bool(self._reply["piece"][0] != NO_PIECE)

    @property
    def unmapped(self) -> bool:
        """Whether the shard cannot map the memory that the request names."""
        return bool(self._reply["status"][0] == Status.UNMAPPED)

    def start(self, comm: MPI.Intracomm, op: Op, vectors: Vectors) -> None:
        """Post the receives, then send the request, and the gradient if it pushes.

        What lies in memory that the shard maps needs no message.
        """
        self.open = True
        self._request["op"], self._reply["piece"] = op, NO_PIECE
        self._request["parameters"], self._request["gradient"] = vectors[2:]
        self._receive(comm, self._reply_bytes, Tag.REPLY)
        mapped = bool(vectors.parameters_area["pid"])
        if op & Op.FETCH and not mapped:
            self._receive(comm, vectors.parameters[self._range], Tag.PARAMETERS)
        self._send(comm, self._request_bytes, Tag.REQUEST)
        if op & PUSHES and not mapped:
            self._send(comm, vectors.gradient[self._range], piece_tag(Tag.GRADIENT, self.piece.index))

    def measure(self, gradient: Array) -> None:
        """Note the sum of squares of its part of a gradient in the request: the shard need not find it."""
        self._request["square"] = rules.sum_of_squares(gradient[self._range])

    def _receive(self, comm: MPI.Intracomm, into: Array, tag: Tag) -> None:
        request = comm.Irecv(into, self.rank, piece_tag(tag, self.piece.index))
        self._under_way.append((request, tag, into))

    def _send(self, comm: MPI.Intracomm, values: Array, tag: int) -> None:
        self._under_way.append((comm.Isend(values, self.rank, tag), Tag.REQUEST, None))

    def ended(self) -> bool:
        """Return whether all messages have passed."""
        while self._under_way:
            request, tag, into = self._under_way[0]
            if into is None and not request.Test():
                return False
            if into is not None and not has_come(request, self._status, into.nbytes, tag.name, self.rank):
                return False
            self._under_way.popleft()
        self.open = False
        return True

    def abandon(self) -> list[MPI.Request]:
        """End it as it is; return what is still under way."""
        self.open = False
        left = [request for request, _, _ in self._under_way]
        self._under_way.clear()
        return left
