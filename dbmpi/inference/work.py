"""What the ranks of a job agree upon, and the part of one: its rows and its partition of the model."""

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.comm.wait import SAVING, WATCHED, YIELDS_S, Waiter
from dbmpi.inference.fitting import choose_partitions, grid_of
from dbmpi.inference.rows import Load, Rows
from dbmpi.inference.sizes import block_rows
from dbmpi.inference.sources import Source
from dbmpi.inference.team import Team
from dbmpi.layout.partitioning import Partitioning
from dbmpi.run.plan.cores import ranks_and_cores
from dbmpi.trained.forward import Forward
from dbmpi.trained.model import TrainedModel
from dbmpi.trained.opening import open_model
from kernels import jit

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.comm.places import RankPlace

READS_PER_S = 10e6  # bytes: the slowest file system that a model is waited for


@dataclass(frozen=True)
class Plan:
    """What is done.

    Attributes
    ----------
    model
        The very file or checkpoint, which all ranks open.
    source
        The rows.
    partitions
        Of each replica.
    """

    model: Path
    source: Source
    partitions: int


def plan(given: Namespace, places: "Sequence[RankPlace]", look: Callable[[TrainedModel], Source]) -> Plan:
    """Open the model and look at the data, on rank 0. Raises UserError."""
    with open_model(Path(given.model)) as trained:
        source = look(trained)
        partitions = choose_partitions(trained, given.partitions, [place.node for place in places])
        return Plan(trained.path, source, partitions)


class Crew:
    """This rank at work, as a context. Collective over `comm`, to enter and to leave.

    Parameters
    ----------
    plan, trained
        What is done, and the model, which is open: it is closed at the end.
    comm
        All ranks; None: this process is alone.
    threads, crowded, places
        Of this rank: its threads, whether its node has fewer cores than ranks; and where all ranks run.

    Attributes
    ----------
    trained, team, forward, rows
        The model; the ranks; this rank's partition in memory; and the part of the rows that it reads.
    """

    def __init__(
        self,
        plan: Plan,
        trained: TrainedModel,
        comm: "MPI.Intracomm | None",
        threads: int,
        crowded: bool,
        places: "Sequence[RankPlace]",
    ) -> None:
        self.plan, self._threads, self._places = plan, threads, places
        self._closing = ExitStack()
        self.trained = self._closing.enter_context(trained)
        timeout_s = self.trained.config.cluster.timeout_s
        self.team = Team(comm, plan.partitions, self._waiter(comm, timeout_s, crowded))
        self.forward: Forward
        self.rows: Rows

    def _waiter(self, comm: "MPI.Intracomm | None", timeout_s: float, crowded: bool) -> Waiter:
        if comm is None:
            return Waiter(timeout_s, crowded)
        from dbmpi.comm.ulfm import enabled

        node = self._places[comm.Get_rank()].node
        ranks, cores = ranks_and_cores(self._places, node)
        return Waiter(timeout_s, crowded, YIELDS_S * (ranks <= cores), SAVING if enabled() else WATCHED)

    @property
    def name(self) -> str:
        """How messages call this rank; nothing where it is alone."""
        team = self.team
        return f"replica {team.replica} partition {team.partition}" if team.comms else ""

    @cached_property
    def partitioning(self) -> Partitioning:
        """How the model is cut."""
        partitions = self.plan.partitions
        return Partitioning(self.trained.network, partitions, grid_of(self.trained, partitions))

    def __enter__(self) -> "Crew":
        jit.set_threads(self._threads)
        team, trained = self.team, self.trained
        self.forward = Forward(trained, self.partitioning, team.partition, team.peers)
        source = self.plan.source
        self.rows = self._closing.enter_context(source.rows(trained, self.forward.window))
        bytes_read = max(self.partitioning.sizes) * trained.dtype.itemsize
        self.team.meet("the model in memory", bytes_read / READS_PER_S)
        if self._first_here:
            self.forward.rehearse()
        self.team.meet("the end of compilation")
        if not self._first_here:
            self.forward.rehearse()
        return self

    def __exit__(self, kind: object, *ignored: object) -> None:
        self._closing.close()
        if kind is None:  # after an error the job is aborted
            self.team.meet("the end")
            self.forward.close()
            self.team.close()

    @property
    def _first_here(self) -> bool:
        """Whether no rank before this one is on its node: it compiles for the others."""
        nodes = [place.node for place in self._places]
        return nodes.index(nodes[self.team.rank]) == self.team.rank

    def loads(self) -> Iterator[Load]:
        """Return what reads each block of rows, the same blocks on every rank."""
        return self.rows.blocks(block_rows(self.trained, self.rows.total, self.team.replicas))
