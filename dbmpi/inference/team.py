"""The ranks of a job that asks a trained model: replicas, which share the rows, each of some partitions.

Rank `r * P + p` is partition p of replica r, and computes what that replica does: block k of the rows is that
of replica k modulo R. Partition 0 of a replica gathers what its partitions say, and rank 0 what all replicas
say, in the order of the rows. All is point to point; nobody is further ahead than `AHEAD` blocks.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from dbmpi.arrays import Array
from dbmpi.comm.meeting import bounded, exchanged, gathered, meet
from dbmpi.comm.wait import Cause, Waiter
from dbmpi.layout.partitioning import Partitioning
from dbmpi.model.boundary import Peers

if TYPE_CHECKING:
    from mpi4py import MPI

AHEAD = 2  # blocks that a replica has sent, and rank 0 has not taken
OUTPUTS, BLOCK = 1, 2  # tags: partition -> partition 0 of its replica; partition 0 -> rank 0
T = TypeVar("T")


class Team:
    """This rank among the others, or alone.

    Parameters
    ----------
    comm
        All ranks; None: this process is alone.
    partitions
        Of each replica; the number of ranks is a multiple.
    waiter
        Waits for the others.

    Attributes
    ----------
    replicas, replica, partition
        How many replicas there are, and which one and which of its partitions this rank is.
    """

    def __init__(self, comm: "MPI.Intracomm | None", partitions: int, waiter: Waiter) -> None:
        self._waiter, self._sends = waiter, deque["tuple[MPI.Request, int, object]"]()
        self._service: MPI.Intracomm | None = None
        self._peers: MPI.Intracomm | None = None
        self.partitions, self.rank, ranks = partitions, 0, 1
        if comm is not None:
            self.rank, ranks = comm.Get_rank(), comm.Get_size()
        self.replicas, (self.replica, self.partition) = ranks // partitions, divmod(self.rank, partitions)
        if comm is not None:
            what = "the division into replicas"
            exchanged(comm, None, what, waiter.timeout_s)
            with bounded(comm, what, waiter.timeout_s):
                self._service = comm.Dup()
                self._peers = cast("MPI.Intracomm", self._service.Split(self.replica, self.partition))

    @property
    def comms(self) -> "list[MPI.Intracomm]":
        """The communicators that this rank is in."""
        return [comm for comm in (self._peers, self._service) if comm is not None]

    @property
    def alone(self) -> bool:
        """Whether there are no other ranks."""
        return self._service is None

    @property
    def peers(self) -> Peers:
        """How the partitions of a replica reach one another."""
        return Peers(self._peers if self.partitions > 1 else None, self._waiter, self._progress)

    def ordered(
        self, loads: Iterable[Callable[[], T]], compute: Callable[[T], bytes | None]
    ) -> Iterator[bytes]:
        """Yield at rank 0 what all blocks come to, in order; elsewhere nothing. In step with all ranks.

        Parameters
        ----------
        loads
            What reads each block, the same ones on every rank; called for those of the own replica.
        compute
            Returns what a block comes to at partition 0 of a replica, and None at the others.
        """
        for number, load in enumerate(loads):
            owner = number % self.replicas
            if owner == self.replica:
                content = compute(load())
                if self.rank == 0:
                    assert content is not None
                    yield content
                elif content is not None:
                    self._send(content, 0, BLOCK)
            elif self.rank == 0:
                yield bytes(self._received(owner * self.partitions, BLOCK))
        self._drain(0)

    def mine(self, loads: Iterable[T]) -> Iterator[T]:
        """Yield those of all blocks that are this replica's."""
        return itertools.islice(loads, self.replica, None, self.replicas)

    def gather(self, own_NO: Array, partitioning: Partitioning) -> Array | None:
        """Return at partition 0 the outputs of all units, `(N, O)`, of those that each partition has.

        Elsewhere None. In step with the partitions of this replica.
        """
        if self.partitions == 1:
            return own_NO
        first = self.replica * self.partitions
        if self.partition:
            if own_NO.shape[1]:
                self._send(own_NO.tobytes(), first, OUTPUTS)
            return None
        parts = [own_NO]
        for other in partitioning.output_owners[1:]:
            start, stop = partitioning.outputs(other)
            content = self._received(first + other, OUTPUTS)
            parts.append(np.frombuffer(content, own_NO.dtype).reshape(len(own_NO), stop - start))
        return np.concatenate(parts, axis=1)

    def all_of(self, value: T, what: str) -> list[T] | None:
        """Return what every rank gives, on rank 0; None elsewhere. In step with all ranks."""
        if self._service is None:
            return [value]
        return gathered(self._service, value, what, self._waiter.timeout_s * self._waiter.patience)

    def meet(self, what: str, more_s: float = 0.0) -> None:
        """Return when all ranks have come, which may take so many seconds more than a message."""
        if self._service is not None:
            meet(self._service, what, self._waiter.timeout_s * self._waiter.patience + more_s)

    def close(self) -> None:
        """Free the communicators. In step with all ranks."""
        for comm in self.comms:
            comm.Free()

    def _send(self, content: bytes, to: int, tag: int) -> None:
        assert self._service is not None
        self._drain(AHEAD - 1)
        self._sends.append((self._service.Isend(content, to, tag), to, content))

    def _drain(self, most: int) -> None:
        """Wait until at most so many messages have not left, the oldest of them first."""
        self._waiter.until(
            lambda: self._progress() <= most, lambda: f"rank {self._sends[0][1]} (what was computed)"
        )

    def _progress(self) -> int:
        """Let messages move; return how many have not left."""
        while self._sends and self._sends[0][0].Test():
            self._sends.popleft()
        return len(self._sends)

    def _received(self, source: int, tag: int) -> bytearray:
        """Return the next message of a rank."""
        from mpi4py import MPI

        comm, status, found = self._service, MPI.Status(), list["MPI.Message"]()
        assert comm is not None

        def probed() -> bool:
            message = comm.Improbe(source, tag, status)
            found.extend([] if message is None else [message])
            return bool(found)

        who = partial(str, f"rank {source} (what it has computed)")
        self._waiter.until(probed, who, cause=Cause.STATES)
        content = bytearray(status.Get_count())
        self._waiter.until(found[0].Irecv(content).Test, who, cause=Cause.STATES)
        return content
