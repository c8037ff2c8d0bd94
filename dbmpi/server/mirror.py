"""Mirrors of shards: what a shard holds, in the memory of its successor, for where ranks may die (`ulfm`).

A shard copies its slice, as for a checkpoint, and sends the copy to the next living shard, while it serves
on. That one receives it into spare buffers, which become the mirror when all of it has arrived: so it always
has a whole mirror, of one moment, once it had any. When the shard dies its successor goes on from there.

Under Downpour each shard sends a copy at regular intervals. A batch method needs all mirrors to be of the
same iterate: there the coordinator orders each mirror, and names the vectors that have changed since the last
one. It orders the next when the last is whole on all successors, so no two shards are ever more than one
mirror apart, and the shards can go back to either of the last two (`Shard.keep`). A successor has the last
two as well, until the one after them begins to arrive: so when several shards die at once, there is a number
at which all their mirrors are whole.

After a death the senders and receivers that it concerns are made anew, with another tag, so that no message
from before is taken for one from after. What is whole is kept until something newer is.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

from dbmpi.checkpoint.vector_names import UPDATES
from dbmpi.comm.protocol import mirror_tag
from dbmpi.layout.sharding import Owners, Piece, of_shard
from dbmpi.server.transfer import Copy, Peer, Receiving, Sending, WholeMirror

POLL_S = 5e-3  # between looks at what travels
Pieces = tuple[Piece, ...]


class Inheritance(NamedTuple):
    """What a successor takes over: the pieces, the last whole mirror of them, and the one before it."""

    pieces: Pieces
    whole: WholeMirror | None
    before: WholeMirror | None


class Mirror:
    """What one shard sends to its successor, and holds of the shard before it.

    Parameters
    ----------
    comm
        The shards' communicator.
    index
        This shard.
    owners
        Who serves what; it is kept here for this rank.
    pieces
        All pieces of the model, each of the shard that serves it at first.
    names
        Of the vectors that a copy by the clock has, but for the updates.
    dtype
        Of these vectors.
    every_s
        Interval of the copies by the clock, in seconds; once one was ordered there are no more of them.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        index: int,
        owners: Owners,
        pieces: Sequence[Piece],
        names: Sequence[str],
        dtype: np.dtype[Any],
        every_s: float,
    ) -> None:
        self._comm, self._index, self.owners, self._pieces = comm, index, owners, pieces
        self._names, self._dtype, self._every_s = tuple(names), dtype, every_s
        self._ordered = 0  # number of the last mirror that was ordered
        self._told = 0  # number of the last one that `take_done` has returned
        self._asked = 0  # number of the last COVER; 0 once it is answered
        self._renewals, self._poll_at, self._next_at = 0, 0.0, 0.0
        self._sending: Sending | None = None  # both are None where this shard alone is left
        self._receiving: Receiving | None = None
        self._past: list[Peer] = []  # MPI may still know their buffers
        self._renew()

    @property
    def largest(self) -> int:
        """Size of the largest piece that may ever be served here."""
        return max((piece.size for piece in self._pieces), default=0)

    def poll(self, now: float, snapshot: Callable[[], Copy]) -> None:
        """Let mirrors move on, and begin to send one of `snapshot` if it is time. Local."""
        if now < self._poll_at or self._sending is None or self._receiving is None:
            return
        self._poll_at = now + POLL_S
        self._receive(self._receiving, now)
        self._sending.poll()
        if not self._ordered and now >= self._next_at and not self._sending.busy:
            self._sending.begin(self._names, self._dtype, snapshot())
            self._next_at = now + self._every_s

    def _receive(self, receiving: Receiving, now: float) -> None:
        """See what has arrived; by the clock, expect the next at once."""
        while True:
            if not self._ordered and not receiving.busy:
                receiving.expect(self._names, self._dtype)
            before = receiving.whole
            receiving.poll(now)
            if receiving.whole is before:
                return

    def order(self, number: int, copy: Copy, anew: bool) -> None:
        """Send a copy, and expect one of the same vectors. Local.

        Parameters
        ----------
        number
            Of the mirror; counts up.
        copy
            What has changed since the last one.
        anew
            Whether it is all there is: the first mirror, or the first after a death.
        """
        self._ordered = number
        if anew:
            self._renew(both=True)
        names = [name for name in copy if name != UPDATES]
        if self._sending is not None and self._receiving is not None:
            self._receiving.expect(names, self._dtype, number, anew)
            self._sending.begin(names, self._dtype, copy)
        self._poll_at = 0.0

    def take_done(self) -> int | None:
        """Return the number of the mirror ordered last, once: it has left, and the other one is whole."""
        sending, receiving = self._sending, self._receiving
        busy = sending is not None and receiving is not None and (sending.busy or receiving.busy)
        if busy or self._told == self._ordered:
            return None
        self._told = self._ordered
        return self._told

    def cover(self, number: int) -> None:
        """Have `take_covered` return a number when all that travels has arrived. Local."""
        self._asked = number

    def take_covered(self) -> int | None:
        """Return the number of the last COVER, once: what is held here, and by this shard, is mirrored.

        Between ordered mirrors: none is under way. Nothing is mirrored where one shard is left.
        """
        if not self._asked or not self._covered:
            return None
        number, self._asked = self._asked, 0
        return number

    @property
    def _covered(self) -> bool:
        sending, receiving = self._sending, self._receiving
        if sending is None or receiving is None:
            return True
        if sending.lost or receiving.lost:
            return False
        if self._ordered:
            return not sending.busy and not receiving.busy
        return sending.sent > 0 and receiving.whole is not None

    def back(self, number: int) -> None:
        """Forget mirrors that are newer than the one that the run goes back to. Local."""
        if self._receiving is not None:
            self._receiving.back(number)

    def fail_over(
        self, dead: int, now: float, first: Callable[[int], Copy] | None = None
    ) -> Inheritance | None:
        """Take note that a shard has died.

        Parameters
        ----------
        now
            The time.
        first
            Makes what a shard held at first, where that will do.

        Returns
        -------
        Inheritance
            If this shard is the successor: the pieces that are its own from now on, and the last whole
            mirrors of them, if there are any. The caller must adopt them, or end.
        """
        inherited, held = self._of(dead), self._receiving
        if held is not None:
            self._receive(held, now)  # the last parts may just have come
        successor = self.owners.mark_dead(dead)
        self._told = self._ordered  # it is not awaited any more
        self._renew()
        if successor != self._index:
            return None
        whole = held.whole if held is not None and held.pieces == inherited else None
        if whole is None and first is not None and inherited == of_shard(self._pieces, dead):
            return Inheritance(inherited, WholeMirror(dict(first(dead)), 0, now), None)
        before = held.before if held is not None and whole is not None else None
        return Inheritance(inherited, whole, before)

    def _of(self, shard: int) -> Pieces:
        return of_shard(self.owners.assign(self._pieces), shard)

    def _renew(self, both: bool = False) -> None:
        """Make anew what does not go on as it was, with the same peer and the same pieces; or `both` ends."""
        to, source = self.owners.successor(self._index), self.owners.before(self._index)
        mine, theirs = self._of(self._index), self._of(source)
        tag, self._renewals = mirror_tag(self._renewals), self._renewals + 1
        alone = to == self._index
        if both or _changed(self._sending, to, mine):
            self._past += [self._sending] if self._sending is not None else []
            self._sending = Sending(self._comm, to, tag, mine) if not alone else None
            self._next_at = 0.0  # the successor has nothing yet
        other = _changed(self._receiving, source, theirs)
        if both or other:
            self.close()
            before = self._receiving
            self._past += [before] if before is not None else []
            whole = before.whole if before is not None and not other else None
            self._receiving = Receiving(self._comm, source, tag, theirs, whole) if not alone else None

    def close(self) -> None:
        """Expect no more mirrors; one that is on its way is left to itself. Local."""
        if self._receiving is not None:
            self._receiving.close()


def _changed(peer: Peer | None, rank: int, pieces: Pieces) -> bool:
    """Return whether there is no peer yet, or another one, or one for other pieces."""
    return peer is None or (peer.rank, peer.pieces) != (rank, pieces)
