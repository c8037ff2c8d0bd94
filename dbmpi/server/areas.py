"""The memory of clients on a shard's node, mapped: gradients are read there, and parameters written.

Each is mapped when a request names it first. What a shard may not map it says once; such a client then sends
messages.
"""

from typing import Any

import numpy as np

from dbmpi.arrays import Array, Record
from dbmpi.comm.segments import attach
from dbmpi.errors import ProtocolError


class Areas:
    """What one shard has mapped of its clients' memory.

    Parameters
    ----------
    shard
        Its index, for the line that says what it cannot map.
    """

    def __init__(self, shard: int) -> None:
        self._shard, self._warned = shard, False
        self._mapped: dict[tuple[int, int], Array | None] = {}  # by client and token; None: it cannot be

    def find(self, area: Record, client: int, start: int, size: int, dtype: np.dtype[Any]) -> Array | None:
        """Return `size` elements from `start` on of a client's vector, in place; None if it cannot be mapped.

        Parameters
        ----------
        area
            An `AREA` record, `()`, of the client of that world rank.
        """
        key = client, int(area["token"])
        if key not in self._mapped:
            self._mapped[key] = self._attach(area, client)
        memory = self._mapped[key]
        if memory is None:
            return None
        place = memory[start * dtype.itemsize : (start + size) * dtype.itemsize]
        if place.nbytes != size * dtype.itemsize:
            raise ProtocolError(
                f"rank {client} names {size} elements from {start} on in {memory.nbytes} bytes"
            )
        return place.view(dtype)

    def _attach(self, area: Record, client: int) -> Array | None:
        try:
            return attach(area)
        except OSError as error:
            if not self._warned:
                print(
                    f"dbmpi: shard {self._shard} cannot map memory of rank {client} on its node ({error}): "
                    "gradients and parameters travel as messages",
                    flush=True,
                )
            self._warned = True
            return None

    def forget(self, client: int) -> None:
        """Unmap what a client that has died has left: its memory is free then."""
        for key in [key for key in self._mapped if key[0] == client]:
            del self._mapped[key]
