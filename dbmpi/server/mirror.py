"""Mirrors of shards: what a shard holds, in the memory of its heir, for where ranks may die (`ulfm`).

A shard copies its slice, as for a checkpoint, and sends the copy to the next shard that lives, while it
serves on. That one receives it into spare buffers, which become the mirror when all is there: so it always
has a whole one, of one moment, once it had any. When the shard dies its heir goes on from there.

Under Downpour each shard does so by itself every so often. A batch method needs all of them to be of the same
iterate: there the coordinator orders each mirror, and names the vectors that have changed since the last one.
It orders the next when the last is whole on all heirs, so no two shards are ever more than one mirror apart,
and the shards can go back to either of the last two (`Shard.keep`).

A sender, a receiver and what travels between them are as deaths have left them; after another death those
that it concerns begin anew, with another tag, so that nothing of before is taken for something of after.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from dbmpi.checkpoint.names import UPDATES
from dbmpi.comm.protocol import mirror_tag
from dbmpi.layout.sharding import Owners, Piece, of_shard
from dbmpi.server.transfer import Copy, Layout, Receiving, Sending, WholeMirror

POLL_S = 5e-3  # between looks at what travels
Pieces = tuple[Piece, ...]


class Mirror:
    """What one shard sends to its heir, and holds of the shard before it.

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
        Interval of the copies by the clock, in seconds; there are none any more once one was ordered.
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
        self._renewals, self._poll_at, self._due = 0, 0.0, 0.0
        self._ends: tuple[tuple[int, Pieces], tuple[int, Pieces]] | None = None
        self._sending: Sending | None = None
        self._receiving: Receiving | None = None
        self._past: list[Sending | Receiving | None] = []  # MPI may still know their buffers
        self._renew()

    @property
    def largest(self) -> int:
        """Size of the largest piece that may ever be served here."""
        return max((piece.size for piece in self._pieces), default=0)

    def poll(self, now: float, snapshot: Callable[[], Copy]) -> None:
        """Let mirrors move on, and begin one of `shard_file` if it is time. Local."""
        if now < self._poll_at or self._sending is None or self._receiving is None:
            return
        self._poll_at = now + POLL_S
        self._receive(now)
        self._sending.poll()
        if not self._ordered and now >= self._due and not self._sending.busy:
            self._sending.begin(self._layout(self._names), snapshot())
            self._due = now + self._every_s

    def _receive(self, now: float) -> None:
        """See what has arrived; by the clock, expect the next at once."""
        receiving = self._receiving
        if receiving is None:
            return
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
            self._ends = None
            self._renew()
        names = [name for name in copy if name != UPDATES]
        if self._sending is not None and self._receiving is not None:
            self._receiving.expect(names, self._dtype, number)
            self._sending.begin(self._layout(names), copy)
        self._poll_at = 0.0

    def take_done(self) -> int | None:
        """Return the number of the mirror ordered last, once: it has left, and the other one is whole."""
        sending, receiving = self._sending, self._receiving
        busy = sending is not None and receiving is not None and (sending.busy or receiving.busy)
        if busy or self._told == self._ordered:
            return None
        self._told = self._ordered
        return self._told

    def fail_over(self, dead: int, now: float) -> tuple[Pieces, WholeMirror | None] | None:
        """Take note that a shard has died.

        Returns
        -------
        tuple
            If this shard is the heir: the pieces that are its own from now on, and the last whole mirror of
            them, if there is one. The caller must adopt them, or end.
        """
        inherited, held = self._of(dead), self._receiving
        self._receive(now)  # the last parts may just have come
        successor = self.owners.mark_dead(dead)
        self._told = self._ordered  # it is not awaited any more
        self._renew()
        if successor != self._index:
            return None
        return inherited, held.whole if held is not None and held.pieces == inherited else None

    def _of(self, shard: int) -> Pieces:
        return of_shard(self.owners.assign(self._pieces), shard)

    def _layout(self, names: Sequence[str]) -> Layout:
        return Layout(self._of(self._index), tuple(names), self._dtype)

    def _renew(self) -> None:
        """Begin anew what does not go on as it was: with another peer, or with other pieces."""
        to, source = self.owners.successor(self._index), self.owners.before(self._index)
        ends = (to, self._of(self._index)), (source, self._of(source))
        before, self._ends = self._ends, ends
        tag, self._renewals = mirror_tag(self._renewals), self._renewals + 1
        if before is None or before[0] != ends[0]:
            self._past.append(self._sending)
            self._sending = Sending(self._comm, to, tag) if to != self._index else None
            self._due = 0.0  # the heir has nothing yet
        if before is None or before[1] != ends[1]:
            self.close()
            self._past.append(self._receiving)
            alone = to == self._index
            self._receiving = None if alone else Receiving(self._comm, source, tag, ends[1][1])

    def close(self) -> None:
        """Expect no more mirrors; one that is on its way is left to itself. Local."""
        if self._receiving is not None:
            self._receiving.close()
