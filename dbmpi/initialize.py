"""First values of the parameters: seeded, and the same whatever P and S.

A counter-based generator gives element i of a tensor its own place in the tensor's stream, so each
shard draws just the elements it owns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.network import Network, Tensor
from dbmpi.partition import Partitioning
from dbmpi.sharding import Piece

DRAWS = 4  # 64-bit numbers that Philox makes at each step of its counter


def values(network: Network, tensor: Tensor, seed: int, start: int, stop: int) -> NDArray[np.float64]:
    """Return the first values of the elements [start, stop) of a tensor in C order.

    Biases are zero. Weights are uniform in (-a, a), with variance 2/I below ReLU and 2/(I + O)
    elsewhere, so that the states keep their scale from layer to layer.

    References
    ----------
    Glorot and Bengio, AISTATS 2010, equation 16; He et al., ICCV 2015, equation 10.
    """
    if tensor.name.endswith(".bias"):
        return np.zeros(stop - start)
    number = [t.name for t in network.tensors].index(tensor.name)
    skip = start // DRAWS
    source = np.random.Philox(key=[seed, number]).advance(skip)
    draws = np.random.Generator(source).random(stop - skip * DRAWS)[start - skip * DRAWS :]
    return (2.0 * draws - 1.0) * _bound(network, tensor)


def _bound(network: Network, tensor: Tensor) -> float:
    layer = next(layer for layer in network.layers if layer.weight == tensor)
    if layer.spec.activation == "relu":
        return float(np.sqrt(6.0 / tensor.fan_in))
    return float(np.sqrt(6.0 / (tensor.fan_in + tensor.fan_out)))


def piece(plan: Partitioning, piece: Piece, seed: int, out: NDArray[Any]) -> None:
    """Fill `out`, `(piece.size,)`, with the first values of a piece of the parameter vector."""
    for part in plan.slices(piece.partition):
        first = max(piece.start, part.offset)
        last = min(piece.stop, part.offset + part.size)
        if first < last:
            base = part.start * part.tensor.row - part.offset
            out[first - piece.start : last - piece.start] = values(
                plan.network, part.tensor, seed, base + first, base + last
            )
