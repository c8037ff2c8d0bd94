"""Who owns which units and parameters, and what crosses the boundaries. Pure, without MPI.

A dense layer's output units are cut into contiguous ranges, one a partition; a partition owns the
weight rows and biases of its units. Its parameters form one vector, layer by layer (weight, then
bias); the parameter vector of the model is those of the partitions one after the other, so that a
partition meets few shards (Dean et al. 2012, section 4.1).
"""

from dataclasses import dataclass
from functools import cached_property

from dbmpi.network import Network, Tensor

Range = tuple[int, int]
STATS_ROWS = 4  # of the output reduction: maximum, sum of exponentials, target logit, arg max
STATS_BYTES = 8  # float64


@dataclass(frozen=True)
class TensorSlice:
    """The rows [start, stop) of a tensor, held at `offset` of the partition's vector."""

    tensor: Tensor
    start: int
    stop: int
    offset: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the slice."""
        return (self.stop - self.start, *self.tensor.shape[1:])

    @property
    def size(self) -> int:
        """Number of elements in the slice."""
        return (self.stop - self.start) * self.tensor.row


@dataclass(frozen=True)
class Transfer:
    """Units [start, stop) of layer `layer`, owned by `owner`, which `reader` needs for layer + 1.

    Forward their states go from owner to reader, backward the partial derivatives from reader to
    owner: one message each, whatever the number of edges that cross (Dean et al. 2012, section 3).
    """

    layer: int
    owner: int
    reader: int
    start: int
    stop: int

    @property
    def units(self) -> int:
        """Number of units that cross."""
        return self.stop - self.start


@dataclass(frozen=True)
class Traffic:
    """Messages and bytes that one partition sends for one minibatch (its share of the minimum)."""

    messages: int
    bytes: int

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.messages + other.messages, self.bytes + other.bytes)


def balanced(n: int, parts: int) -> tuple[Range, ...]:
    """Cut `n` things into `parts` contiguous ranges; the first n mod parts have one more."""
    base, extra = divmod(n, parts)
    starts = [p * base + min(p, extra) for p in range(parts + 1)]
    return tuple(zip(starts[:-1], starts[1:], strict=True))


class Partitioning:
    """A network cut into P partitions: ownership of units and parameters, and the boundary plan."""

    def __init__(self, network: Network, partitions: int) -> None:
        self.network = network
        self.partitions = partitions
        self.units: tuple[tuple[Range, ...], ...] = tuple(
            balanced(layer.units, partitions) for layer in network.layers
        )

    def slices(self, partition: int) -> tuple[TensorSlice, ...]:
        """Return the tensor slices of one partition, in the order of its vector."""
        slices: list[TensorSlice] = []
        offset = 0
        for layer in self.network.layers:
            start, stop = self.units[layer.index][partition]
            for tensor in (layer.weight, layer.bias):
                slices.append(TensorSlice(tensor, start, stop, offset))
                offset += slices[-1].size
        return tuple(slices)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of parameters of each partition."""
        return tuple(sum(s.size for s in self.slices(p)) for p in range(self.partitions))

    @cached_property
    def transfers(self) -> tuple[Transfer, ...]:
        """Return the boundary plan: every transfer between layers, by layer, owner and reader.

        A dense partition reads all units of the layer below, if it owns any unit itself; a unit
        crosses to a partition once. The last layer's states are read by the loss where they are.
        """
        return tuple(
            Transfer(layer, owner, reader, start, stop)
            for layer in range(len(self.units) - 1)
            for owner, (start, stop) in enumerate(self.units[layer])
            for reader, (first, last) in enumerate(self.units[layer + 1])
            if owner != reader and stop > start and last > first
        )

    @cached_property
    def output_owners(self) -> tuple[int, ...]:
        """The partitions that own units of the last layer; partition 0 always does."""
        return tuple(p for p, (start, stop) in enumerate(self.units[-1]) if stop > start)

    @cached_property
    def output_readers(self) -> tuple[int, ...]:
        """The partitions that need the output reduction.

        Softmax normalizes over all units, so every owner needs it; the other losses are sums over
        units, and only partition 0 needs the arg max, for the accuracy.
        """
        return self.output_owners if self.network.loss == "softmax" else (0,)

    def traffic(self, partition: int, minibatch: int, itemsize: int, reduction: bool = True) -> Traffic:
        """Return what `partition` sends at least in one training step.

        Parameters
        ----------
        minibatch, itemsize
            Examples B, and bytes of one state.
        reduction
            Whether the output reduction takes place (it does wherever the targets are labels).
        """
        forward = [t for t in self.transfers if t.owner == partition]
        backward = [t for t in self.transfers if t.reader == partition]
        units = sum(t.units for t in forward + backward)
        states = Traffic(len(forward) + len(backward), units * minibatch * itemsize)
        if not reduction or partition not in self.output_owners:
            return states
        readers = sum(reader != partition for reader in self.output_readers)
        return states + Traffic(readers, readers * STATS_ROWS * STATS_BYTES * minibatch)
