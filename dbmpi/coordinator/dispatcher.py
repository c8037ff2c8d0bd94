"""How assignments reach the partitions of a replica, over MPI."""

from collections.abc import Sequence

from mpi4py import MPI

from dbmpi.arrays import Record
from dbmpi.comm.messages import Outbox
from dbmpi.comm.protocol import Tag
from dbmpi.layout.topology import Topology


class MpiDispatcher:
    """The coordinator's mail: an assignment goes to every partition of a replica."""

    def __init__(self, comm: MPI.Intracomm, topology: Topology) -> None:
        self.out = Outbox(comm)
        self._topology = topology

    def send(self, replica: int, assignment: Record) -> None:
        """See `replicas.Dispatcher`."""
        self.send_to(self._topology.replicas[replica], assignment)

    def send_to(self, ranks: Sequence[int], assignment: Record) -> None:
        """Send an assignment to world ranks."""
        for rank in ranks:
            self.out.send(assignment, rank, Tag.ASSIGNMENT)
