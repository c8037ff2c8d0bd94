"""Who owns which units and parameters, and what crosses the boundaries. Pure, without MPI.

Ownership follows the geometry of each space. The units of a flat space are cut into contiguous
ranges, one a partition; an image is cut into a grid of tiles. A partition owns the weights of its
units: rows of a dense layer, the locations of its tile in a locally connected one. Weights that all
locations share belong to partition 0, and every partition works with a copy.

A partition's parameters form one vector, layer by layer (weight, then bias); the parameter vector of
the model is those of the partitions one after the other, so that a partition meets few shards
(Dean et al. 2012, section 4.1).
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod

from dbmpi.config.layers import Dropout
from dbmpi.errors import UserError
from dbmpi.layout.boxes import Box, Range, balanced, extents, hull, intersection, volume, whole
from dbmpi.layout.network import IMAGE, Layer, Network, Shape, Tensor
from dbmpi.text import several

STATS_ROWS = 4  # of the output reduction: maximum, sum of exponentials, target logit, arg max
STATS_BYTES = 8  # float64


@dataclass(frozen=True)
class TensorSlice:
    """The part `box` of a tensor, held in C order at `offset` of the partition's vector."""

    tensor: Tensor
    box: Box
    offset: int

    @cached_property
    def shape(self) -> Shape:
        """Shape of the slice."""
        return extents(self.box)

    @cached_property
    def size(self) -> int:
        """Number of elements in the slice."""
        return prod(self.shape)


@dataclass(frozen=True)
class Transfer:
    """The units `box` of space `space`, owned by `owner`, which `reader` needs for the layer above.

    Forward their states go from owner to reader, backward the partial derivatives from reader to
    owner: one message each, whatever the number of edges that cross (Dean et al. 2012, section 3).
    """

    space: int
    owner: int
    reader: int
    box: Box

    @property
    def units(self) -> int:
        """Number of units that cross."""
        return volume(self.box)


@dataclass(frozen=True)
class Traffic:
    """Messages and bytes that one partition sends for one minibatch (its share of the minimum)."""

    messages: int
    bytes: int

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.messages + other.messages, self.bytes + other.bytes)


def grid_of(partitions: int, grid: tuple[int, int] | None = None) -> tuple[int, int]:
    """Return the rows and columns of tiles: what the user says, or as square as can be (6 is 2 x 3).

    Raises
    ------
    UserError
        If the grid does not have as many tiles as there are partitions.
    """
    if grid is None:
        rows = max(r for r in range(1, int(partitions**0.5) + 1) if partitions % r == 0)
        return rows, partitions // rows
    if grid[0] * grid[1] != partitions:
        raise UserError(
            f"cluster.grid = {list(grid)} has {several(grid[0] * grid[1], 'tile')}, but there "
            f"{'is' if partitions == 1 else 'are'} {several(partitions, 'partition')}: make rows x columns "
            f"equal {partitions}, or leave cluster.grid out"
        )
    return grid


