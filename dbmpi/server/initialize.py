"""First values of the parameters: seeded, and the same whatever P and S.

A counter-based generator gives element i of a tensor its own place in the tensor's stream, so each
shard draws just the elements it owns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.layout.boxes import segments
from dbmpi.layout.network import Layer, Network, Tensor
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.sharding import Piece

FLAT, OF_LAST = "flat", 0.1  # a value of `model.init`, and what its last layer is multiplied by
DRAWS = 4  # 64-bit numbers that Philox makes at each step of its counter
AT_ONCE = 1 << 15  # elements: their float64 stay in the cache, and next to no memory is needed


def values(network: Network, tensor: Tensor, seed: int, start: int, stop: int) -> NDArray[np.float64]:
    """Return the first values of the elements [start, stop) of a tensor in C order.

    Biases are zero. Weights are uniform in (-a, a), with variance 2/I below ReLU and 2/(I + O)
    elsewhere, so that the states keep their scale from layer to layer; I and O are the connections
    that a unit has below and above. A network whose `init` is "flat" has 2/(I + O) everywhere, and a
    hundredth of it in the last layer: what it learns of noise is not added to noise of its own.

    References
    ----------
    Glorot and Bengio, AISTATS 2010, equation 16; He et al., ICCV 2015, equation 10.
    """
    layer = next(layer for layer in network.layers if tensor in (layer.weight, layer.bias))
    if tensor == layer.bias:
        return np.zeros(stop - start)
    number = network.tensors.index(tensor)
    skip = start // DRAWS
    source = np.random.Philox(key=[seed, number]).advance(skip)
    draws = np.random.Generator(source).random(stop - skip * DRAWS)[start - skip * DRAWS :]
    draws *= 2.0
    draws -= 1.0
    draws *= _bound(network, layer, tensor)
    return draws


def _bound(network: Network, layer: Layer, tensor: Tensor) -> float:
    if layer.activation == "relu" and network.init != FLAT:
        return float(np.sqrt(6.0 / tensor.fan_in))
    bound = float(np.sqrt(6.0 / (tensor.fan_in + tensor.fan_out)))
    return OF_LAST * bound if network.init == FLAT and layer is network.layers[-1] else bound


def piece(partitioning: Partitioning, piece: Piece, seed: int, out: NDArray[Any]) -> None:
    """Fill `out`, `(piece.size,)`, with the first values of a piece of the parameter vector. Local."""
    for part in partitioning.slices[piece.partition]:
        first = max(piece.start, part.offset)
        last = min(piece.stop, part.offset + part.size)
        if first < last:
            filled = first - piece.start
            for start, length in segments(
                part.box, part.tensor.shape, first - part.offset, last - part.offset
            ):
                _fill(partitioning.network, part.tensor, seed, start, out[filled : filled + length])
                filled += length


def _fill(network: Network, tensor: Tensor, seed: int, start: int, out: NDArray[Any]) -> None:
    """Fill `out` with the elements of a tensor from `start` on."""
    for first in range(0, len(out), AT_ONCE):
        some = out[first : first + AT_ONCE]
        some[:] = values(network, tensor, seed, start + first, start + first + len(some))
