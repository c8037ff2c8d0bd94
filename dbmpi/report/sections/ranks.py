"""Where the ranks of the last job were: roles, nodes, cores, and what travels between partitions. Pure."""

from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.logs.records import number, whole
from dbmpi.report import numbers
from dbmpi.report.blocks import Block, Cell, Map, Matrix, Note, Place, Section, Table
from dbmpi.report.subject import Rank, Subject
from dbmpi.text import several

KEYS = (
    ("coordinator", "coordinator"),
    ("shard", "shard"),
    ("replica", "replica"),
    ("serial", "all roles in one"),
    ("spare", "left over"),
    ("other", "other"),
)
MOST = 4096
MOST_SIDE = 128  # rows and columns of a matrix of traffic


def section(subject: Subject) -> Section | None:
    """Return the map of ranks; None where run.json does not tell."""
    ranks = subject.ranks[:MOST]
    if not ranks:
        return None
    by_node: dict[tuple[int, str], list[Rank]] = {}
    for rank in ranks:
        by_node.setdefault((rank.node_number, rank.node or "a node without a name"), []).append(rank)
    kinds = {rank.kind for rank in ranks}
    nodes = [
        (f"{node}: {_having(subject, node, there)}", [_place(r) for r in there])
        for (_, node), there in by_node.items()
    ]
    left = f", the first {MOST}" if len(subject.ranks) > MOST else ""
    caption = f"{several(len(subject.ranks), 'rank')}{left}, on {several(len(by_node), 'node')}"
    rows: list[list[Cell]] = [
        [str(r.rank), r.role, r.node, r.cores, float(r.threads) if r.threads else None] for r in ranks
    ]
    table = Table("Ranks one by one", ["rank", "role", "node", "cores", "threads"], rows, folded=True)
    return Section(
        "ranks",
        "Ranks",
        [Map(caption, nodes, [key for key in KEYS if key[0] in kinds]), table],
        _equation(subject),
    )


def _equation(subject: Subject) -> str:
    told = subject.run.described.get("equation")
    return told[:200] if isinstance(told, str) else ""


def _having(subject: Subject, node: str, ranks: list[Rank]) -> str:
    said = several(len(ranks), "rank")
    told = subject.run.described.get("nodes")
    for one in told if isinstance(told, list) else []:
        if isinstance(one, dict) and one.get("host") == node and whole(one.get("cores")) > 0:
            said += f" on {several(whole(one['cores']), 'core')}"
    return said


def _place(rank: Rank) -> Place:
    short = {"coordinator": "co", "serial": "all", "spare": "–", "other": "?"}.get(rank.kind, "")
    if rank.kind == "shard":
        short = f"s{rank.shard}"
    elif rank.kind == "replica":
        short = f"r{rank.replica}" + (f".{rank.partition}" if rank.partition >= 0 else "")
    about = [
        rank.role or "no role",
        f"cores {rank.cores}" if rank.cores else "",
        several(rank.threads, "thread") if rank.threads else "",
    ]
    return Place(rank.rank, rank.kind, short, ", ".join(one for one in about if one))


def traffic(subject: Subject) -> Section | None:
    """Return what travels for an example between partitions, and their parts of the shards."""
    told = subject.run.described.get("traffic")
    said = told if isinstance(told, dict) else {}
    between = _matrix(said.get("boundary_bytes_per_example"))
    held = _matrix(said.get("shard_bytes"))
    blocks: list[Block] = []
    if between is not None and len(between) > 1 and between.sum() > 0:
        names = [f"partition {i}" for i in range(len(between))]
        blocks.append(
            Matrix(
                "Bytes from partition to partition, of one example",
                between,
                names,
                [f"partition {i}" for i in range(between.shape[1])],
                "from",
                "to",
                "from {row} to {column}: {value} bytes of each example",
                _total(subject),
            )
        )
    if held is not None and held.size > 1 and held.sum() > 0:
        names = [f"partition {i}" for i in range(len(held))]
        shards = [f"shard {i}" for i in range(held.shape[1])]
        reading = "{row} has {value} bytes on {column}"
        blocks.append(
            Matrix(
                "Bytes of parameters that a fetch brings, and a push takes",
                held,
                names,
                shards,
                "partition",
                "shard",
                reading,
            )
        )
    if not blocks and subject.summed("boundary_bytes") > 0:
        blocks.append(
            Note(_total(subject) + " How much from which to which partition is recorded from version 2 on.")
        )
    return Section("traffic", "Traffic", blocks) if blocks else None


def _matrix(value: Any) -> Array | None:
    """Return a list of lists as a matrix; None where it is none."""
    if not isinstance(value, list) or not value or not all(isinstance(row, list) for row in value):
        return None
    rows = [[number(one, 0.0) for one in row[:MOST_SIDE]] for row in value[:MOST_SIDE]]
    return np.array(rows) if len({len(row) for row in rows}) == 1 and rows[0] else None


def _total(subject: Subject) -> str:
    sent = subject.summed("boundary_bytes")
    if not sent > 0:
        return ""
    count = numbers.short(subject.summed("boundary_messages"))
    return f"All partitions together sent one another {numbers.size(sent)} in {count} messages."
