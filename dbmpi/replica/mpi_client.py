"""The parameter service over MPI, as a partition sees it (`replica.client`).

A partition talks to exactly the shards that hold its parameters, one request a piece. A shard on the same
node reads the gradient where it was computed, and writes parameters where they are wanted, if it can map that
memory; else, and from other nodes, both travel as messages. Minibatches go on meanwhile.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
from mpi4py import MPI

from dbmpi.arrays import Array
from dbmpi.comm import ulfm
from dbmpi.comm.messages import tolerant
from dbmpi.comm.protocol import NO_ROUND, REPLY_HEADER, REQUEST_HEADER, UNKNOWN, WIRE, Op, Status
from dbmpi.comm.wait import Cause, Waiter
from dbmpi.errors import ProtocolError
from dbmpi.layout.sharding import Piece
from dbmpi.replica.client import Outcome, Request
from dbmpi.replica.piece_exchange import PUSHES, PieceExchange, Vectors
from dbmpi.replica.rooms import Rooms
from dbmpi.server.compression import COMPRESSED, Encoder
from dbmpi.spans import Kind
from kernels.parameters import rules

NOTHING = np.zeros(0, np.int64)  # nothing was pushed


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
        self._spans = waiter.spans
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
            PieceExchange(piece, ranks[piece.shard], self._requests[i : i + 1], self._replies[i : i + 1])
            for i, piece in enumerate(pieces)
        ]
        self._dead: set[int] = set()  # ranks of shards, until another one has their pieces
        self._past: list[MPI.Request] = []  # with the dead: MPI may still know their buffers
        self._op, self._vectors = Op(0), Vectors(incoming, incoming)

    def room(self) -> Array:
        """See `ParameterClient.room`."""
        return self._rooms.take(len(self.incoming), self.incoming.dtype)

    def begin(self, request: Request) -> None:
        """See `ParameterClient.begin`."""
        op, gradient = request.op, request.gradient
        self._requests["round"], self._requests["weight"] = request.share
        self._requests["version"], self._requests["rate"] = request.versions, request.rate
        self._requests["steps"] = request.steps
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

    def pushed_square(self, gradient: Array) -> float:
        """See `ParameterClient.pushed_square`; what is not compressed was measured piece by piece."""
        if self._encoder is not None:
            return float(rules.sum_of_squares(gradient))
        return float(self._requests["square"].sum())

    def _located(self, op: Op, message: Array) -> Vectors:
        """Return the vectors of an exchange; all of it is mapped, or nothing."""
        vectors = Vectors(self.incoming, message)
        if not self._near:
            return vectors
        parameters, gradient = self._rooms.area(self.incoming), self._rooms.area(message)
        if not parameters["pid"] or not (gradient["pid"] or not op & PUSHES):
            return vectors
        return vectors._replace(parameters_area=parameters, gradient_area=gradient)

    def _start(self, exchange: PieceExchange, op: Op) -> None:
        vectors = self._vectors if exchange.rank in self._near else self._vectors.as_messages()
        exchange.serial = self._spans.serial(exchange.rank, exchange.piece.index)
        exchange.begun = time.monotonic()
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
        cause = Cause.FETCH if self._op & Op.FETCH else Cause.PUSH
        self._waiter.until(self._done_or_rerouted, self._late, cause=cause)
        return self._outcome()

    def _done_or_rerouted(self) -> bool:
        if self._dead and self._poll_orders is not None:
            self._poll_orders()
        return self._done()

    def _done(self) -> bool:
        return not self._dead and tolerant(self._all_ended, self._learn, False)

    def _all_ended(self) -> bool:
        return all(not exchange.open or self._ended(exchange) for exchange in self._exchanges)

    def _ended(self, exchange: PieceExchange) -> bool:
        """Return whether an exchange has ended; one with a shard that cannot map memory begins again."""
        if not exchange.ended():
            return False
        self._record(exchange)
        if exchange.unmapped:
            self._near.discard(exchange.rank)
            self._start(exchange, self._op)
        return not exchange.open

    def _record(self, exchange: PieceExchange) -> None:
        """Record an exchange that has ended."""
        if self._spans.on:
            about = exchange.rank, exchange.piece.index, exchange.serial
            self._spans.note(Kind.EXCHANGE, exchange.begun, time.monotonic(), self._op, *about)

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

    def _restart(self, exchange: PieceExchange) -> None:
        """Repeat an exchange, but for a push that the dead shard has acknowledged.

        In rounds that too: the round may be one that the heir has yet to make the step of, for all.
        """
        self._past += exchange.abandon()
        taken = exchange.replied and self._requests["round"][0] == NO_ROUND
        op = self._op & ~PUSHES if taken else self._op
        if op & (Op.FETCH | PUSHES) or not exchange.replied:
            self._start(exchange, op)

    def _late(self) -> str:
        late = [one for one in self._exchanges if not one.replied]
        # Without any: replies came, but not the parameters that follow them.
        named = sorted({(one.rank, one.piece.shard) for one in late or self._exchanges})
        names = ", ".join(f"rank {rank} (shard {shard})" for rank, shard in named)
        op = self._op & (Op.FETCH | PUSHES | Op.CLOSE)
        return f"{names}: {str(op.name).lower().replace('|', ' and ')}{self._round_waited_for()}"

    def _round_waited_for(self) -> str:
        number = self._requests["round"].max(initial=NO_ROUND)
        return "" if number == NO_ROUND else f", in round {number}, which all replicas must push for"

    def _outcome(self) -> Outcome:
        self.busy = False
        if not np.array_equal(self._replies["piece"], self._requests["piece"]):
            raise ProtocolError(f"shards answered for pieces {self._replies['piece']}")
        status, after = self._replies["status"], self._replies["version"]
        late = refused = 0
        behind = after - self._requests["version"] if self._op & Op.PUSH else NOTHING
        if status.any():  # `Status.OK` is 0
            late = int(np.count_nonzero(status == Status.LATE))
            refused = int(np.count_nonzero(status)) - late
            behind = behind[status == Status.OK] if len(behind) else behind
        versions = after.copy() if self._op & Op.FETCH else None
        next_round = int(self._replies["round"].max(initial=0))
        return Outcome(versions, refused, late, next_round, behind.tolist())
