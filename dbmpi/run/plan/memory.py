"""The memory that each role of a run takes, as arithmetic. Pure, without MPI.

All of it follows from the configuration, the decomposition of the network and the shape of the data.
"""

from dataclasses import astuple, dataclass
from math import prod
from typing import TYPE_CHECKING

from dbmpi.config.algorithms import REVISING
from dbmpi.config.layers import Dense, Lcn
from dbmpi.config.sections import Config
from dbmpi.data.portions import PortionPlan
from dbmpi.layout import sharding
from dbmpi.layout.boxes import extents, volume
from dbmpi.layout.decomposition import ITEM_BYTES, Decomposition
from dbmpi.layout.partitioning import STATS_BYTES, STATS_ROWS
from dbmpi.run.start.launch import resolve_overlap
from dbmpi.sandblaster.batch import cut_batch, vectors_of
from dbmpi.server.rules import STATES

if TYPE_CHECKING:
    from dbmpi.data.describe import Description

DATA_BYTES = ITEM_BYTES | {"uint8": 1}  # of a value of an example, by the type that a reader gives
MIRROR_COPIES = 3  # of a shard: the mirror it holds, the next one as it arrives, and its own on its way
MIRROR_VECTORS = 8  # of a batch method, beyond those of the method: what changes travels, and is kept
SHARD_BUFFERS = 5  # of the largest piece, for messages: received, and four replies on their way
WIRE_BYTES = 2 + 4  # of each parameter, for a 16-bit wire: the message, and the float32 rest
BATCH_GRADIENTS = 5  # of Sandblaster: of a minibatch, of two portions, accrued, and on its way
PORTIONS_HELD = 3  # being learned from, and read ahead
PROCESS_BYTES = 120 * 10**6  # of Python and its libraries, which come on top
LCN_PLANES = 6  # of its input's plane, that contrast normalization keeps and works with


