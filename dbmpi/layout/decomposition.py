"""A network cut for the ranks of a run: partitions of a replica, and pieces of the parameters. Pure."""

from dataclasses import dataclass

from dbmpi.config.sections import Config
from dbmpi.layout.network import Network
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.sharding import MAX_PIECE_BYTES, Piece, cut
from dbmpi.layout.topology import Topology

ITEM_BYTES = {"float32": 4, "float64": 8}  # of a parameter, by `model.dtype`


@dataclass(frozen=True)
class Decomposition:
    """Who owns what in a run: the same on every rank.

    Attributes
    ----------
    topology
        The role of every rank.
    network
        The layers and their tensors.
    partitioning
        Which units and parameters each partition of a replica owns.
    pieces
        Which shard owns which range of each partition's parameters.
    """

    topology: Topology
    network: Network
    partitioning: Partitioning
    pieces: tuple[Piece, ...]


def decompose(config: Config, topology: Topology, network: Network) -> Decomposition:
    """Cut a network as a configuration says, for the partitions and shards of a topology. Local.

    Raises
    ------
    UserError
        If `cluster.grid` does not have as many tiles as there are partitions.
    """
    partitioning = Partitioning(network, topology.partitions, config.cluster.grid)
    largest = MAX_PIECE_BYTES // ITEM_BYTES[config.model.dtype]
    pieces = cut(partitioning.sizes, len(topology.shards), largest)
    return Decomposition(topology, network, partitioning, pieces)
