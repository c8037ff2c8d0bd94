"""How many partitions a model is split over to be asked: one, unless it does not fit into a node. Pure."""

from collections import Counter
from collections.abc import Sequence
from math import prod

from dbmpi.errors import UserError
from dbmpi.inference.sizes import minibatch
from dbmpi.layout.boxes import volume
from dbmpi.layout.partitioning import Partitioning
from dbmpi.run.plan.capacity import node_memory
from dbmpi.run.plan.memory import PROCESS_BYTES
from dbmpi.run.plan.splitting import ROOM
from dbmpi.run.tables import quantity
from dbmpi.text import several
from dbmpi.trained.model import TrainedModel


def choose_partitions(trained: TrainedModel, wanted: int | None, nodes: Sequence[int]) -> int:
    """Return the number of partitions.

    Parameters
    ----------
    wanted
        As the command line says; None: the fewest with which the ranks of each node fit into its memory.
    nodes
        The node of each rank. Every node has the memory of this one.

    Raises
    ------
    UserError
        The ranks are no multiple of it; or the model does not fit, however it is split.
    """
    ranks = len(nodes)
    if wanted is not None:
        if ranks % wanted:
            some = [str(one) for one in (ranks // wanted * wanted, ranks + wanted - ranks % wanted) if one]
            raise UserError(
                f"{several(ranks, 'rank')} cannot be divided into replicas of {wanted} partitions: start "
                f"{' or '.join(some)}, or change --partitions"
            )
        return wanted
    memory, crowd = node_memory(), max(Counter(nodes).values())
    for partitions in (count for count in range(1, ranks + 1) if ranks % count == 0):
        if crowd * rank_bytes(trained, partitions) <= ROOM * memory:
            return partitions
    taken = crowd * rank_bytes(trained, ranks)
    raise UserError(
        f"{trained.path}: the model takes {quantity(taken)} on a node with {several(ranks, 'rank')} in all, "
        f"and a node has {quantity(memory)}: start more ranks by mpirun, on more nodes; or say --partitions"
    )


def rank_bytes(trained: TrainedModel, partitions: int) -> int:
    """Return the memory that the largest rank takes: parameters, and the states of a minibatch."""
    parts, width = Partitioning(trained.network, partitions, grid_of(trained, partitions)), minibatch(trained)
    spaces = range(len(trained.network.spaces))
    most = 0
    for partition in range(partitions):
        states = width * sum(volume(parts.held(space, partition)) for space in spaces)
        most = max(most, parts.sizes[partition] + states)
    return PROCESS_BYTES + most * trained.dtype.itemsize


def grid_of(trained: TrainedModel, partitions: int) -> tuple[int, int] | None:
    """Return the grid of tiles that the run was given, if it has as many as there are partitions."""
    grid = trained.config.cluster.grid
    return grid if grid is not None and prod(grid) == partitions else None
