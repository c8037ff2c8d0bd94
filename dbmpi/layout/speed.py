"""How long a step of one replica takes, about, by how many partitions it is split into. Pure arithmetic.

    step_s = flops / (P RATE) + messages LATENCY_S + bytes / BANDWIDTH + fetched and pushed bytes / SERVED

The constants were measured on two cores of an AMD EPYC (Zen 4), Open MPI's shared memory between them
(docs/performance.md). Its cores are fast: on slower ones products take longer beside the messages, and what
pays by this pays there too.
"""

from dbmpi.layout.network import IMAGE, Layer, Network
from dbmpi.layout.partitioning import Partitioning

RATE = 200e9  # float32 operations in a second, of a core's matrix products
PASSES = 3  # forward, derivatives by the input, derivatives by the weights
LATENCY_S = 150e-6  # of a message: its way, and how long one partition waits for another that is not ready
BANDWIDTH = 5e9  # bytes in a second, of messages within a node
SERVED = 5e9  # bytes in a second, of fetches and pushes, the learning rule included


def flops(network: Network, minibatch: int) -> float:
    """Return the operations of all matrix products of a training step."""
    return 2.0 * PASSES * minibatch * sum(map(_edges, network.layers))


def _edges(layer: Layer) -> int:
    """Count the multiplications of a layer for one example, forward."""
    if layer.weight is None:
        return 0
    locations = layer.output[0] * layer.output[1] if len(layer.output) == IMAGE else 1
    return layer.weight.size * (locations if layer.weight.shared else 1)


def step_s(partitioning: Partitioning, minibatch: int, item: int, exchanges: float) -> float:
    """Estimate the seconds of a training step of one replica on one node, a core for each partition.

    Parameters
    ----------
    partitioning
        The network, as it is cut.
    minibatch, item
        Examples, and bytes of a value.
    exchanges
        How often the parameters are fetched, and the gradients pushed, in a step, and waited for.
    """
    partitions = range(partitioning.partitions)
    traffic = max((partitioning.traffic(p, minibatch, item) for p in partitions), key=lambda t: t.bytes)
    products = flops(partitioning.network, minibatch) * (item / 4) / (RATE * len(partitions))
    moved = 2 * item * partitioning.network.parameters * exchanges / SERVED
    return products + traffic.messages * LATENCY_S + traffic.bytes / BANDWIDTH + moved
