"""The one owner of communicators: it makes them from the topology, and frees them."""

from dataclasses import replace
from types import TracebackType
from typing import cast

from mpi4py import MPI

from dbmpi.comm.meeting import TIMEOUT_S, bounded, exchanged
from dbmpi.comm.places import RankPlace, here
from dbmpi.layout.topology import Role, Topology


class World:
    """All communicators of one rank. Collective over the world, to make and to free.

    Parameters
    ----------
    topology, comm
        The role of every rank, and the world.
    timeout_s
        How long it may take until all ranks have come.

    Attributes
    ----------
    service
        A duplicate of the world, for every message between roles (`comm.protocol`).
    shards
        The parameter shards, by shard index; None elsewhere.
    replica
        The partitions of this rank's replica, by partition index; None elsewhere.
    siblings
        The same partition of every replica, by replica index; None elsewhere.
    """

    def __init__(
        self, topology: Topology, comm: MPI.Intracomm = MPI.COMM_WORLD, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.topology = topology
        self.rank = comm.Get_rank()
        self.role: Role = topology.roles[self.rank]
        what, role = "the division into roles", self.role
        exchanged(comm, None, what, timeout_s)
        with bounded(comm, what, timeout_s):
            self.service = comm.Dup()
            self.shards = self._split(role.kind == "shard", 0, role.shard_index)
            self.replica = self._split(role.kind == "replica", role.replica_index, role.partition_index)
            self.siblings = self._split(role.kind == "replica", role.partition_index, role.replica_index)

    def _split(self, member: bool, color: int, key: int) -> MPI.Intracomm | None:
        comm = self.service.Split(color if member else MPI.UNDEFINED, key)
        return cast(MPI.Intracomm, comm) if comm != MPI.COMM_NULL else None

    def name(self, rank: int) -> str:
        """Return how messages call a world rank: number and role."""
        return f"rank {rank} ({self.topology.roles[rank]})"

    @property
    def comms(self) -> list[MPI.Intracomm]:
        """The communicators that this rank is in, the service's last."""
        mine = (self.siblings, self.replica, self.shards, self.service)
        return [comm for comm in mine if comm is not None]

    def free(self) -> None:
        """Free every communicator. Collective over the world."""
        for comm in self.comms:
            comm.Free()

    def __enter__(self) -> "World":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error the job is aborted: a collective free would wait for ranks that never come.
        if error is None:
            self.free()


def survey(comm: MPI.Intracomm, timeout_s: float) -> list[RankPlace]:
    """Return where every rank runs. Collective over `comm`. Raises PeerSilent if not all come in time."""
    what = "the survey of the ranks"
    exchanged(comm, None, what, timeout_s)
    with bounded(comm, what, timeout_s):
        node = comm.Split_type(MPI.COMM_TYPE_SHARED, comm.Get_rank())
        first: int = node.bcast(comm.Get_rank(), 0)
        node.Free()
    found = exchanged(comm, here(first), what, timeout_s)
    order = sorted({place.node for place in found})
    return [replace(place, node=order.index(place.node)) for place in found]
