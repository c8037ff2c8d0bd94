"""What `--dry-run` prints: who would do what, what it takes, and what crosses the boundaries.

All of it follows from the configuration, the number of ranks and the shape of the data; MPI is not
needed. Shape letters: B minibatch, I inputs, P parameters.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from dbmpi import network, sharding, topology
from dbmpi.config import Config
from dbmpi.launch import resolve_overlap
from dbmpi.partition import STATS_BYTES, STATS_ROWS, Partitioning, Traffic
from dbmpi.portions import Plan
from dbmpi.topology import Topology

if TYPE_CHECKING:
    from dbmpi.data import Description

ASSUMED_RANKS = 8
ITEM_BYTES = {"float32": 4, "float64": 8, "uint8": 1}
RULE_STATES = {"sgd": 0, "momentum": 1, "adagrad": 1, "adam": 2}  # vectors that a rule keeps on its shard
SHARD_BUFFERS = 6  # of the largest piece: received, decoded, and four replies on their way
PARAMETER_COPIES = 2  # of a partition: in use, and arriving
WIRE_BYTES = 2 + 4  # of each parameter, for a 16-bit wire: the message, and the float32 rest
PORTIONS_HELD = 3  # being learned from, and read ahead
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True)
class Memory:
    """Bytes that one rank allocates, by purpose; Python and its libraries come on top."""

    parameters: int = 0
    gradients: int = 0
    rule_state: int = 0
    activations: int = 0
    messages: int = 0
    data: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(astuple(self))


class Outline:
    """A run as arithmetic: topology, network, partitions and pieces.

    Parameters
    ----------
    config, ranks, data
        As in `report`, but `ranks` is known.
    """

    def __init__(self, config: Config, ranks: int, data: "Description") -> None:
        cluster = config.cluster
        self.config, self.data = config, data
        self.item = ITEM_BYTES[config.model.dtype]
        self.topology = topology.plan(ranks, cluster.shards, cluster.replicas, cluster.partitions)
        self.network = network.build(config, data.inputs)
        self.plan = Partitioning(self.network, self.topology.partitions)
        most = sharding.MAX_PIECE_BYTES // self.item
        self.pieces = sharding.cut(self.plan.sizes, len(self.topology.shards), most)

    def of_shard(self, shard: int) -> Memory:
        """Return the memory of a shard."""
        sizes = [piece.size for piece in sharding.of_shard(self.pieces, shard)]
        values = sum(sizes) * self.item
        states = RULE_STATES[self.config.downpour.rule] * values
        return Memory(values, rule_state=states, messages=SHARD_BUFFERS * max(sizes, default=0) * self.item)

    def of_partition(self, partition: int) -> Memory:
        """Return the memory of a rank that computes a partition."""
        size = self.plan.sizes[partition]
        widths = {self.config.train.minibatch, self.config.evaluation.minibatch}
        return Memory(
            parameters=PARAMETER_COPIES * size * self.item,
            gradients=self._gradient_copies() * size * self.item,
            activations=sum(self.workspace(partition, width) for width in widths),
            messages=0 if self.config.downpour.wire == "float32" else WIRE_BYTES * size,
            data=self._portions(),
        )

    def of_serial(self) -> Memory:
        """Return the memory of the one process of serial training, whose parameters are the shard's own."""
        shard, partition = self.of_shard(0), self.of_partition(0)
        return Memory(
            parameters=shard.parameters,
            gradients=partition.gradients,
            rule_state=shard.rule_state,
            activations=partition.activations,
            data=partition.data,
        )

    def workspace(self, partition: int, width: int) -> int:
        """Return the bytes of states, derivatives and statistics for minibatches of `width` examples."""
        units = [layer.units for layer in self.network.layers]
        rows = self.network.inputs + sum(units) + sum(units[:-1])
        if self.plan.partitions > 1:
            rows += sum(stop - start for start, stop in (cuts[partition] for cuts in self.plan.units))
        rows += sum(transfer.units for transfer in self.plan.transfers if transfer.owner == partition)
        statistics = (self.plan.partitions + 1) * STATS_ROWS * STATS_BYTES
        return (rows * self.item + statistics) * width

    def _gradient_copies(self) -> int:
        """Count the gradients of a partition: accrued, on its way, and newly computed."""
        downpour = self.config.downpour
        overlap = resolve_overlap(downpour.overlap, len(self.topology.replicas), 1, 1)
        return 1 + overlap + (overlap or downpour.n_push > 1)

    def _portions(self) -> int:
        train, data = self.config.train, self.data
        replicas = len(self.topology.replicas)
        order = Plan(data.train_rows, train.minibatch, replicas, train.seed, train.portion, data.chunk_rows)
        rows = min(order.portion_rows, data.train_rows)
        return PORTIONS_HELD * rows * data.inputs * ITEM_BYTES[data.dtype]

    def crossings(self, partition: int) -> tuple[Traffic, Traffic, Traffic]:
        """Return what a partition sends per minibatch: forward, backward, and for the output's loss."""
        minibatch = self.config.train.minibatch
        row = minibatch * self.item
        forward = [t.units for t in self.plan.transfers if t.owner == partition]
        backward = [t.units for t in self.plan.transfers if t.reader == partition]
        all_of_it = self.plan.traffic(partition, minibatch, self.item, reduction=self.data.targets is None)
        loss = Traffic(
            all_of_it.messages - len(forward) - len(backward),
            all_of_it.bytes - sum(forward + backward) * row,
        )
        return Traffic(len(forward), sum(forward) * row), Traffic(len(backward), sum(backward) * row), loss


