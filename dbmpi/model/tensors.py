"""The parameter tensors of one partition, as views of its vector."""

from dataclasses import dataclass

from dbmpi.arrays import Array
from dbmpi.layout.partitioning import Partitioning


@dataclass
class Tensors:
    """A partition's vector, and views of it as weights and biases; None for layers without."""

    flat: Array
    weights: list[Array | None]
    biases: list[Array | None]


def tensors(partitioning: Partitioning, partition: int, flat: Array) -> Tensors:
    """View the vector of a partition, `(sizes[partition],)`, as its tensors; nothing is copied."""
    views = {
        s.tensor.name: flat[s.offset : s.offset + s.size].reshape(s.shape)
        for s in partitioning.slices[partition]
    }
    return _by_layer(partitioning, flat, views)


def shared_tensors(partitioning: Partitioning, flat: Array) -> Tensors:
    """View the vector of all shared tensors, one after another, as tensors; nothing is copied."""
    views, offset = {}, 0
    for tensor in partitioning.shared:
        views[tensor.name] = flat[offset : offset + tensor.size].reshape(tensor.shape)
        offset += tensor.size
    return _by_layer(partitioning, flat, views)


def _by_layer(partitioning: Partitioning, flat: Array, views: dict[str, Array]) -> Tensors:
    layers = partitioning.network.layers
    weights = [views.get(layer.weight.name) if layer.weight else None for layer in layers]
    return Tensors(flat, weights, [views.get(layer.bias.name) if layer.bias else None for layer in layers])
