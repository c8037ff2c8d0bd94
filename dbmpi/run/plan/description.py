"""What run.json says of a run: where each rank runs, and what travels. On rank 0."""

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dbmpi.layout import traffic
from dbmpi.layout.decomposition import ITEM_BYTES, decompose
from dbmpi.run.plan.cores import ranks_and_cores
from dbmpi.run.tables import spans

if TYPE_CHECKING:
    from dbmpi.run.plan.setup import Setup


def places(setup: "Setup") -> list[dict[str, Any]]:
    """Return host, node and cores of each rank."""
    return [
        {"host": one.host, "node": one.node, "cores": spans(sorted(one.cores)).replace(" ", "")}
        for one in setup.places
    ]


def about(setup: "Setup", started: float) -> dict[str, Any]:
    """Return what else there is to say; the program was `started` by `time.monotonic`."""
    from dbmpi.data.format import format_of

    nodes = _nodes(setup)
    since = timedelta(seconds=time.monotonic() - started)
    return {
        "launched": (datetime.now(UTC) - since).isoformat(timespec="milliseconds"),
        "nodes": nodes,
        "crowded": any(node["ranks"] > node["cores"] for node in nodes),
        "traffic": _traffic(setup),
        "data": format_of(setup.description, setup.network.loss).to_json(),
    }


def _nodes(setup: "Setup") -> list[dict[str, Any]]:
    """Return the nodes by their numbers: how many ranks each has, and cores that these may use."""
    hosts = {place.node: place.host for place in setup.places}
    counts = {node: ranks_and_cores(setup.places, node) for node in hosts}
    return [{"host": hosts[n], "cores": counts[n][1], "ranks": counts[n][0]} for n in sorted(hosts)]


def _traffic(setup: "Setup") -> dict[str, Any]:
    """Return what travels between partitions, and what they have on shards, in bytes."""
    config, topology = setup.config, setup.topology
    parts, itemsize = decompose(config, topology, setup.network), ITEM_BYTES[config.model.dtype]
    cut, labels = parts.partitioning, setup.description.classes is not None
    shards = max(1, len(topology.shards))
    return {
        "boundary_bytes_per_example": traffic.boundary_bytes_per_example(cut, itemsize, labels),
        "shared_bytes_per_minibatch": traffic.shared_bytes_per_minibatch(cut, itemsize),
        "shard_bytes": traffic.shard_bytes(parts.pieces, cut.partitions, shards, itemsize),
    }
