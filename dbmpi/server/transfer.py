"""How a copy of a shard's slice travels to another shard: in stretches, while both serve on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from dbmpi.arrays import Array
from dbmpi.checkpoint.names import UPDATES
from dbmpi.comm import ulfm
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

    def room(self, wait_as_spare: list[Array]) -> dict[str, Array]:
        """Return buffers for a copy; vectors are taken from `wait_as_spare` as long as there are some."""
        vectors = {
            name: wait_as_spare.pop() if wait_as_spare else np.empty(self.size, self.dtype)
            for name in self.names
        }
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


class Sending:
    """The copies of this shard on their way to its heir.

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
        """Whether a copy is on its way, or there is nobody to send one to."""
        return self.lost or bool(self._requests)

    def begin(self, layout: Layout, copy: Copy) -> None:
        """Begin to send a copy, which must stay as it is. Local."""
        self._copy = copy

        def send() -> None:
            for part in layout.stretches(copy):
                self._requests.append(self._comm.Isend(part, self._to, self._tag))

        self._unless_dead(send)

    def poll(self) -> None:
        """See what has left. Local."""

        def drop() -> None:
            while self._requests and self._requests[0].Test():
                self._requests.pop(0)

        if not self.lost:
            self._unless_dead(drop)
        if not self._requests:
            self._copy = None

    def _unless_dead(self, act: Callable[[], None]) -> None:
        self.lost = not survives(act, self._comm)


class Receiving:
    """The mirror of another shard, and the copies that keep it up to date, as they arrive.

    Parameters
    ----------
    comm
        The shards' communicator.
    source, tag
        Where they come from.

    Attributes
    ----------
    whole
        The mirror, of one moment; None until the first copy has arrived.
    pieces
        What it is a mirror of.
    """

    def __init__(self, comm: MPI.Intracomm, source: int, tag: int, pieces: Sequence[Piece]) -> None:
        self._comm, self._source, self._tag, self.pieces = comm, source, tag, tuple(pieces)
        self.whole: WholeMirror | None = None
        self.lost = False  # the source is dead
        self._arriving: dict[str, Array] = {}
        self._spare: list[Array] = []
        self._requests: list[MPI.Request] = []
        self._parts = self._number = 0
        self._began = 0.0

    @property
    def busy(self) -> bool:
        """Whether a copy is expected, or on its way."""
        return self.lost or bool(self._requests)

    def expect(self, names: Sequence[str], dtype: np.dtype[Any], number: int = 0) -> None:
        """Expect a copy of some vectors: when all of it is there, it replaces these in the mirror. Local."""
        layout, self._number = Layout(self.pieces, tuple(names), dtype), number
        self._arriving = layout.room(self._spare)
        parts = list(layout.stretches(self._arriving))
        self._parts = len(parts)

        def post() -> None:
            for part in parts:
                self._requests.append(self._comm.Irecv(part, self._source, self._tag))

        self.lost = self.lost or not survives(post, self._comm)

    def poll(self, now: float) -> None:
        """See what has arrived. Local."""

        def take() -> None:
            while self._requests and self._requests[0].Test():
                if len(self._requests) == self._parts:
                    self._began = now
                self._requests.pop(0)
                if not self._requests:
                    self._replace()

        if not self.lost:
            self.lost = not survives(take, self._comm)

    def _replace(self) -> None:
        """Let what has arrived take its place in the mirror; what was there is room for the next."""
        copy = dict(self.whole.copy) if self.whole is not None else {}
        self._spare += [copy[name] for name in self._arriving if name in copy and name != UPDATES]
        self.whole = WholeMirror(copy | self._arriving, self._number, self._began)

    def close(self) -> None:
        """Expect no more; the buffers must live on, as a part may be arriving. Local."""
        for request in self._requests if not self.lost else ():
            if request:
                request.Cancel()
                request.Free()
        self._requests.clear()


def survives(act: Callable[[], None], comm: MPI.Comm) -> bool:
    """Do something with a rank of `comm`; return whether that rank lives.

    Raises
    ------
    MPI.Exception
        That tells of no death.
    """
    try:
        act()
    except MPI.Exception as error:
        if not ulfm.tells_of_death(error, comm):
            raise
        return False
    return True
