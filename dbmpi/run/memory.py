"""A run as arithmetic: the memory that each role takes, and what each partition sends. Pure, without MPI.

All of it follows from the configuration, the number of ranks and the shape of the data.
"""

import os
import resource
from dataclasses import astuple, dataclass
from math import prod
from typing import TYPE_CHECKING

from dbmpi.config.layers import Dense, Lcn
from dbmpi.config.sections import Config
from dbmpi.data.portions import PortionPlan
from dbmpi.errors import UserError
from dbmpi.layout import network, sharding, topology
from dbmpi.layout.boxes import extents, volume
from dbmpi.layout.network import Network
from dbmpi.layout.partitioning import STATS_BYTES, STATS_ROWS, Partitioning, Traffic
from dbmpi.layout.topology import Topology
from dbmpi.run.launch import resolve_overlap
from dbmpi.sandblaster.batch import batches, vectors_of
from dbmpi.server.rules import STATES

ITEM_BYTES = {"float32": 4, "float64": 8, "uint8": 1}


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
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return there if limit == resource.RLIM_INFINITY else min(there, limit)


if TYPE_CHECKING:
    from dbmpi.data.describe import Description

MIRROR_COPIES = 3  # of a shard: the mirror it holds, the next one as it arrives, and its own on its way
MIRROR_VECTORS = 8  # of a batch method, beyond those of the method: what changes travels, and is kept
SHARD_BUFFERS = 6  # of the largest piece: received, decoded, and four replies on their way
PARAMETER_COPIES = 2  # of a partition: in use, and arriving
WIRE_BYTES = 2 + 4  # of each parameter, for a 16-bit wire: the message, and the float32 rest
BATCH_GRADIENTS = 5  # of Sandblaster: of a minibatch, of two portions, accrued, and on its way
PORTIONS_HELD = 3  # being learned from, and read ahead
LCN_PLANES = 6  # of its input's plane, that contrast normalization keeps and works with


@dataclass(frozen=True)
class Memory:
    """Bytes that one rank allocates, by purpose; Python and its libraries come on top."""

    parameters: int = 0
    gradients: int = 0
    rule_state: int = 0
    vectors: int = 0
    activations: int = 0
    messages: int = 0
    data: int = 0
    snapshot: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(astuple(self))