@dataclass(frozen=True)
class Memory:
    """Bytes that one rank allocates, by purpose; Python and its libraries come on top."""

    parameters: int = 0
    gradients: int = 0
    rule_state: int = 0
    versions: int = 0
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
    """What a rank of each role allocates.

    Parameters
    ----------
    config
        The configuration.
    parts
        How the network is cut for the ranks.
    data
        Shape of the data (`data.describe.describe`).
    """

    def __init__(self, config: Config, parts: Decomposition, data: "Description") -> None:
        self.config, self.data = config, data
        self.topology, self.network = parts.topology, parts.network
        self.partitioning, self.pieces = parts.partitioning, parts.pieces
        self.item = ITEM_BYTES[config.model.dtype]

    def of_shard(self, shard: int) -> Memory:
        """Return the memory of a shard."""
        sizes = [piece.size for piece in sharding.of_shard(self.pieces, shard)]
        values = sum(sizes) * self.item
        of_rule = len(STATES[self.config.downpour.rule]) if self.config.uses_downpour else 0
        states = (of_rule + self._averages) * values
        versions = self._versions() * values
        vectors = (vectors_of(self.config) - 1) * values  # one of them is the parameters
        # Decoded gradients of 16 bits, their sum in a round; a reply to the first shard: it saves the model.
        compressed = self.config.downpour.wire != "float32"
        buffers = compressed * (1 + self.config.sync) + (len(self.topology.shards) > 1)
        messages = buffers * max(sizes, default=0) * self.item
        accrued = values if self.config.uses_downpour and self.config.downpour.average > 1 else 0
        copied = values + vectors if self.config.batch else values + states  # for a checkpoint
        parts = {"rule_state": states, "vectors": vectors, "messages": messages, "snapshot": copied}
        return Memory(values, gradients=accrued, versions=versions, **parts)

    def _versions(self) -> int:
        """Count the parameters that a shard keeps, at most, of each piece, for gradients that are to come."""
        settings = self.config.downpour
        if not self.config.uses_downpour or self.config.sync or settings.rule not in REVISING:
            return 0
        replicas, overlap = len(self.topology.replicas), self._overlap()
        if replicas == 1 and not overlap and settings.n_fetch == settings.n_push == 1:
            return 0  # none is replaced before its gradient has come
        return replicas * (1 + overlap + (settings.n_push > 1))

    def far_clients(self) -> int:
        """Return the bytes that a shard takes more, at most, for partitions whose memory it cannot map."""
        buffers = SHARD_BUFFERS + self.config.sync  # the sum of a round
        return buffers * max((piece.size for piece in self.pieces), default=0) * self.item

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
        train, test = self.config.train.minibatch, self.config.evaluation.minibatch
        widths = min(train, self.data.train_rows), min(test, self.data.test_rows)
        # In use, arriving, and averaged for an evaluation.
        copies = 1 + (self.config.uses_downpour and self._overlap()) + self._averages
        return Memory(
            parameters=copies * size * self.item,
            gradients=self._gradient_copies() * size * self.item,
            activations=self._activations(partition, *widths),
            messages=0 if self.config.downpour.wire == "float32" else WIRE_BYTES * size,
            data=self._portions(partition),
        )

    def of_serial(self) -> Memory:
        """Return the memory of the one process of serial training, whose parameters are the shard's own."""
        shard, partition = self.of_shard(0), self.of_partition(0)
        return Memory(
            parameters=shard.parameters * (1 + self._averages),
            gradients=partition.gradients + shard.gradients,
            rule_state=shard.rule_state,
            versions=shard.versions,
            vectors=shard.vectors,
            activations=partition.activations,
            data=partition.data,
            snapshot=shard.snapshot,
        )

    def _activations(self, partition: int, train: int, test: int) -> int:
        """Return the bytes of both workspaces; one that only evaluates never touches its derivatives."""
        spaces = range(len(self.network.spaces))
        states = sum(volume(self.partitioning.held(space, partition)) for space in spaces)
        held_out = self.data.test_rows, self.data.validation_rows
        widths = {test, *(rows % test for rows in held_out)} - {train}  # the last minibatch is narrower
        evaluated = (states + self._layer_rows(partition)) * self.item * sum(widths)
        return self.workspace(partition, train) + evaluated

    def workspace(self, partition: int, width: int) -> int:
        """Return the bytes of states, derivatives and statistics for minibatches of `width` examples."""
        held = [volume(self.partitioning.held(space, partition)) for space in range(len(self.network.spaces))]
        returned = sum(
            transfer.units for transfer in self.partitioning.transfers if transfer.owner == partition
        )
        rows = sum(held) + sum(held[1:-1]) + returned + self._layer_rows(partition)
        statistics = (self.partitioning.partitions + 1) * STATS_ROWS * STATS_BYTES
        shared = sum(tensor.size for tensor in self.partitioning.shared)
        # The tensors in use and their gradient; at partition 0 also the gradients of the others.
        copies = 2 + (self.partitioning.partitions - 1 if partition == 0 else 0)
        return (rows * self.item + statistics) * width + shared * copies * self.item

    def _layer_rows(self, partition: int) -> int:
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
        overlap = self._overlap()
        return 1 + overlap + (overlap or self.config.downpour.n_push > 1)

    @property
    def _averages(self) -> bool:
        """Whether shards average the parameters, for evaluations, which want a vector for it."""
        return self.config.train.average is not None

    def _overlap(self) -> bool:
        """Return whether minibatches go on while parameters arrive: "auto" may, on several nodes."""
        return resolve_overlap(self.config.downpour.overlap, len(self.topology.replicas), 2, 1, 1)

    def _portions(self, partition: int) -> int:
        """Return the bytes of the portions that are read ahead: of each example what the partition sees."""
        train, data = self.config.train, self.data
        replicas = len(self.topology.replicas)
        moved = train.flip or train.shift  # then tiles are cut of whole images
        seen = data.inputs if moved else volume(self.partitioning.need(0, partition))
        example = seen * DATA_BYTES[data.dtype]
        if self.config.batch:
            batch = cut_batch(self.config.sandblaster, train, data.train_rows, replicas, data.chunk_rows)
            kept = min(self.config.sandblaster.memory_mb * 10**6, batch.examples * example // replicas)
            return kept + PORTIONS_HELD * batch.plan.portion_rows * example
        order = PortionPlan(
            data.train_rows, train.minibatch, replicas, train.seed, train.portion, data.chunk_rows
        )
        return PORTIONS_HELD * min(order.portion_rows, data.train_rows) * example
