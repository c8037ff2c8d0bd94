"""What `--dry-run` prints: who would do what, what it takes, and what crosses the boundaries.

The bytes of memory are those of `run.plan.memory`. MPI is not needed.
"""

from collections.abc import Callable, Iterator
from dataclasses import astuple, fields
from itertools import groupby
from typing import TYPE_CHECKING

from dbmpi.config.schema import MOST_RANKS
from dbmpi.config.sections import Config
from dbmpi.data.describe import Description
from dbmpi.errors import UserError
from dbmpi.layout import sharding
from dbmpi.layout.decomposition import ITEM_BYTES, Decomposition, decompose
from dbmpi.layout.network import IMAGE, build
from dbmpi.layout.partitioning import Partitioning, Traffic
from dbmpi.layout.topology import Topology
from dbmpi.run.plan import capacity
from dbmpi.run.plan.cautions import expectations
from dbmpi.run.plan.checks import check_data, check_libraries, warnings
from dbmpi.run.plan.choices import complete, told
from dbmpi.run.plan.continuing import as_before
from dbmpi.run.plan.memory import PROCESS_BYTES, Memory, MemoryReport
from dbmpi.run.plan.splitting import Node, choose_roles, node_bytes, scant
from dbmpi.run.plan.tasks import with_task
from dbmpi.run.start import launch
from dbmpi.run.tables import counted, interval, quantity, spans, table, times
from dbmpi.text import several

if TYPE_CHECKING:
    from dbmpi.checkpoint.manifest import Checkpoint

ASSUMED_RANKS = 8
MOST_ROWS = 16  # partitions that are listed one by one


Found = tuple[list[str], "Checkpoint | None"]


def _nothing(data: Description) -> Found:
    """Find a directory of which nothing is asked."""
    return [], None


def report(
    config: Config,
    ranks: int | None,
    data: Description,
    find: Callable[[Description], Found] = _nothing,
) -> str:
    """Describe the run that a configuration would make. Local.

    Parameters
    ----------
    config
        The configuration.
    ranks
        World size N; None for as many as `[cluster]` needs if it gives all numbers, else 8.
    data
        Shape of the data (`data.describe.describe`).
    find
        Returns what is said of the run directory, and what the run goes on from (`continuing.foresee`).

    Raises
    ------
    UserError
        As `find`, and if the ranks cannot hold what `[cluster]` asks for, or the layers do not fit the data.
    """
    check_libraries(config)
    given, config = config, with_task(config, data)
    network = build(config, data.input_shape)
    check_data(config, network, data)
    number, why = _ranks(config, ranks)
    node = Node(capacity.node_memory(), capacity.node_cores())
    topology, split = choose_roles(config, network, data, number, node, option="--ranks")
    of_directory, saved = find(data)
    if saved is not None:
        config = with_task(as_before(given, saved), data)
        network = build(config, data.input_shape)
        check_data(config, network, data)
    config = complete(config, network, data.train_rows, len(topology.replicas))
    parts = decompose(config, topology, network)
    memory = MemoryReport(config, parts, data)
    warned = [*warnings(given, config, network, data, len(topology.replicas))]
    warned.append(scant(node_bytes(config, network, data, topology, [0] * number), node))
    sections = [
        "\n".join(
            [
                _heading(config, parts, data, why, [_on_one(split, number), told(given, config)], warned),
                *of_directory,
            ]
        ),
        _layers(parts),
        _roles(parts.topology),
        _memory(memory),
        _traffic(config, parts.partitioning, data),
        _shard_map(parts, ITEM_BYTES[config.model.dtype]),
    ]
    return "\n\n".join(sections) + "\n"


def _ranks(config: Config, ranks: int | None) -> tuple[int, str]:
    if ranks is not None:
        return ranks, ""
    counts = (config.cluster.shards, config.cluster.replicas, config.cluster.partitions)
    shards, replicas, partitions = (0 if count == "auto" else count for count in counts)
    needed = 1 + shards + replicas * partitions
    if needed > MOST_RANKS:
        raise UserError(
            f"{needed} ranks = 1 + {several(shards, 'shard')} + {several(replicas, 'replica')} x "
            f"{several(partitions, 'partition')}"
            f" are more than {MOST_RANKS}: lower cluster.shards, cluster.replicas or cluster.partitions"
        )
    if shards and replicas and partitions:
        return needed, ""
    return ASSUMED_RANKS, f" (--ranks gives another number than {ASSUMED_RANKS})"


