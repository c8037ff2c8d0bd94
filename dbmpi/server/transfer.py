"""How a copy of a shard's slice travels to another shard: in stretches, while both serve on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from dbmpi.arrays import Array
from dbmpi.checkpoint.vector_names import UPDATES
from dbmpi.comm import ulfm
from dbmpi.comm.messages import tolerant
from dbmpi.layout.sharding import Piece

Copy = Mapping[str, Array]  # as `Shard.snapshot` makes it
STRETCH_BYTES = 16 << 20


@dataclass(frozen=True)
class Layout:
    """What a copy is made of: the pieces, in order, the names of their vectors, and the dtype of these."""

    pieces: tuple[Piece, ...]
    names: tuple[str, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Elements of each vector."""
        return sum(piece.size for piece in self.pieces)

    def room(self, spare: list[Array]) -> dict[str, Array]:
        """Return buffers for a copy; vectors are taken from `spare` as long as there are some."""
        vectors = {name: spare.pop() if spare else np.empty(self.size, self.dtype) for name in self.names}
        return {UPDATES: np.empty(len(self.pieces), np.int64)} | vectors

    def stretches(self, copy: Copy) -> Iterator[Array]:
        """Yield the messages that carry a copy: views, in their order; the first are the updates."""
        yield copy[UPDATES]
        step = STRETCH_BYTES // self.dtype.itemsize
        for name in self.names:
            for start in range(0, len(copy[name]), step):
                yield copy[name][start : start + step]


@dataclass(frozen=True)
class WholeMirror:
    """A mirror that has arrived as a whole: its number, and when it began to, `time.monotonic`."""

    copy: dict[str, Array]
    number: int
    taken_at: float


class Peer:
    """A neighbour among the shards, and the messages between it and this shard that are under way.

    Parameters
    ----------
    comm
        The shards' communicator.
    rank, tag
        The neighbour there, and the tag of the messages.
    pieces
        Of which copies are sent.

    Attributes
    ----------
    lost
        Whether the neighbour has died, as far as is known here.
    """

    def __init__(self, comm: MPI.Intracomm, rank: int, tag: int, pieces: Sequence[Piece]) -> None:
        self.rank, self.pieces, self.lost = rank, tuple(pieces), False
        self._comm, self._tag = comm, tag
        self._requests: list[MPI.Request] = []

    @property
    def busy(self) -> bool:
        """Whether a copy is under way, or the neighbour is dead."""
        return self.lost or bool(self._requests)

    def _start(self, way: Callable[[Array, int, int], MPI.Request], parts: Sequence[Array]) -> None:
        """Begin to send or to receive the messages of a copy."""

        def start() -> None:
            for part in parts:
                self._requests.append(way(part, self.rank, self._tag))

        self._unless_lost(start)

    def _finish(self, done: Callable[[], None] = lambda: None) -> None:
        """Drop the messages that have passed, in their order; call `done` after each."""

        def finish() -> None:
            while self._requests and self._requests[0].Test():
                self._requests.pop(0)
                done()

        self._unless_lost(finish)

    def _unless_lost(self, act: Callable[[], None]) -> None:
        """Do something with the neighbour, unless it is dead, or turns out to be."""
        if not self.lost:
            tolerant(act, self._learn, None)

    def _learn(self, error: MPI.Exception) -> None:
        ulfm.raise_unless_death(self._comm, error)
        self.lost = True


class Sending(Peer):
    """The copies of this shard on their way to its successor."""

    _copy: Copy | None = None  # kept until it has left
    sent = 0  # copies that have left as a whole

    def begin(self, names: Sequence[str], dtype: np.dtype[Any], copy: Copy) -> None:
        """Begin to send the vectors of a copy, which must stay as it is. Local."""
        self._copy = copy
        self._start(self._comm.Isend, list(Layout(self.pieces, tuple(names), dtype).stretches(copy)))

    def poll(self) -> None:
        """See what has left. Local."""
        self._finish()
        if not self._requests and self._copy is not None:
            self._copy, self.sent = None, self.sent + 1


class Receiving(Peer):
    """The mirror of another shard, and the copies that keep it up to date, as they arrive.

    Parameters
    ----------
    whole
        A mirror of the same pieces that is there already, until a copy has arrived.

    Attributes
    ----------
    whole
        The mirror, of one moment; None until the first copy has arrived.
    before
        The one before it, as long as its room is not wanted: until the next copy is expected.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        rank: int,
        tag: int,
        pieces: Sequence[Piece],
        whole: WholeMirror | None = None,
    ) -> None:
        super().__init__(comm, rank, tag, pieces)
        self.whole: WholeMirror | None = whole
        self.before: WholeMirror | None = None
        self._arriving: dict[str, Array] = {}
        self._spare: list[Array] = []
        # Of the copy that is arriving; 0.0: nothing of it is there; whether it is all there is.
        self._number, self._began, self._anew = 0, 0.0, False

    def expect(self, names: Sequence[str], dtype: np.dtype[Any], number: int = 0, anew: bool = False) -> None:
        """Expect a copy of some vectors. Local.

        When all of it is there, it replaces these in the mirror; `anew`, all of it.
        """
        layout, self._number, self._began = Layout(self.pieces, tuple(names), dtype), number, 0.0
        self.before, self._anew = None, anew
        self._arriving = layout.room(self._spare)
        self._start(self._comm.Irecv, list(layout.stretches(self._arriving)))

    def poll(self, now: float) -> None:
        """See what has arrived. Local."""

        def arrived() -> None:
            self._began = self._began or now
            if not self._requests:
                self._replace()

        self._finish(arrived)

    def _replace(self) -> None:
        """Let what has arrived take its place in the mirror; what was there is room for the next."""
        copy = dict(self.whole.copy) if self.whole is not None else {}
        self._spare += [copy[name] for name in self._arriving if name in copy and name != UPDATES]
        self.before = self.whole
        kept = {} if self._anew else copy
        self.whole = WholeMirror(kept | self._arriving, self._number, self._began)

    def back(self, number: int) -> None:
        """Forget what is newer than a mirror: the run goes back to it. Local."""
        if self._requests and self._number > number:
            self.close()
        if self.whole is not None and self.whole.number > number:
            self.whole, self.before, self._spare = self.before, None, []

    def close(self) -> None:
        """Expect no more; the buffers must live on, as a part may be arriving. Local."""
        for request in self._requests if not self.lost else ():
            if request:
                request.Cancel()
                request.Free()
        self._requests.clear()
