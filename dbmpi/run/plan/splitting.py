"""How many partitions a replica is split into where `cluster.partitions` is "auto". Pure, without MPI.

One: more replicas use more ranks, and none of their examples waits for a boundary. Two things ask for more,
and then a power of two is taken:

* memory: the ranks of a node do not fit into it, and take less with smaller parts;
* speed: `cluster.replicas` is a number, so that ranks would be left over, and a step is estimated
  (`layout.speed`) to be faster by at least the factor `GAIN`, with a core for each partition.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dbmpi.config.sections import Config
from dbmpi.errors import UserError
from dbmpi.layout.decomposition import ITEM_BYTES, decompose
from dbmpi.layout.network import Network
from dbmpi.layout.speed import step_s
from dbmpi.layout.topology import MPIRUN, Topology, assign_roles
from dbmpi.run.plan.choices import complete
from dbmpi.run.plan.memory import PROCESS_BYTES, MemoryReport
from dbmpi.run.tables import counted, quantity

if TYPE_CHECKING:
    from dbmpi.data.describe import Description

ROOM = 0.8  # of a node's memory, that ranks may fill: the file system's cache wants some
GAIN = 1.25  # an estimate below that may be wrong


class Node(NamedTuple):
    """What every node of a run has, at the least: bytes of memory, and cores."""

    memory: int
    cores: int


class Choice(NamedTuple):
    """The roles, and why a replica has so many partitions; nothing where the user has said so."""

    topology: Topology
    why: str


def choose_roles(
    config: Config,
    network: Network,
    data: "Description",
    size: int,
    node: Node,
    nodes: Sequence[int] | None = None,
    option: str = MPIRUN,
) -> Choice:
    """Give every rank its role, and choose the number of partitions if that is left to the program.

    Parameters
    ----------
    config, network, data
        The configuration; the layers; the shape of the data.
    size
        World size.
    node
        What a node has.
    nodes, option
        See `assign_roles`.

    Raises
    ------
    UserError
        See `assign_roles`; or rounds would wait for nobody.
    """
    chooser = _Chooser(config, network, data, size, node, nodes, option)
    partitions = config.cluster.partitions
    if partitions != "auto" or size == 1:
        choice = Choice(chooser.topology(partitions), "")
    else:
        choice = chooser.choose()
    _check_backups(config, choice.topology)
    return choice


def _check_backups(config: Config, topology: Topology) -> None:
    """Refuse rounds that would wait for nobody; a replica that is alone waits for itself."""
    backups, replicas = config.downpour.backups, len(topology.replicas)
    if backups >= replicas > 1:
        raise UserError(
            f"downpour.backups = {backups}, but a round waits for one replica at least, and there are "
            f"{replicas}; give at most {replicas - 1}"
        )


class _Chooser:
    """The run for which partitions are chosen; see `choose_roles`."""

    def __init__(
        self,
        config: Config,
        network: Network,
        data: "Description",
        size: int,
        node: Node,
        nodes: Sequence[int] | None,
        option: str,
    ) -> None:
        self._config = complete(
            config, network, data.train_rows, 1
        )  # about so, whatever is chosen afterwards
        self._network, self._data, self._node, self._option = network, data, node, option
        self._size, self._nodes = size, [0] * size if nodes is None else list(nodes)

    def topology(self, partitions: "int | str") -> Topology:
        cluster = self._config.cluster
        count = 1 if partitions == "auto" else int(partitions)
        return assign_roles(self._size, cluster.shards, cluster.replicas, count, self._nodes, self._option)

    def choose(self) -> Choice:
        """Take the fewest partitions that fit, or more of them where that is faster.

        Where none fit, the fewest that take hardly more than the least that can be: most of what the ranks of
        a small network take is Python, however it is split.
        """
        bytes_of = {}
        for count in self._counts():
            bytes_of[count] = self._bytes(self.topology(count))
            if bytes_of[count] <= ROOM * self._node.memory:
                break
        enough = max(ROOM * self._node.memory, GAIN * min(bytes_of.values()))
        least = next(count for count, taken in bytes_of.items() if taken <= enough)
        why = f"1: the ranks of a node take {quantity(bytes_of[least])} of its {quantity(self._node.memory)}"
        if least > 1:
            fewer = f"with {least // 2} the ranks of a node take {quantity(bytes_of[least // 2])}"
            why = f"{least}: {fewer} of its {quantity(self._node.memory)}"
        return self._faster(least) or Choice(self.topology(least), why)

    def _counts(self) -> Iterator[int]:
        """Yield the powers of two, from 1, of partitions for which there are ranks."""
        cluster, partitions = self._config.cluster, 1
        shards, replicas = (1 if n == "auto" else n for n in (cluster.shards, cluster.replicas))
        while partitions == 1 or 1 + shards + replicas * partitions <= self._size:
            yield partitions
            partitions *= 2

    def _bytes(self, topology: Topology) -> int:
        return node_bytes(self._config, self._network, self._data, topology, self._nodes)

    def _faster(self, least: int) -> Choice | None:
        """Return more partitions than `least`, if ranks would be left over and a step is faster so."""
        replicas = self._config.cluster.replicas
        if replicas == "auto":
            return None
        most = min(self._node.cores * len(set(self._nodes)) // replicas, self._node.cores)
        estimates = {count: self._step_s(count) for count in self._counts() if least <= count <= most}
        best = min(estimates, key=estimates.__getitem__, default=least)
        if best == least or estimates[least] < GAIN * estimates[best]:
            return None
        took = [f"{1e3 * estimates[count]:.3g} ms" for count in (best, least)]
        what = f"a step of {counted(range(replicas), 'replica')} is estimated at {took[0]}"
        return Choice(self.topology(best), f"{best}: {what}, and at {took[1]} with {least}")

    def _step_s(self, partitions: int) -> float:
        config = self._config
        parts = decompose(config, self.topology(partitions), self._network)
        exchanges = 1 / config.downpour.n_fetch if config.uses_downpour and not config.batch else 0.0
        item = ITEM_BYTES[config.model.dtype]
        return step_s(parts.partitioning, config.train.minibatch, item, exchanges)


def node_bytes(
    config: Config, network: Network, data: "Description", topology: Topology, nodes: Sequence[int]
) -> int:
    """Return the memory that the ranks of a node take, of the node where that is most.

    Parameters
    ----------
    nodes
        The node number of each world rank.
    """
    report = MemoryReport(config, decompose(config, topology, network), data)
    if topology.serial:
        return PROCESS_BYTES + report.of_serial().total
    shards = [report.of_shard(shard).total for shard in range(len(topology.shards))]
    parts = [report.of_partition(partition).total for partition in range(topology.partitions)]
    taken = dict.fromkeys(nodes, 0)
    for rank, role in enumerate(topology.roles):
        own = {"shard": shards[role.shard_index], "replica": parts[role.partition_index]}
        taken[nodes[rank]] += PROCESS_BYTES + own.get(role.kind, 0)
    return max(taken.values())


def scant(taken: int, node: Node) -> str:
    """Return a warning where the ranks of a node take more memory than it has; nothing where they do not."""
    if taken <= node.memory:
        return ""
    return (
        f"the ranks of a node take {quantity(taken)}, and it has {quantity(node.memory)}: the system may end "
        "them; start fewer on a node, or lower model.layers or train.minibatch"
    )
