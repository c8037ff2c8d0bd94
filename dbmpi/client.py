"""The parameter service as a partition sees it: fetch and push in the background, one at a time.

A partition talks to exactly the shards that hold its parameters, one request a piece. Parameters
arrive in a second buffer, and gradients leave from where they were computed, so that minibatches go
on meanwhile.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dbmpi.errors import ProtocolError
from dbmpi.protocol import REPLY_HEADER, REQUEST_HEADER, WIRE, Op, Status, Tag
from dbmpi.shard import Shard
from dbmpi.sharding import Piece
from dbmpi.waiting import Waiter
from dbmpi.wire import Encoder

if TYPE_CHECKING:
    from mpi4py import MPI

Array = NDArray[Any]


class Outcome(NamedTuple):
    """How an exchange with the shards ended.

    `versions` are those of the fetched parameters, a piece each, or None if nothing was fetched;
    `refused` counts the pieces whose push a shard refused, of an evaluation that is over too.
    """

    versions: NDArray[np.int64] | None
    refused: int


class Link(Protocol):
    """What the training loop needs of the parameter service.

    `shared` says whether the buffer in which parameters arrive is the shard's own, so that the
    replica computes on it and a fetch moves nothing.
    """

    shared: bool

    def begin(self, op: Op, gradient: Array, versions: NDArray[np.int64], rate: float, steps: int) -> None:
        """Begin an exchange; the one before must have ended.

        `gradient`, of `steps` minibatches from parameters of `versions`, must stay as it is until
        the exchange has ended; it is not looked at unless `op` pushes or accrues. Where it accrues,
        `versions` is the evaluation, for each piece.
        """

    def poll(self) -> Outcome | None:
        """Return the outcome if an exchange has just ended, else None."""

    def wait(self) -> Outcome:
        """Wait for the exchange in flight, and return its outcome."""

    def progress(self) -> None:
        """Let what is in flight move on; called between layers."""

    @property
    def busy(self) -> bool:
        """Whether an exchange is in flight."""

    @property
    def incoming(self) -> Array:
        """The buffer in which fetched parameters arrive."""

    def forget(self) -> None:
        """Drop what rounding has taken from the gradients so far and would be added to the next."""

    def adopt(self, spare: Array) -> None:
        """Let the next fetch arrive in `spare`; the last one's buffer is the caller's from now on."""


class RemoteLink:
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
    """

    def __init__(
        self,
        comm: "MPI.Intracomm",
        pieces: Sequence[Piece],
        ranks: Sequence[int],
        incoming: Array,
        wire: str,
        waiter: Waiter,
    ) -> None:
        self._comm, self._waiter, self.incoming = comm, waiter, incoming
        self.shared = False
        self._pieces = pieces
        self._to = [ranks[piece.shard] for piece in pieces]
        self._encoder = Encoder(wire, len(incoming))
        self._asked = np.zeros(len(pieces), REQUEST_HEADER)
        self._asked["piece"], self._asked["wire"] = [p.index for p in pieces], WIRE.index(wire)
        self._answered = np.zeros(len(pieces), REPLY_HEADER)
        self._replies: list[MPI.Request] = []
        self._others: list[MPI.Request] = []
        self._op = Op(0)

    @property
    def busy(self) -> bool:
        """Whether an exchange is in flight."""
        return bool(self._replies)

    def begin(self, op: Op, gradient: Array, versions: NDArray[np.int64], rate: float, steps: int) -> None:
        """Post the receives, then send the requests. See `Link.begin`."""
        self._op = op
        self._asked["op"], self._asked["version"] = op, versions
        self._asked["rate"], self._asked["steps"] = rate, steps
        pushes = bool(op & (Op.PUSH | Op.ACCRUE))
        message = self._encoder.encode(gradient) if pushes else gradient
        for i, (piece, to) in enumerate(zip(self._pieces, self._to, strict=True)):
            self._replies.append(self._comm.Irecv(self._answered[i : i + 1].view(np.uint8), to, Tag.REPLY))
            if op & Op.FETCH:
                into = self.incoming[piece.start : piece.stop]
                self._others.append(self._comm.Irecv(into, to, Tag.PARAMETERS))
            self._others.append(self._comm.Isend(self._asked[i : i + 1].view(np.uint8), to, Tag.REQUEST))
            if pushes:
                self._others.append(self._comm.Isend(message[piece.start : piece.stop], to, Tag.GRADIENT))

    def poll(self) -> Outcome | None:
        """See `Link.poll`."""
        return self._outcome() if self._replies and self._done() else None

    def progress(self) -> None:
        """See `Link.progress`; MPI libraries move large messages only within calls."""
        if self._replies:
            self._done()

    def wait(self) -> Outcome:
        """See `Link.wait`."""
        self._waiter.until(self._done, self._late)
        return self._outcome()

    def forget(self) -> None:
        """See `Link.forget`."""
        self._encoder.forget()

    def adopt(self, spare: Array) -> None:
        """See `Link.adopt`."""
        self.incoming = spare

    def _done(self) -> bool:
        if not self._replies:  # a partition without units has no parameters
            return True
        first = self._replies[0]
        return first.Testall(self._replies) and first.Testall(self._others)

    def _late(self) -> str:
        owed = zip(self._to, self._pieces, self._replies, strict=True)
        late = {(to, piece.shard) for to, piece, reply in owed if not reply.Test()}
        # Replies came, but not the parameters that follow them.
        late = late or {(to, piece.shard) for to, piece in zip(self._to, self._pieces, strict=True)}
        names = ", ".join(f"rank {to} (shard {shard})" for to, shard in sorted(late))
        return f"{names}: {str(self._op.name).lower().replace('|', ' and ')}"

    def _outcome(self) -> Outcome:
        self._replies.clear()
        self._others.clear()
        if not np.array_equal(self._answered["piece"], self._asked["piece"]):
            raise ProtocolError(f"shards answered for pieces {self._answered['piece']}")
        refused = int(np.count_nonzero(self._answered["status"] != Status.OK))
        return Outcome(self._answered["version"].copy() if self._op & Op.FETCH else None, refused)