def _heading(
    config: Config, parts: Decomposition, data: Description, why: str, choices: list[str], told: list[str]
) -> str:
    net, dtype = parts.network, config.model.dtype
    replicas = len(parts.topology.replicas)
    size = f"{net.parameters:,} parameters in {dtype}, {quantity(net.parameters * ITEM_BYTES[dtype])}"
    return "\n".join(
        [
            parts.topology.equation() + why,
            *(
                f"{what}: {of}"
                for what, of in zip(("partitions of a replica", "chosen"), choices, strict=True)
                if of
            ),
            f"data: {data.path}, {data.train_rows:,} training and {_held_out(data)} examples",
            *(f"warning: {text}" for text in told if text),
            *_too_large(config, parts, data),
            *filter(None, [capacity.limits()]),
            f"threads of each rank: {_threads(config, parts.topology)}",
            *expectations(config, replicas),
            f"network: {times(net.input)} inputs, {counted(net.layers, 'layer')}, {net.loss} loss: {size}",
        ]
    )


def _on_one(split: str, ranks: int) -> str:
    """Say what a choice of partitions supposes."""
    return f"{split}, all ranks being on one like this" if split and ranks > 1 else split


def _too_large(config: Config, parts: Decomposition, data: Description) -> Iterator[str]:
    """Yield the line that says that nodes like this one have too little memory, if they have."""
    try:
        capacity.check_memory(parts.network, config, parts.topology, data.train_rows)
    except UserError as error:
        yield f"warning: refused on nodes like this one: {error}"


def _threads(config: Config, topology: Topology) -> str:
    """Say how many threads each rank would have."""
    ranks, cores, setting = len(topology.roles), capacity.node_cores(), config.cluster.threads
    said = launch.thread_reason(setting, cores, ranks, cores)
    if ranks == 1 or setting != "auto":
        return said
    return f"{said}; on several nodes: the cores of each, divided by its ranks"


def _layers(parts: Decomposition) -> str:
    header = ["layer", "", "output", "units", "parameters"]
    rows = [
        [
            str(layer.index),
            str(layer.spec),
            times(layer.output),
            f"{layer.units:,}",
            f"{sum(tensor.size for tensor in (layer.weight, layer.bias) if tensor is not None):,}",
        ]
        for layer in parts.network.layers
    ]
    images = any(len(space) == IMAGE for space in parts.network.spaces[1:])
    tiles = f" (images are cut into {times(parts.partitioning.grid)} tiles)" if images else ""
    return f"Layers{tiles}\n\n" + table(header, rows, left=2)


def _roles(topo: Topology) -> str:
    if topo.serial:
        return "Ranks\n\n" + table(["role", "ranks"], [["all", "0"]], left=2)
    rows = [["coordinator", str(topo.coordinator)], ["shards", spans(topo.shards)]]
    rows += [[f"replica {r}", spans(members)] for r, members in enumerate(topo.replicas)]
    if topo.spares:
        rows.append(["left over (wait for the end)", spans(topo.spares)])
    return "Ranks (on one node; on several, shards are spread over them)\n\n" + table(
        ["role", "ranks"], rows, left=2
    )


def _memory(memory: MemoryReport) -> str:
    roles = [("all", 1, memory.network.parameters, memory.of_serial())]
    if not memory.topology.serial:
        roles = [("coordinator", 1, 0, Memory()), *_shard_memory(memory), *_partition_memory(memory)]
    header = ["each rank of", "ranks", "owns", *(f.name.replace("_", " ") for f in fields(Memory)), "total"]
    rows = [
        [role, str(count), f"{size:,}", *map(quantity, astuple(each)), quantity(each.total)]
        for role, count, size, each in roles
    ]
    title = "Parameters and memory "
    title += f"(Python and its libraries take some {PROCESS_BYTES // 10**6} MB more in each)\n\n"
    return title + table(header, rows) + _transport(memory) + _mirrors(memory)


def _transport(memory: MemoryReport) -> str:
    if memory.topology.serial:
        return ""
    return (
        "\n\nA shard reads gradients and writes parameters in the memory of partitions on its node, which\n"
        "the system counts for both. With those on other nodes it exchanges messages, which take up to "
        f"{quantity(memory.far_clients())} more."
    )


def _mirrors(memory: MemoryReport) -> str:
    if len(memory.topology.shards) < 2 or not memory.config.checkpoint.mirror_s:
        return ""
    return (
        "\n\nWhere ranks may die (mpirun --with-ft ulfm) each shard takes up to "
        f"{quantity(memory.mirrors())} more, for its mirrors."
    )