class Partitioning:
    """A network cut into P partitions: ownership of units and parameters, and the transfers between them.

    Spaces are numbered as in `Network.spaces`: 0 is the input, l + 1 the output of layer l.
    """

    def __init__(self, network: Network, partitions: int, grid: tuple[int, int] | None = None) -> None:
        self.network = network
        self.partitions = partitions
        self.grid = grid_of(partitions, grid)
        self._owned = [self._cut(shape) for shape in network.spaces]
        self._needed = [
            [self._need(space, partition) for partition in range(partitions)]
            for space in range(len(network.spaces))
        ]

    def _cut(self, shape: Shape) -> list[Box]:
        """Cut a space: a flat one into ranges, an image into tiles, row by row of the grid."""
        if len(shape) != IMAGE:
            return [(one,) for one in balanced(shape[0], self.partitions)]
        rows, columns = balanced(shape[0], self.grid[0]), balanced(shape[1], self.grid[1])
        return [(r, c, (0, shape[2])) for r in rows for c in columns]

    def _need(self, space: int, partition: int) -> Box:
        """Return the units of a space that a partition reads to compute its own of the next, if any."""
        nothing = tuple((0, 0) for _ in self.network.spaces[space])
        if space == len(self.network.layers):
            return nothing
        own = self._owned[space + 1][partition]
        return _read(self.network.layers[space], own) if volume(own) else nothing

    def own(self, space: int, partition: int) -> Box:
        """Return the units of a space that a partition computes; of the input, which it does not, none."""
        if space == 0:
            return tuple((0, 0) for _ in self.network.input)
        return self._owned[space][partition]

    def need(self, space: int, partition: int) -> Box:
        """Return the units of a space that a partition reads to compute its own of the next."""
        return self._needed[space][partition]

    def held(self, space: int, partition: int) -> Box:
        """Return the smallest box with all units of a space that a partition computes or reads."""
        own, need = self.own(space, partition), self.need(space, partition)
        if not volume(own):
            return need
        return hull(own, need) if volume(need) else own

    def outputs(self, partition: int) -> Range:
        """Return the range of output units that a partition computes."""
        return self._owned[-1][partition][0]

    @cached_property
    def slices(self) -> tuple[tuple[TensorSlice, ...], ...]:
        """The tensor slices of each partition, in the order of its vector."""
        return tuple(self._slices(partition) for partition in range(self.partitions))

    def _slices(self, partition: int) -> tuple[TensorSlice, ...]:
        slices: list[TensorSlice] = []
        offset = 0
        for layer in self.network.layers:
            for tensor in (layer.weight, layer.bias):
                if tensor is not None:
                    slices.append(TensorSlice(tensor, self._part(layer, tensor, partition), offset))
                    offset += slices[-1].size
        return tuple(slices)

    def _part(self, layer: Layer, tensor: Tensor, partition: int) -> Box:
        """Return the part of a tensor that a partition owns."""
        if tensor.shared:
            return whole(tensor.shape) if partition == 0 else tuple((0, 0) for _ in tensor.shape)
        own = self._owned[layer.index + 1][partition]
        locations = own if len(own) < IMAGE else own[:-1]  # the channels of a location are its filters
        return (*locations, *whole(tensor.shape[len(locations) :]))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of parameters of each partition."""
        return tuple(sum(part.size for part in slices) for slices in self.slices)

    @cached_property
    def shared(self) -> tuple[Tensor, ...]:
        """The tensors of which every partition works with a copy."""
        return tuple(tensor for tensor in self.network.tensors if tensor.shared)

    @cached_property
    def transfers(self) -> tuple[Transfer, ...]:
        """Every transfer between layers, by space, owner and reader.

        What a partition needs of another one crosses once. The last layer's states are read by the
        loss where they are.
        """
        return tuple(
            Transfer(space, owner, reader, box)
            for space in range(1, len(self.network.layers))
            for owner, own in enumerate(self._owned[space])
            for reader, need in enumerate(self._needed[space])
            if owner != reader and (box := intersection(own, need)) is not None
        )

    @cached_property
    def output_owners(self) -> tuple[int, ...]:
        """The partitions that own units of the last layer; partition 0 always does."""
        return tuple(p for p, own in enumerate(self._owned[-1]) if volume(own))

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
        return states + self._sharing(partition, itemsize) + self._reduction(partition, minibatch, reduction)

    def _sharing(self, partition: int, itemsize: int) -> Traffic:
        """Partition 0 sends the shared tensors to the others, and gets a gradient from each."""
        messages = (self.partitions - 1 if partition == 0 else 1) if self.shared else 0
        size = sum(tensor.size for tensor in self.shared) * itemsize
        return Traffic(messages, messages * size) if self.partitions > 1 else Traffic(0, 0)

    def _reduction(self, partition: int, minibatch: int, takes_place: bool) -> Traffic:
        if not takes_place or partition not in self.output_owners:
            return Traffic(0, 0)
        readers = sum(reader != partition for reader in self.output_readers)
        return Traffic(readers, readers * STATS_ROWS * STATS_BYTES * minibatch)


def _read(layer: Layer, own: Box) -> Box:
    """Return the box of its input that a layer reads to compute the box `own` of its output."""
    if isinstance(layer.spec, Dropout):
        return own
    if layer.window is None:
        return whole(layer.input)
    rows, columns = (layer.window.inputs(*own[axis], axis, layer.input[axis]) for axis in (0, 1))
    return rows, columns, (0, layer.input[2])