class MemoryReport:
    """A run as arithmetic: topology, network, partitions and pieces.

    Parameters
    ----------
    config
        The configuration.
    ranks
        World size N.
    data
        Shape of the data (`data.describe.describe`).

    Raises
    ------
    UserError
        If the ranks cannot hold what `[cluster]` asks for, or the layers do not fit the data.
    """

    def __init__(self, config: Config, ranks: int, data: "Description") -> None:
        cluster = config.cluster
        self.config, self.data = config, data
        self.item = ITEM_BYTES[config.model.dtype]
        self.topology = topology.assign_roles(ranks, cluster.shards, cluster.replicas, cluster.partitions)
        self.network = network.build(config, data.input_shape)
        self.partitioning = Partitioning(self.network, self.topology.partitions, cluster.grid)
        most = sharding.MAX_PIECE_BYTES // self.item
        self.pieces = sharding.cut(self.partitioning.sizes, len(self.topology.shards), most)

    def of_shard(self, shard: int) -> Memory:
        """Return the memory of a shard."""
        sizes = [piece.size for piece in sharding.of_shard(self.pieces, shard)]
        values = sum(sizes) * self.item
        states = len(STATES[self.config.downpour.rule]) * values if self.config.uses_downpour else 0
        vectors = (vectors_of(self.config) - 1) * values  # one of them is the parameters
        messages = SHARD_BUFFERS * max(sizes, default=0) * self.item
        copied = values + vectors if self.config.batch else values + states  # for a checkpoint
        return Memory(values, rule_state=states, vectors=vectors, messages=messages, snapshot=copied)

    def mirrors(self) -> int:
        """Return the bytes that mirrors add, at most, to the memory of a shard, where ranks may die."""
        shards = [self.of_shard(shard) for shard in range(len(self.topology.shards))]
        if self.config.batch:
            vectors = vectors_of(self.config) + MIRROR_VECTORS
            return max(vectors * shard.parameters for shard in shards)
        return max(MIRROR_COPIES * (shard.parameters + shard.rule_state) for shard in shards)

    def of_partition(self, partition: int) -> Memory:
        """Return the memory of a rank that computes a partition."""
        size = self.partitioning.sizes[partition]
        widths = {self.config.train.minibatch, self.config.evaluation.minibatch}
        copies = PARAMETER_COPIES if self.config.uses_downpour else 1
        return Memory(
            parameters=copies * size * self.item,
            gradients=self._gradient_copies() * size * self.item,
            activations=sum(self.workspace(partition, width) for width in widths),
            messages=0 if self.config.downpour.wire == "float32" else WIRE_BYTES * size,
            data=self._portions(partition),
        )

    def of_serial(self) -> Memory:
        """Return the memory of the one process of serial training, whose parameters are the shard's own."""
        shard, partition = self.of_shard(0), self.of_partition(0)
        return Memory(
            parameters=shard.parameters,
            gradients=partition.gradients,
            rule_state=shard.rule_state,
            vectors=shard.vectors,
            activations=partition.activations,
            data=partition.data,
        )

    def workspace(self, partition: int, width: int) -> int:
        """Return the bytes of states, derivatives and statistics for minibatches of `width` examples."""
        held = [volume(self.partitioning.held(space, partition)) for space in range(len(self.network.spaces))]
        returned = sum(
            transfer.units for transfer in self.partitioning.transfers if transfer.owner == partition
        )
        rows = sum(held) + sum(held[1:-1]) + returned + self._stage_rows(partition)
        statistics = (self.partitioning.partitions + 1) * STATS_ROWS * STATS_BYTES
        shared = sum(tensor.size for tensor in self.partitioning.shared)
        # The tensors in use and their gradient; at partition 0 also the gradients of the others.
        copies = 2 + (self.partitioning.partitions - 1 if partition == 0 else 0)
        return (rows * self.item + statistics) * width + shared * copies * self.item

    def _stage_rows(self, partition: int) -> int:
        """Count what layers keep beside states and derivatives, in elements for each example."""
        rows = 0
        for layer in self.network.layers:
            if isinstance(layer.spec, Dense):  # products with what has arrived, before they are added
                rows += volume(self.partitioning.own(layer.index + 1, partition))
            if isinstance(layer.spec, Lcn):
                rows += LCN_PLANES * prod(extents(self.partitioning.need(layer.index, partition))[:2])
        return rows

    def _gradient_copies(self) -> int:
        """Count the gradients of a partition: accrued, on its way, and newly computed."""
        if self.config.batch:
            return BATCH_GRADIENTS
        downpour = self.config.downpour
        overlap = resolve_overlap(downpour.overlap, len(self.topology.replicas), 1, 1)
        return 1 + overlap + (overlap or downpour.n_push > 1)

    def _portions(self, partition: int) -> int:
        """Return the bytes of the portions that are read ahead: of each example what the partition sees."""
        train, data = self.config.train, self.data
        replicas = len(self.topology.replicas)
        example = volume(self.partitioning.need(0, partition)) * ITEM_BYTES[data.dtype]
        if self.config.batch:
            batch = batches(self.config.sandblaster, train, data.train_rows, replicas, data.chunk_rows)
            kept = min(self.config.sandblaster.memory_mb * 10**6, batch.examples * example // replicas)
            return kept + PORTIONS_HELD * batch.plan.portion_rows * example
        order = PortionPlan(
            data.train_rows, train.minibatch, replicas, train.seed, train.portion, data.chunk_rows
        )
        return PORTIONS_HELD * min(order.portion_rows, data.train_rows) * example

    def crossings(self, partition: int) -> dict[str, Traffic]:
        """Return what a partition sends per minibatch, by purpose: states, derivatives, ..., and in all."""
        minibatch, partitioning = self.config.train.minibatch, self.partitioning
        row = minibatch * self.item
        forward = [t.units for t in partitioning.transfers if t.owner == partition]
        backward = [t.units for t in partitioning.transfers if t.reader == partition]
        kinds = {
            "forward": Traffic(len(forward), sum(forward) * row),
            "backward": Traffic(len(backward), sum(backward) * row),
        }
        states = sum(kinds.values(), Traffic(0, 0))
        without = partitioning.traffic(partition, minibatch, self.item, reduction=False)
        in_all = partitioning.traffic(partition, minibatch, self.item, reduction=self.data.targets is None)
        if partitioning.shared:
            kinds["shared weights"] = _less(without, states)
        return kinds | {"for the loss": _less(in_all, without), "in all": in_all}


def _less(a: Traffic, b: Traffic) -> Traffic:
    return Traffic(a.messages - b.messages, a.bytes - b.bytes)
