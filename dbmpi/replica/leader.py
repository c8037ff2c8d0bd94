"""One decision for a whole replica: partition 0 makes it, the others follow."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.comm.protocol import LEAD_TAG
from dbmpi.comm.wait import Waiter

if TYPE_CHECKING:
    from mpi4py import MPI


class Leader:
    """Decides in step with the other partitions: messages reach them at different times.

    Parameters
    ----------
    comm
        The replica's communicator; None when there is one partition.
    """

    def __init__(self, comm: "MPI.Intracomm | None", waiter: Waiter) -> None:
        self._comm, self._waiter = comm, waiter
        self._sends: list[MPI.Request] = []

    def decide(self, mine: bool) -> bool:
        """Return what partition 0 thinks, whose own view is `mine`. Collective over the replica."""
        if self._comm is None or self._comm.Get_size() == 1:
            return mine
        word = np.array([mine], np.uint8)
        if self._comm.Get_rank() == 0:
            self._sends = [request for request in self._sends if not request.Test()]
            others = range(1, self._comm.Get_size())
            self._sends += [self._comm.Isend(word, other, LEAD_TAG) for other in others]
        else:
            request = self._comm.Irecv(word, 0, LEAD_TAG)
            self._waiter.until(request.Test, partial(str, "partition 0 of the replica (whether to go on)"))
        return bool(word[0])

    def close(self) -> None:
        """Wait until every decision has left."""
        for request in self._sends:
            self._waiter.until(request.Test, partial(str, "the other partitions (whether to go on)"))