def _shard_memory(memory: MemoryReport) -> list[tuple[str, int, int, Memory]]:
    owned = [
        sum(piece.size for piece in sharding.of_shard(memory.pieces, shard))
        for shard in range(len(memory.topology.shards))
    ]
    return [(f"shard {shard}", 1, size, memory.of_shard(shard)) for shard, size in enumerate(owned)]


def _partition_memory(memory: MemoryReport) -> list[tuple[str, int, int, Memory]]:
    memories = [memory.of_partition(p) for p in range(memory.partitioning.partitions)]
    ranks = len(memory.topology.replicas)
    return [
        (name, ranks, memory.partitioning.sizes[p], memories[p])
        for name, p in _listed(memory.partitioning.partitions, lambda p: memories[p].total)
    ]


def _listed(partitions: int, size: Callable[[int], int]) -> list[tuple[str, int]]:
    """Return the partitions to list, named: all of them, or of many the largest and the smallest."""
    everyone = range(partitions)
    if partitions <= MOST_ROWS:
        return [(f"partition {p}", p) for p in everyone]
    most, least = max(everyone, key=size), min(everyone, key=size)
    return [(f"partition {most} (most of {partitions})", most), (f"partition {least} (least)", least)]


def _held_out(data: Description) -> str:
    validation = f"{data.validation_rows:,} validation and " if data.validation_rows else ""
    return f"{validation}{data.test_rows:,} test"


def _traffic(config: Config, partitioning: Partitioning, data: Description) -> str:
    sent = [crossings(config, partitioning, data, p) for p in range(partitioning.partitions)]
    header = ["a rank of", *(word for kind in sent[0] for word in (kind, "bytes"))]
    rows = []
    for name, p in _listed(len(sent), lambda p: sent[p]["in all"].bytes):
        rows.append([name, *(f"{n:,}" for traffic in sent[p].values() for n in astuple(traffic))])
    if len(sent) > len(rows):
        sums = [sum(astuple(one[kind])[i] for one in sent) for kind in sent[0] for i in (0, 1)]
        rows.append([f"all {len(sent)} partitions together", *(f"{n:,}" for n in sums)])
    title = f"Boundary messages that a rank sends for one minibatch of {config.train.minibatch}"
    return f"{title}\n\n{table(header, rows)}"


def crossings(
    config: Config, partitioning: Partitioning, data: Description, partition: int
) -> dict[str, Traffic]:
    """Return what a partition sends per minibatch, by purpose: states, derivatives, ..., and in all."""
    minibatch, item = config.train.minibatch, ITEM_BYTES[config.model.dtype]
    forward = [t.units for t in partitioning.transfers if t.owner == partition]
    backward = [t.units for t in partitioning.transfers if t.reader == partition]
    kinds = {
        "forward": Traffic(len(forward), sum(forward) * minibatch * item),
        "backward": Traffic(len(backward), sum(backward) * minibatch * item),
    }
    states = sum(kinds.values(), Traffic(0, 0))
    without_loss = partitioning.traffic(partition, minibatch, item, reduction=False)
    in_all = partitioning.traffic(partition, minibatch, item, reduction=data.targets is None)
    if partitioning.shared:
        kinds["shared weights"] = _less(without_loss, states)
    return kinds | {"for the loss": _less(in_all, without_loss), "in all": in_all}


def _less(a: Traffic, b: Traffic) -> Traffic:
    return Traffic(a.messages - b.messages, a.bytes - b.bytes)


def _shard_map(parts: Decomposition, item: int) -> str:
    sizes = parts.partitioning.sizes
    bases = [sum(sizes[:p]) for p in range(len(sizes))]
    header = ["shard", "rank", "of the model's vector", "partition", "of its vector", "pieces", "bytes"]
    rows = []
    for shard, rank in enumerate(parts.topology.shards):
        owned = sharding.of_shard(parts.pieces, shard)
        for partition, group in groupby(owned, lambda piece: piece.partition):
            pieces = list(group)
            first, last, base = pieces[0].start, pieces[-1].stop, bases[partition]
            of_model, of_partition = interval(base + first, base + last), interval(first, last)
            size = f"{(last - first) * item:,}"
            rows.append(
                [str(shard), str(rank), of_model, str(partition), of_partition, str(len(pieces)), size]
            )
        if not owned:
            rows.append([str(shard), str(rank), "nothing", "-", "-", "0", "0"])
    return "Shard map\n\n" + table(header, rows)