class LocalLink:
    """A shard in the same process, for serial training.

    Parameters
    ----------
    values
        The vector that the shard's pieces are views of.
    shared
        Whether the replica may compute on `values` itself, so that a fetch moves nothing: it must
        then fetch after every step, and take none on its own copy.
    """

    def __init__(self, shard: Shard, pieces: Sequence[Piece], values: Array, shared: bool) -> None:
        self._shard, self._pieces, self._values = shard, pieces, values
        self.shared = shared
        self.incoming = values if shared else np.empty_like(values)
        self._ended: Outcome | None = None

    @property
    def busy(self) -> bool:
        """Whether an outcome waits to be taken."""
        return self._ended is not None

    def begin(self, op: Op, gradient: Array, versions: NDArray[np.int64], rate: float, steps: int) -> None:
        """Do the whole exchange. See `Link.begin`."""
        refused = 0
        for piece, version in zip(self._pieces, versions, strict=True):
            part = gradient[piece.start : piece.stop]
            if op & Op.PUSH:
                refused += self._shard.push(piece.index, part, int(version), rate) is not Status.OK
            elif op & Op.ACCRUE:
                refused += self._shard.accrue(piece.index, part, int(version)) is not Status.OK
        self._ended = Outcome(self._fetch() if op & Op.FETCH else None, refused)

    def _fetch(self) -> NDArray[np.int64]:
        if self.incoming is not self._values:
            np.copyto(self.incoming, self._values)
        return np.array([self._shard.fetch(piece.index).version for piece in self._pieces])

    def poll(self) -> Outcome | None:
        """See `Link.poll`."""
        ended, self._ended = self._ended, None
        return ended

    def wait(self) -> Outcome:
        """See `Link.wait`."""
        ended = self.poll()
        assert ended is not None
        return ended

    def progress(self) -> None:
        """Nothing is in flight."""

    def adopt(self, spare: Array) -> None:
        """See `Link.adopt`."""
        self.incoming = spare

    def forget(self) -> None:
        """Nothing is rounded."""
