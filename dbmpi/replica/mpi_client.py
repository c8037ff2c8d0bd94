"""The parameter service over MPI, as a partition sees it (`replica.client`).

A partition talks to exactly the shards that hold its parameters, one request a piece. A shard on the same
node reads the gradient where it was computed, and writes parameters where they are wanted, if it can map that
memory; else, and from other nodes, both travel as messages. Minibatches go on meanwhile.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from dbmpi.arrays import Array, Record
from dbmpi.comm import ulfm
from dbmpi.comm.messages import tolerant, wrong_size
from dbmpi.comm.protocol import REPLY_HEADER, REQUEST_HEADER, UNKNOWN, WIRE, Op, Status, Tag
from dbmpi.comm.wait import Waiter
from dbmpi.errors import ProtocolError
from dbmpi.layout.sharding import Piece
from dbmpi.replica.client import Outcome
from dbmpi.replica.rooms import NOWHERE, Rooms
from dbmpi.server.compression import COMPRESSED, Encoder
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


class _PieceExchange:
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
    """

    def __init__(self, piece: Piece, rank: int, request: Record, reply: Record) -> None:
        self.piece, self.rank, self.open = piece, rank, False
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
            self._send(comm, vectors.gradient[self._range], Tag.GRADIENT)

    def measure(self, gradient: Array) -> None:
        """Note the sum of squares of its part of a gradient in the request: the shard need not find it."""
        self._request["square"] = rules.sum_of_squares(gradient[self._range])

    def _receive(self, comm: MPI.Intracomm, into: Array, tag: Tag) -> None:
        self._under_way.append((comm.Irecv(into, self.rank, tag), tag, into))

    def _send(self, comm: MPI.Intracomm, values: Array, tag: Tag) -> None:
        self._under_way.append((comm.Isend(values, self.rank, tag), tag, None))

    def ended(self) -> bool:
        """Return whether all messages have passed."""
        while self._under_way:
            request, tag, into = self._under_way[0]
            if not request.Test(self._status):
                return False
            if into is not None and self._status.Get_count() != into.nbytes:
                raise wrong_size(self._status.Get_count(), into.nbytes, tag.name, self.rank)
            self._under_way.popleft()
        self.open = False
        return True

    def abandon(self) -> list[MPI.Request]:
        """End it as it is; return what is still under way."""
        self.open = False
        left = [request for request, _, _ in self._under_way]
        self._under_way.clear()
        return left


