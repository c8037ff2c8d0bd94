"""One decision for a whole replica: partition 0 makes it, the others follow."""

from functools import partial

import numpy as np
from mpi4py import MPI

from dbmpi.comm.messages import complete
from dbmpi.comm.protocol import LEAD_TAG
from dbmpi.comm.wait import Cause, Waiter


class Leader:
    """Decides in step with the other partitions: messages of the coordinator reach them at different times.

    Parameters
    ----------
    comm
        The replica's communicator, of two partitions or more.
    waiter
        Waits for partition 0, and for the others at the end.
    """

    def __init__(self, comm: MPI.Intracomm, waiter: Waiter) -> None:
        self._comm, self._waiter = comm, waiter
        self._sends: list[MPI.Request] = []
        (self._root,) = comm.Get_group().Translate_ranks([0], MPI.COMM_WORLD.Get_group())

    def decide(self, mine: int) -> int:
        """Return what partition 0 thinks, whose own view is `mine`. Collective over the replica."""
        if self._comm.Get_rank() != 0:
            return self._receive()
        decision = np.array([mine], np.int64)
        self._sends = [request for request in self._sends if not request.Test()]
        others = range(1, self._comm.Get_size())
        self._sends += [self._comm.Isend(decision, other, LEAD_TAG) for other in others]
        return mine

    def _receive(self) -> int:
        decision = np.zeros(1, np.int64)
        request, what = self._comm.Irecv(decision, 0, LEAD_TAG), "its decision how to go on"
        peer = partial("partition 0 of the replica ({0})".format, what)
        complete(request, decision, self._root, what, self._waiter, peer, cause=Cause.SHARED)
        return int(decision[0])

    def close(self) -> None:
        """Wait until every decision has left."""
        for request in self._sends:
            self._waiter.until(request.Test, lambda: "the other partitions (how to go on)")
