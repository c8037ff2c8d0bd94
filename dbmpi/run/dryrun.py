"""What `--dry-run` prints: who would do what, what it takes, and what crosses the boundaries.

The figures are those of `run.memory`; MPI is not needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, fields
from itertools import groupby
from typing import TYPE_CHECKING

from dbmpi.config.schema import MOST_RANKS
from dbmpi.config.sections import Config
from dbmpi.errors import UserError
from dbmpi.layout import sharding
from dbmpi.layout.network import IMAGE, Shape
from dbmpi.layout.topology import Topology
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
    outline = MemoryReport(config, number, data)
    sections = [
        _heading(outline, why),
        _layers(outline),
        _roles(outline.topology),
        _memory(outline),
        _traffic(outline),
        _shard_map(outline),
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
            f"{needed} ranks = 1 + {shards} shards + {replicas} replicas x {partitions} partitions"
            f" are more than {MOST_RANKS}: lower cluster.shards, cluster.replicas or cluster.partitions"
        )
    if shards and replicas and partitions:
        return needed, ""
    return ASSUMED_RANKS, f" (--ranks gives another number than {ASSUMED_RANKS})"


def _heading(outline: MemoryReport, why: str) -> str:
    net, config, data = outline.network, outline.config, outline.data
    size = f"{net.parameters:,} parameters in {config.model.dtype}, {_bytes(net.parameters * outline.item)}"
    return "\n".join(
        [
            outline.topology.equation() + why,
            f"data: {data.path}, {data.train_rows:,} training and {data.test_rows:,} test examples",
            f"network: {_shape(net.input)} inputs, {_count(net.layers, 'layer')}, {net.loss} loss: {size}",
        ]
    )


def _layers(outline: MemoryReport) -> str:
    header = ["layer", "", "output", "units", "parameters"]
    rows = [
        [
            str(layer.index),
            str(layer.spec),
            _shape(layer.output),
            f"{layer.units:,}",
            f"{sum(tensor.size for tensor in (layer.weight, layer.bias) if tensor is not None):,}",
        ]
        for layer in outline.network.layers
    ]
    images = any(len(space) == IMAGE for space in outline.network.spaces[1:])
    tiles = f" (images are cut into {_shape(outline.partitioning.grid)} tiles)" if images else ""
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


def _memory(outline: MemoryReport) -> str:
    each = [("all", 1, outline.network.parameters, outline.of_serial())]
    if not outline.topology.serial:
        each = [("coordinator", 1, 0, Memory()), *_shard_memory(outline), *_partition_memory(outline)]
    header = ["each rank of", "ranks", "owns", *(f.name.replace("_", " ") for f in fields(Memory)), "total"]
    rows = [
        [role, str(count), f"{size:,}", *map(_bytes, astuple(memory)), _bytes(memory.total)]
        for role, count, size, memory in each
    ]
    title = "Parameters and memory (Python and its libraries take some 120 MB more in each)\n\n"
    return title + _table(header, rows) + _mirrors(outline)


def _mirrors(outline: MemoryReport) -> str:
    if len(outline.topology.shards) < 2 or not outline.config.checkpoint.mirror_s:
        return ""
    return (
        "\n\nWhere ranks may die (mpirun --with-ft ulfm) each shard takes up to "
        f"{_bytes(outline.mirrors())} more, for its mirrors."
    )


def _shard_memory(outline: MemoryReport) -> list[tuple[str, int, int, Memory]]:
    owned = [
        sum(piece.size for piece in sharding.of_shard(outline.pieces, shard))
        for shard in range(len(outline.topology.shards))
    ]
    return [(f"shard {shard}", 1, size, outline.of_shard(shard)) for shard, size in enumerate(owned)]


def _partition_memory(outline: MemoryReport) -> list[tuple[str, int, int, Memory]]:
    memories = [outline.of_partition(p) for p in range(outline.partitioning.partitions)]
    ranks = len(outline.topology.replicas)
    return [
        (name, ranks, outline.partitioning.sizes[p], memories[p])
        for name, p in _listed(outline.partitioning.partitions, lambda p: memories[p].total)
    ]


def _listed(partitions: int, size: Callable[[int], int]) -> list[tuple[str, int]]:
    """Return the partitions to list, named: all of them, or of many the largest and the smallest."""
    everyone = range(partitions)
    if partitions <= MOST_ROWS:
        return [(f"partition {p}", p) for p in everyone]
    most, least = max(everyone, key=size), min(everyone, key=size)
    return [(f"partition {most} (most of {partitions})", most), (f"partition {least} (least)", least)]


def _traffic(outline: MemoryReport) -> str:
    sent = [outline.crossings(p) for p in range(outline.partitioning.partitions)]
    header = ["a rank of", *(word for kind in sent[0] for word in (kind, "bytes"))]
    rows = []
    for name, p in _listed(len(sent), lambda p: sent[p]["in all"].bytes):
        rows.append([name, *(f"{n:,}" for traffic in sent[p].values() for n in astuple(traffic))])
    if len(sent) > len(rows):
        sums = [sum(astuple(one[kind])[i] for one in sent) for kind in sent[0] for i in (0, 1)]
        rows.append([f"all {len(sent)} partitions together", *(f"{n:,}" for n in sums)])
    title = f"Boundary messages that a rank sends for one minibatch of {outline.config.train.minibatch}"
    return f"{title}\n\n{_table(header, rows)}"


def _shard_map(outline: MemoryReport) -> str:
    bases = [sum(outline.partitioning.sizes[:p]) for p in range(outline.partitioning.partitions)]
    header = ["shard", "rank", "of the model's vector", "partition", "of its vector", "pieces", "bytes"]
    rows = []
    for shard, rank in enumerate(outline.topology.shards):
        owned = groupby(sharding.of_shard(outline.pieces, shard), lambda piece: piece.partition)
        for partition, group in owned:
            pieces = list(group)
            first, last, base = pieces[0].start, pieces[-1].stop, bases[partition]
            of_model, of_partition = _range(base + first, base + last), _range(first, last)
            size = f"{(last - first) * outline.item:,}"
            rows.append(
                [str(shard), str(rank), of_model, str(partition), of_partition, str(len(pieces)), size]
            )
        if not sharding.of_shard(outline.pieces, shard):
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
