"""What `--dry-run` prints: who would do what, what it takes, and what crosses the boundaries.

The bytes of memory are those of `run.memory`. MPI is not needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, fields
from itertools import groupby
from typing import TYPE_CHECKING

from dbmpi.config.schema import MOST_RANKS
from dbmpi.config.sections import Config
from dbmpi.errors import UserError
from dbmpi.layout import sharding
from dbmpi.layout.decomposition import ITEM_BYTES, Decomposition, decompose
from dbmpi.layout.network import IMAGE, Shape, build
from dbmpi.layout.partitioning import Partitioning, Traffic
from dbmpi.layout.topology import Topology, assign_roles
from dbmpi.run.memory import Memory, MemoryReport

if TYPE_CHECKING:
    from dbmpi.data.describe import Description

ASSUMED_RANKS = 8
MOST_ROWS = 16  # partitions that are listed one by one
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def report(config: Config, ranks: int | None, data: "Description") -> str:
    """Describe the run that a configuration would make. Local.

    Parameters
    ----------
    config
        The configuration.
    ranks
        World size N; None for as many as `[cluster]` needs if it gives all numbers, else 8.
    data
        Shape of the data (`data.describe.describe`).

    Raises
    ------
    UserError
        If the ranks cannot hold what `[cluster]` asks for, or the layers do not fit the data.
    """
    number, why = _ranks(config, ranks)
    parts = decomposition_of(config, number, data)
    memory = MemoryReport(config, parts, data)
    sections = [
        _heading(config, parts, data, why),
        _layers(parts),
        _roles(parts.topology),
        _memory(memory),
        _traffic(config, parts.partitioning, data),
        _shard_map(parts, ITEM_BYTES[config.model.dtype]),
    ]
    return "\n\n".join(sections) + "\n"


def decomposition_of(config: Config, ranks: int, data: "Description") -> Decomposition:
    """Cut the network of a configuration for a number of ranks of which nothing else is known. Local.

    Raises
    ------
    UserError
        As `report`.
    """
    cluster = config.cluster
    topology = assign_roles(ranks, cluster.shards, cluster.replicas, cluster.partitions)
    return decompose(config, topology, build(config, data.input_shape))


def _ranks(config: Config, ranks: int | None) -> tuple[int, str]:
    if ranks is not None:
        return ranks, ""
    counts = (config.cluster.shards, config.cluster.replicas, config.cluster.partitions)
    shards, replicas, partitions = (0 if count == "auto" else count for count in counts)
    needed = 1 + shards + replicas * partitions
    if needed > MOST_RANKS:
        raise UserError(
            f"{needed} ranks = 1 + {shards} shards + {replicas} replicas x {partitions} partitions"
            f" are more than {MOST_RANKS}: lower cluster.shards, cluster.replicas or cluster.partitions"
        )
    if shards and replicas and partitions:
        return needed, ""
    return ASSUMED_RANKS, f" (--ranks gives another number than {ASSUMED_RANKS})"


def _heading(config: Config, parts: Decomposition, data: "Description", why: str) -> str:
    net, dtype = parts.network, config.model.dtype
    size = f"{net.parameters:,} parameters in {dtype}, {_bytes(net.parameters * ITEM_BYTES[dtype])}"
    return "\n".join(
        [
            parts.topology.equation() + why,
            f"data: {data.path}, {data.train_rows:,} training and {data.test_rows:,} test examples",
            f"network: {_shape(net.input)} inputs, {_count(net.layers, 'layer')}, {net.loss} loss: {size}",
        ]
    )


def _layers(parts: Decomposition) -> str:
    header = ["layer", "", "output", "units", "parameters"]
    rows = [
        [
            str(layer.index),
            str(layer.spec),
            _shape(layer.output),
            f"{layer.units:,}",
            f"{sum(tensor.size for tensor in (layer.weight, layer.bias) if tensor is not None):,}",
        ]
        for layer in parts.network.layers
    ]
    images = any(len(space) == IMAGE for space in parts.network.spaces[1:])
    tiles = f" (images are cut into {_shape(parts.partitioning.grid)} tiles)" if images else ""
    return f"Layers{tiles}\n\n" + _table(header, rows, left=2)


def _roles(topo: Topology) -> str:
    if topo.serial:
        return "Ranks\n\n" + _table(["role", "ranks"], [["all", "0"]], left=2)
    rows = [["coordinator", str(topo.coordinator)], ["shards", _spans(topo.shards)]]
    rows += [[f"replica {r}", _spans(members)] for r, members in enumerate(topo.replicas)]
    if topo.spares:
        rows.append(["left over (leave at once)", _spans(topo.spares)])
    return "Ranks (on one node; on several, shards are spread over them)\n\n" + _table(
        ["role", "ranks"], rows, left=2
    )


def _memory(memory: MemoryReport) -> str:
    roles = [("all", 1, memory.network.parameters, memory.of_serial())]
    if not memory.topology.serial:
        roles = [("coordinator", 1, 0, Memory()), *_shard_memory(memory), *_partition_memory(memory)]
    header = ["each rank of", "ranks", "owns", *(f.name.replace("_", " ") for f in fields(Memory)), "total"]
    rows = [
        [role, str(count), f"{size:,}", *map(_bytes, astuple(each)), _bytes(each.total)]
        for role, count, size, each in roles
    ]
    title = "Parameters and memory (Python and its libraries take some 120 MB more in each)\n\n"
    return title + _table(header, rows) + _mirrors(memory)


def _mirrors(memory: MemoryReport) -> str:
    if len(memory.topology.shards) < 2 or not memory.config.checkpoint.mirror_s:
        return ""
    return (
        "\n\nWhere ranks may die (mpirun --with-ft ulfm) each shard takes up to "
        f"{_bytes(memory.mirrors())} more, for its mirrors."
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


def _traffic(config: Config, partitioning: Partitioning, data: "Description") -> str:
    sent = [crossings(config, partitioning, data, p) for p in range(partitioning.partitions)]
    header = ["a rank of", *(word for kind in sent[0] for word in (kind, "bytes"))]
    rows = []
    for name, p in _listed(len(sent), lambda p: sent[p]["in all"].bytes):
        rows.append([name, *(f"{n:,}" for traffic in sent[p].values() for n in astuple(traffic))])
    if len(sent) > len(rows):
        sums = [sum(astuple(one[kind])[i] for one in sent) for kind in sent[0] for i in (0, 1)]
        rows.append([f"all {len(sent)} partitions together", *(f"{n:,}" for n in sums)])
    title = f"Boundary messages that a rank sends for one minibatch of {config.train.minibatch}"
    return f"{title}\n\n{_table(header, rows)}"


def crossings(
    config: Config, partitioning: Partitioning, data: "Description", partition: int
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
            of_model, of_partition = _range(base + first, base + last), _range(first, last)
            size = f"{(last - first) * item:,}"
            rows.append(
                [str(shard), str(rank), of_model, str(partition), of_partition, str(len(pieces)), size]
            )
        if not owned:
            rows.append([str(shard), str(rank), "nothing", "-", "-", "0", "0"])
    return "Shard map\n\n" + _table(header, rows)


def _range(start: int, stop: int) -> str:
    return f"[{start:,}, {stop:,})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Align columns: the first `left` at their left, the others at their right."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _shape(shape: Shape) -> str:
    return " x ".join(f"{extent:,}" for extent in shape)


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}" + "s" * (len(things) != 1)


def _spans(ranks: Sequence[int]) -> str:
    """Write ranks as spans: `2-5, 9`."""
    spans: list[list[int]] = []
    for rank in ranks:
        if spans and rank == spans[-1][1] + 1:
            spans[-1][1] = rank
        else:
            spans.append([rank, rank])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _bytes(number: int) -> str:
    """Write a number of bytes with three digits: `38.4 kB`."""
    value, unit = float(number), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {UNITS[unit]}" if number else "-"
