"""The parameter service over MPI, as a partition sees it (`replica.client`).

A partition talks to exactly the shards that hold its parameters, one request a piece. Parameters
arrive in a second buffer, and gradients leave from where they were computed, so that minibatches go
on meanwhile.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Array
from dbmpi.comm.protocol import REPLY_HEADER, REQUEST_HEADER, WIRE, Op, Status, Tag
from dbmpi.comm.wait import Waiter
from dbmpi.errors import ProtocolError
from dbmpi.layout.sharding import Piece
from dbmpi.replica.client import Outcome
from dbmpi.server.compression import Encoder

if TYPE_CHECKING:
    from mpi4py import MPI

PUSHES = Op.PUSH | Op.ACCRUE
NOBODY = -1  # in place of a piece, until the reply about it is there


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
    look
        Looks for the word that a dead shard's pieces are elsewhere, and calls `reroute`; None where a shard's
        death is the end. Until then an exchange with it stays open, and those with others go on.
    """

    def __init__(
        self,
        comm: "MPI.Intracomm",
        pieces: Sequence[Piece],
        ranks: Sequence[int],
        incoming: Array,
        wire: str,
        waiter: Waiter,
        poll_orders: Callable[[], None] | None = None,
    ) -> None:
        self._comm, self._waiter, self.incoming = comm, waiter, incoming
        self.shared = False
        self._pieces, self._ranks, self._poll_orders = pieces, ranks, poll_orders
        self._to = [ranks[piece.shard] for piece in pieces]
        self._encoder = Encoder(wire, len(incoming))
        self._asked = np.zeros(len(pieces), REQUEST_HEADER)
        self._asked["piece"], self._asked["wire"] = [p.index for p in pieces], WIRE.index(wire)
        self._answered = np.zeros(len(pieces), REPLY_HEADER)
        self._replies: list[MPI.Request | None] = []  # by piece; None: could not be asked for, of the dead
        self._others: list[list[MPI.Request]] = [[] for _ in pieces]
        self._dead: set[int] = set()  # ranks of shards, until another one has their pieces
        self._past: list[MPI.Request | None] = []  # with the dead: MPI may still know the buffers
        self._op, self._message = Op(0), incoming

    @property
    def busy(self) -> bool:
        """Whether an exchange is in flight."""
        return bool(self._replies)

    def begin(self, op: Op, gradient: Array, versions: NDArray[np.int64], rate: float, steps: int) -> None:
        """Post the receives, then send the requests. See `ParameterClient.begin`."""
        self._op = op
        self._asked["op"], self._asked["version"] = op, versions
        self._asked["rate"], self._asked["steps"] = rate, steps
        self._answered["piece"] = NOBODY
        self._message = self._encoder.encode(gradient) if op & PUSHES else gradient
        self._replies = [None] * len(self._pieces)
        for i in range(len(self._pieces)):
            self._ask(i, op)

    def _ask(self, i: int, op: Op) -> None:
        """Begin the exchange of one piece."""
        piece, to, comm = self._pieces[i], self._to[i], self._comm
        others = self._others[i]
        try:
            self._replies[i] = comm.Irecv(self._answered[i : i + 1].view(np.uint8), to, Tag.REPLY)
            if op & Op.FETCH:
                others.append(comm.Irecv(self.incoming[piece.start : piece.stop], to, Tag.PARAMETERS))
            others.append(comm.Isend(self._asked[i : i + 1].view(np.uint8), to, Tag.REQUEST))
            if op & PUSHES:
                others.append(comm.Isend(self._message[piece.start : piece.stop], to, Tag.GRADIENT))
        except RuntimeError as error:
            self._tolerate(error)

    def poll(self) -> Outcome | None:
        """See `ParameterClient.poll`."""
        return self._outcome() if self._replies and self._done() else None

    def progress(self) -> None:
        """See `ParameterClient.progress`; MPI libraries move large messages only within calls."""
        if self._replies:
            self._done()

    def wait(self) -> Outcome:
        """See `ParameterClient.wait`."""
        self._waiter.until(self._done_or_rerouted, self._late)
        return self._outcome()

    def _done_or_rerouted(self) -> bool:
        if self._dead and self._poll_orders is not None:
            self._poll_orders()
        return self._done()

    def forget(self) -> None:
        """See `ParameterClient.forget`."""
        self._encoder.forget()

    def adopt(self, wait_as_spare: Array) -> None:
        """See `ParameterClient.adopt`."""
        self.incoming = wait_as_spare

    def _done(self) -> bool:
        if not self._replies:  # a partition without units has no parameters
            return True
        if self._dead:
            return False
        replies = cast("list[MPI.Request]", self._replies)  # without None, which comes with death
        test = replies[0].Testall
        try:
            return test(replies) and test(list(chain.from_iterable(self._others)))
        except RuntimeError as error:
            self._tolerate(error)
            return False

    def _tolerate(self, error: RuntimeError) -> None:
        """Go on if an error tells of the death of a shard whose pieces another one will have.

        Which requests have failed is not known then, so none is asked again before `reroute`.
        """
        from mpi4py import MPI

        from dbmpi.comm import ulfm

        if self._poll_orders is None or not isinstance(error, MPI.Exception) or ulfm.revoked(self._comm):
            raise error
        dead = set(ulfm.failed(self._comm)) & set(self._to)
        if not dead or not ulfm.tells_of_death(error, self._comm):
            raise error
        self._dead |= dead

    def reroute(self, dead: int, successor: int) -> None:
        """See `ParameterClient.reroute`; exchanges with the living are not repeated."""
        rank = self._ranks[dead]
        mine = [i for i, to in enumerate(self._to) if to == rank]
        failed = rank in self._dead
        for i in mine:
            self._to[i] = self._ranks[successor]
        for i in mine if self.busy else ():
            if failed or not self._complete(i):
                self._ask_again(i)
        self._dead.discard(rank)

    def _complete(self, i: int) -> bool:
        """Return whether the exchange of a piece has ended, with a shard of which no call has failed."""
        try:
            return all(request is not None and request.Test() for request in self._requests(i))
        except RuntimeError:
            return False

    def _requests(self, i: int) -> "list[MPI.Request | None]":
        return [self._replies[i], *self._others[i]]

    def _ask_again(self, i: int) -> None:
        """Repeat the exchange of one piece, but for a push that the dead shard has acknowledged."""
        op = self._op
        if self._answered["piece"][i] != NOBODY:
            op &= Op.FETCH
        self._past += self._requests(i)
        self._others[i] = []
        if not op:
            return
        self._answered["piece"][i], self._asked["op"][i] = NOBODY, op
        self._ask(i, op)

    def _late(self) -> str:
        owed = zip(self._to, self._pieces, self._answered["piece"], strict=True)
        late = {(to, piece.shard) for to, piece, answered in owed if answered == NOBODY}
        # Replies came, but not the parameters that follow them.
        late = late or {(to, piece.shard) for to, piece in zip(self._to, self._pieces, strict=True)}
        names = ", ".join(f"rank {to} (shard {shard})" for to, shard in sorted(late))
        return f"{names}: {str(self._op.name).lower().replace('|', ' and ')}"

    def _outcome(self) -> Outcome:
        self._replies.clear()
        for others in self._others:
            others.clear()
        if not np.array_equal(self._answered["piece"], self._asked["piece"]):
            raise ProtocolError(f"shards answered for pieces {self._answered['piece']}")
        refused = int(np.count_nonzero(self._answered["status"] != Status.OK))
        return Outcome(self._answered["version"].copy() if self._op & Op.FETCH else None, refused)