class MpiClient:
    """The shards over MPI.

    Parameters
    ----------
    comm
        The service communicator.
    pieces
        This partition's pieces.
    ranks
        World rank of each shard, by shard index.
    incoming
        A vector of the partition's length for fetched parameters.
    wire
        Precision of pushed gradients, one of `protocol.WIRE`.
    rooms
        What makes and knows vectors in memory that shards can map.
    near
        World ranks of the shards on this node: they may map it.
    poll_orders
        Looks for the order that says which shard has a dead one's pieces, and calls `reroute`; None where a
        shard's death is the end. Until then exchanges with the dead stay open, and those with others go on.
    """

    shared = False

    def __init__(
        self,
        comm: MPI.Intracomm,
        pieces: Sequence[Piece],
        ranks: Sequence[int],
        incoming: Array,
        wire: str,
        waiter: Waiter,
        poll_orders: Callable[[], None] | None = None,
        rooms: Rooms | None = None,
        near: Iterable[int] = (),
    ) -> None:
        self._comm, self._waiter, self._ranks, self._poll_orders = comm, waiter, ranks, poll_orders
        self.incoming, self.busy = incoming, False
        self._rooms, self._near = rooms or Rooms(shared=False), set(near)
        self._encoder = Encoder(wire, len(incoming), self._rooms.take) if wire in COMPRESSED else None
        self._requests = np.zeros(len(pieces), REQUEST_HEADER)
        self._requests["piece"], self._requests["start"] = (
            [p.index for p in pieces],
            [p.start for p in pieces],
        )
        self._requests["wire"], self._requests["square"] = WIRE.index(wire), UNKNOWN
        self._replies = np.zeros(len(pieces), REPLY_HEADER)
        self._exchanges = [
            _PieceExchange(piece, ranks[piece.shard], self._requests[i : i + 1], self._replies[i : i + 1])
            for i, piece in enumerate(pieces)
        ]
        self._dead: set[int] = set()  # ranks of shards, until another one has their pieces
        self._past: list[MPI.Request] = []  # with the dead: MPI may still know their buffers
        self._op, self._vectors = Op(0), Vectors(incoming, incoming)

    def room(self) -> Array:
        """See `ParameterClient.room`."""
        return self._rooms.take(len(self.incoming), self.incoming.dtype)

    def begin(self, op: Op, gradient: Array, versions: NDArray[np.int64], rate: float, steps: int) -> None:
        """See `ParameterClient.begin`."""
        self._requests["version"], self._requests["rate"], self._requests["steps"] = versions, rate, steps
        measured = bool(op & Op.PUSH) and self._encoder is None
        message = gradient
        if self._encoder is not None and op & PUSHES:
            message = self._encoder.encode(gradient)
        self._op, self._vectors = op, self._located(op, message)
        self.busy = bool(self._exchanges)  # a partition without units has no parameters
        for exchange in self._exchanges:
            if measured:
                exchange.measure(gradient)
            self._start(exchange, op)

    def _located(self, op: Op, message: Array) -> Vectors:
        """Return the vectors of an exchange; all of it is mapped, or nothing."""
        vectors = Vectors(self.incoming, message)
        if not self._near:
            return vectors
        parameters, gradient = self._rooms.area(self.incoming), self._rooms.area(message)
        if not parameters["pid"] or not (gradient["pid"] or not op & PUSHES):
            return vectors
        return vectors._replace(parameters_area=parameters, gradient_area=gradient)

    def _start(self, exchange: _PieceExchange, op: Op) -> None:
        vectors = self._vectors if exchange.rank in self._near else self._vectors.as_messages()
        tolerant(partial(exchange.start, self._comm, op, vectors), self._learn, None)

    def poll(self) -> Outcome | None:
        """See `ParameterClient.poll`."""
        return self._outcome() if self.busy and self._done() else None

    def progress(self) -> None:
        """See `ParameterClient.progress`; MPI libraries move large messages only within calls."""
        if self.busy:
            self._done()

    def wait(self) -> Outcome:
        """See `ParameterClient.wait`."""
        self._waiter.until(self._done_or_rerouted, self._late)
        return self._outcome()

    def _done_or_rerouted(self) -> bool:
        if self._dead and self._poll_orders is not None:
            self._poll_orders()
        return self._done()

    def _done(self) -> bool:
        return not self._dead and tolerant(self._all_ended, self._learn, False)

    def _all_ended(self) -> bool:
        return all(not exchange.open or self._ended(exchange) for exchange in self._exchanges)

    def _ended(self, exchange: _PieceExchange) -> bool:
        """Return whether an exchange has ended; one with a shard that cannot map memory begins again."""
        if not exchange.ended():
            return False
        if exchange.unmapped:
            self._near.discard(exchange.rank)
            self._start(exchange, self._op)
        return not exchange.open

    def forget(self) -> None:
        """See `ParameterClient.forget`."""
        if self._encoder is not None:
            self._encoder.forget()

    def adopt(self, spare: Array) -> None:
        """See `ParameterClient.adopt`."""
        self.incoming = spare

    def _learn(self, error: MPI.Exception) -> None:
        """Take in the death of a shard whose pieces another one will have; raise any other error.

        A request that has failed is done for MPI, so nothing is tested again before `reroute`.
        """
        if self._poll_orders is None or ulfm.revoked(self._comm):
            raise error
        ulfm.raise_unless_death(self._comm, error)
        dead = {exchange.rank for exchange in self._exchanges}.intersection(ulfm.failed(self._comm))
        if not dead:
            raise error
        self._dead |= dead

    def reroute(self, dead: int, successor: int) -> None:
        """See `ParameterClient.reroute`; exchanges with the living, and what has ended, are not repeated."""
        rank = self._ranks[dead]
        concerned = [exchange for exchange in self._exchanges if exchange.rank == rank]
        for exchange in concerned:
            if exchange.open and rank not in self._dead:
                tolerant(partial(self._ended, exchange), self._learn, False)
        for exchange in concerned:
            exchange.rank = self._ranks[successor]
            if exchange.open:
                self._restart(exchange)
        self._dead.discard(rank)

    def _restart(self, exchange: _PieceExchange) -> None:
        """Repeat an exchange, but for a push that the dead shard has acknowledged."""
        self._past += exchange.abandon()
        op = self._op & Op.FETCH if exchange.replied else self._op
        if op:
            self._start(exchange, op)

    def _late(self) -> str:
        late = [one for one in self._exchanges if not one.replied]
        # Without any: replies came, but not the parameters that follow them.
        named = sorted({(one.rank, one.piece.shard) for one in late or self._exchanges})
        names = ", ".join(f"rank {rank} (shard {shard})" for rank, shard in named)
        return f"{names}: {str(self._op.name).lower().replace('|', ' and ')}"

    def _outcome(self) -> Outcome:
        self.busy = False
        if not np.array_equal(self._replies["piece"], self._requests["piece"]):
            raise ProtocolError(f"shards answered for pieces {self._replies['piece']}")
        refused = int(np.count_nonzero(self._replies["status"] != Status.OK))
        return Outcome(self._replies["version"].copy() if self._op & Op.FETCH else None, refused)
