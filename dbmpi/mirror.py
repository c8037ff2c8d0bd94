"""Mirrors of shards: what a shard holds, in the memory of its heir, for where ranks may die (`failures`).

Every so often a shard copies its slice, as for a checkpoint, and sends the copy to the next shard that lives,
while it serves on. That one receives it into spare buffers, which become the mirror when all is there: so it
always has a whole one, of one moment, once it had any. When the shard dies its heir goes on from there.

A sender, a receiver and what travels between them are as deaths have left them; after another death those
that it concerns begin anew, with another tag, so that nothing of before is taken for something of after.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from dbmpi import failures, manifest
from dbmpi.protocol import mirror_tag
from dbmpi.sharding import Owners, Piece, of_shard

Array = NDArray[Any]
Copy = Mapping[str, Array]  # as `Shard.snapshot` makes it
LOOK_S = 5e-3  # between looks at what travels
STRETCH_BYTES = 16 << 20


@dataclass(frozen=True)
class Layout:
    """What a mirror is made of: the pieces, in order, the names of their vectors, and the dtype of these."""

    pieces: tuple[Piece, ...]
    names: tuple[str, ...]
    dtype: np.dtype[Any]

    def empty(self) -> dict[str, Array]:
        """Return buffers for a mirror."""
        size = sum(piece.size for piece in self.pieces)
        vectors = {name: np.empty(size, self.dtype) for name in self.names}
        return {manifest.UPDATES: np.empty(len(self.pieces), np.int64)} | vectors

    def stretches(self, copy: Copy) -> Iterator[Array]:
        """Yield the messages that carry a copy: views, in their order; the first are the updates."""
        yield copy[manifest.UPDATES]
        step = STRETCH_BYTES // self.dtype.itemsize
        for name in self.names:
            for start in range(0, len(copy[name]), step):
                yield copy[name][start : start + step]


@dataclass(frozen=True)
class Whole:
    """A mirror that has arrived as a whole, and when it began to: `time.monotonic`."""

    copy: dict[str, Array]
    taken_at: float


class Sending:
    """The mirrors of this shard on their way to its heir.

    Parameters
    ----------
    comm
        The shards' communicator.
    to, tag
        Where they go.
    """

    def __init__(self, comm: MPI.Intracomm, to: int, tag: int) -> None:
        self._comm, self._to, self._tag = comm, to, tag
        self._copy: Copy | None = None  # kept until it has left
        self._requests: list[MPI.Request] = []
        self.lost = False  # the heir is dead

    @property
    def busy(self) -> bool:
        """Whether a mirror is on its way, or there is nobody to send one to."""
        return self.lost or bool(self._requests)

    def begin(self, layout: Layout, copy: Copy) -> None:
        """Begin to send a copy, which must stay as it is. Local."""
        self._copy = copy

        def send() -> None:
            for part in layout.stretches(copy):
                self._requests.append(self._comm.Isend(part, self._to, self._tag))

        self._unless_dead(send)

    def look(self, now: float) -> None:
        """See what has left. Local."""

        def drop() -> None:
            while self._requests and self._requests[0].Test():
                self._requests.pop(0)

        if not self.lost:
            self._unless_dead(drop)
        if not self._requests:
            self._copy = None

    def _unless_dead(self, act: Callable[[], None]) -> None:
        try:
            act()
        except MPI.Exception as error:
            if not failures.tells_of_death(error, self._comm):
                raise
            self.lost = True


class Receiving:
    """The mirrors of another shard, as they arrive here.

    Parameters
    ----------
    comm
        The shards' communicator.
    source, tag
        Where they come from.
    layout
        What they are made of.

    Attributes
    ----------
    whole
        The last one that has arrived as a whole.
    """

    def __init__(self, comm: MPI.Intracomm, source: int, tag: int, layout: Layout) -> None:
        self._comm, self._source, self._tag = comm, source, tag
        self.layout = layout
        self.whole: Whole | None = None
        self.lost = False  # the source is dead
        self._arriving, self._spare = layout.empty(), layout.empty()
        self._requests: list[MPI.Request] = []
        self._parts = 0
        self._began = 0.0

    def look(self, now: float) -> None:
        """See what has arrived, and expect more. Local."""
        if self.lost:
            return
        try:
            self._expect()
            self._take(now)
            self._expect()
        except MPI.Exception as error:
            if not failures.tells_of_death(error, self._comm):
                raise
            self.lost = True

    def _expect(self) -> None:
        if not self._requests:
            parts = list(self.layout.stretches(self._arriving))
            self._parts = len(parts)
            for part in parts:
                self._requests.append(self._comm.Irecv(part, self._source, self._tag))

    def _take(self, now: float) -> None:
        """Take off what has arrived: when the last part has, all have, and the buffers change places."""
        while self._requests and self._requests[0].Test():
            if len(self._requests) == self._parts:
                self._began = now
            self._requests.pop(0)
        if not self._requests:
            self._arriving, self._spare = self._spare, self._arriving
            self.whole = Whole(self._spare, self._began)

    def close(self) -> None:
        """Expect no more; the buffers must live on, as a part may be arriving. Local."""
        for request in self._requests if not self.lost else ():
            if request:
                request.Cancel()
                request.Free()
        self._requests.clear()


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
        Of the vectors that a copy has, but for the updates.
    dtype
        Of these vectors.
    every_s
        Interval of the mirrors, in seconds.
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
        self._deaths, self._look_at, self._due = 0, 0.0, 0.0
        self._ends: tuple[tuple[int, Layout], tuple[int, Layout]] | None = None
        self._sending: Sending | None = None
        self._receiving: Receiving | None = None
        self._past: list[Sending | Receiving | None] = []  # MPI may still know their buffers
        self._renew()

    @property
    def largest(self) -> int:
        """Size of the largest piece that may ever be served here."""
        return max((piece.size for piece in self._pieces), default=0)

    def look(self, now: float, snapshot: Callable[[], Copy]) -> None:
        """Let mirrors move on, and begin one of `snapshot` if it is time. Local."""
        if now < self._look_at or self._sending is None or self._receiving is None:
            return
        self._look_at = now + LOOK_S
        self._receiving.look(now)
        self._sending.look(now)
        if now >= self._due and not self._sending.busy:
            self._sending.begin(self._layout(self._index), snapshot())
            self._due = now + self._every_s

    def bury(self, dead: int, now: float) -> tuple[tuple[Piece, ...], Whole | None] | None:
        """Take note that a shard has died.

        Returns
        -------
        tuple
            If this shard is the heir: the pieces that are its own from now on, and the last whole mirror of
            them, if there is one. The caller must adopt them, or end.
        """
        inherited, held = self._layout(dead).pieces, self._receiving
        if held is not None:
            held.look(now)  # the last parts may just have come
        heir = self.owners.bury(dead)
        self._deaths += 1
        self._renew()
        if heir != self._index:
            return None
        return inherited, held.whole if held is not None and held.layout.pieces == inherited else None

    def _layout(self, shard: int) -> Layout:
        pieces = of_shard(self.owners.assign(self._pieces), shard)
        return Layout(pieces, self._names, self._dtype)

    def _renew(self) -> None:
        """Begin anew what does not go on as it was: another peer, or other pieces."""
        to, source = self.owners.heir(self._index), self.owners.before(self._index)
        ends = (to, self._layout(self._index)), (source, self._layout(source))
        before, self._ends = self._ends, ends
        tag = mirror_tag(self._deaths)
        if before is None or before[0] != ends[0]:
            self._past.append(self._sending)
            self._sending = Sending(self._comm, to, tag) if to != self._index else None
            self._due = 0.0  # the heir has nothing yet
        if before is None or before[1] != ends[1]:
            self.close()
            self._past.append(self._receiving)
            self._receiving = Receiving(self._comm, source, tag, ends[1][1]) if to != self._index else None

    def close(self) -> None:
        """Expect no more mirrors; one that is on its way is left to itself. Local."""
        if self._receiving is not None:
            self._receiving.close()