def report(config: Config, ranks: int | None, data: "Description") -> str:
    """Describe the run that a configuration would make. Local.

    Parameters
    ----------
    config
        The configuration.
    ranks
        World size N; None for as many as `[cluster]` needs if it gives all numbers, else 8.
    data
        Shape of the data (`dbmpi.data.describe`).

    Raises
    ------
    UserError
        If the ranks cannot hold what `[cluster]` asks for.
    """
    number, why = _ranks(config, ranks)
    outline = Outline(config, number, data)
    sections = [
        _heading(outline, why),
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
    if shards and replicas and partitions:
        return 1 + shards + replicas * partitions, ""
    return ASSUMED_RANKS, f" (--ranks gives another number than {ASSUMED_RANKS})"


def _heading(outline: Outline, why: str) -> str:
    net, config, data = outline.network, outline.config, outline.data
    layers = [f"{layer.spec.type} {layer.units} {layer.spec.activation}" for layer in net.layers]
    size = f"{net.parameters:,} parameters in {config.model.dtype}, {_bytes(net.parameters * outline.item)}"
    return "\n".join(
        [
            outline.topology.equation() + why,
            f"data: {data.path}, {data.train_rows:,} training and {data.test_rows:,} test examples",
            f"network: {data.inputs:,} inputs, {', '.join(layers)}, {net.loss} loss: {size}",
        ]
    )


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


def _memory(outline: Outline) -> str:
    replicas = len(outline.topology.replicas)
    if outline.topology.serial:
        each = [("all", 1, outline.network.parameters, outline.of_serial())]
    else:
        each = [("coordinator", 1, 0, Memory())]
        for shard in range(len(outline.topology.shards)):
            owned = sum(piece.size for piece in sharding.of_shard(outline.pieces, shard))
            each.append((f"shard {shard}", 1, owned, outline.of_shard(shard)))
        for partition, size in enumerate(outline.plan.sizes):
            each.append((f"partition {partition}", replicas, size, outline.of_partition(partition)))
    header = ["each rank of", "ranks", "owns", *(f.name.replace("_", " ") for f in fields(Memory)), "total"]
    rows = [
        [role, str(count), f"{size:,}", *map(_bytes, astuple(memory)), _bytes(memory.total)]
        for role, count, size, memory in each
    ]
    return "Parameters and memory (Python and its libraries take some 120 MB more in each)\n\n" + _table(
        header, rows
    )


def _traffic(outline: Outline) -> str:
    header = [
        "a rank of",
        "forward",
        "bytes",
        "backward",
        "bytes",
        "for the loss",
        "bytes",
        "in all",
        "bytes",
    ]
    rows = []
    for partition in range(outline.plan.partitions):
        parts = outline.crossings(partition)
        row = [f"partition {partition}"]
        for traffic in (*parts, sum(parts, Traffic(0, 0))):
            row += [f"{traffic.messages:,}", f"{traffic.bytes:,}"]
        rows.append(row)
    title = f"Boundary messages that a rank sends for one minibatch of {outline.config.train.minibatch}"
    return f"{title}\n\n{_table(header, rows)}"


def _shard_map(outline: Outline) -> str:
    bases = [sum(outline.plan.sizes[:p]) for p in range(outline.plan.partitions)]
    header = ["shard", "rank", "of the model's vector", "partition", "of its vector", "bytes"]
    rows = []
    for shard, rank in enumerate(outline.topology.shards):
        for piece in sharding.of_shard(outline.pieces, shard):
            base = bases[piece.partition]
            of_model = f"[{base + piece.start:,}, {base + piece.stop:,})"
            of_partition = f"[{piece.start:,}, {piece.stop:,})"
            size = f"{piece.size * outline.item:,}"
            rows.append([str(shard), str(rank), of_model, str(piece.partition), of_partition, size])
        if not sharding.of_shard(outline.pieces, shard):
            rows.append([str(shard), str(rank), "nothing", "-", "-", "0"])
    return "Shard map\n\n" + _table(header, rows)


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
