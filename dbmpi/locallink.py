"""The parameter service where the only shard is in the same process: serial training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.link import Outcome
from dbmpi.protocol import Op, Status
from dbmpi.shard import Shard
from dbmpi.sharding import Piece

Array = NDArray[Any]


class LocalLink:
    """See `link.Link`.

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

    def reroute(self, dead: int, heir: int) -> None:
        """The shard dies with this process."""
