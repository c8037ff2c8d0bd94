"""Whether the ranks of a run have the memory that their parts of the network take at the least. Pure."""

import os
import resource

from dbmpi.comm import control_groups
from dbmpi.config.sections import Config
from dbmpi.errors import UserError
from dbmpi.layout.decomposition import ITEM_BYTES
from dbmpi.layout.network import Network
from dbmpi.layout.topology import Topology
from dbmpi.run.tables import quantity


def check_memory(network: Network, config: Config, topology: Topology, rows: int) -> None:
    """Refuse a network of which one rank's part is larger than this node's memory. Local.

    Parameters
    ----------
    network, config, topology
        The run.
    rows
        Examples in the training set; a minibatch has no more.

    Raises
    ------
    UserError
        The text has the numbers and the remedy.
    """
    item = ITEM_BYTES[config.model.dtype]
    batch = min(config.train.minibatch, rows)
    units = sum(layer.units for layer in network.layers)
    # Parameters and gradient; activations and their gradients. A shard has at least the parameters.
    of_partition = 2 * item * (network.parameters + batch * units) // topology.partitions
    of_shard = item * network.parameters // len(topology.shards)
    for need, role, remedy in (
        (of_partition, "replica", "lower model.layers or train.minibatch, or raise cluster.partitions"),
        (of_shard, "shard", "lower model.layers, or raise cluster.shards"),
    ):
        if need > memory():
            raise UserError(
                f"the network of {network.parameters:,} parameters takes at least {need / 1e9:,.1f} GB on "
                f"each rank of a {role}, but this machine has {memory() / 1e9:,.1f} GB: {remedy}; look at "
                "--dry-run"
            )


def memory() -> int:
    """Return the bytes that a process on this node can have: its memory, or its own limit."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return node_memory() if limit == resource.RLIM_INFINITY else min(node_memory(), limit)


def node_memory() -> int:
    """Return the bytes that all processes of this node have together, in the control group of this one."""
    return int(min(_installed(), control_groups.memory()))


def node_cores() -> int:
    """Return how many cores, whole ones, all processes of this one's control group may use at a time."""
    return max(1, int(min(len(os.sched_getaffinity(0)), control_groups.cores())))


def limits() -> str:
    """Say what the control group of this process withholds of the node; nothing where it gives all."""
    cores, allowed = len(os.sched_getaffinity(0)), control_groups.cores()
    said = [f"{allowed:.3g} of {cores} cores"] if allowed < cores else []
    if node_memory() < _installed():
        said.append(f"{quantity(node_memory())} of {quantity(_installed())} of memory")
    return f"the control group of this process allows {' and '.join(said)}" if said else ""


def _installed() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
