"""What the records of a rank look like: slices in rows, arrows between them, counters. Pure.

A rank has a row in which slices lie within one another, as one thing is done within another; what goes on
beside that, exchanges with shards and files, has rows of its own, as many as overlap.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from dbmpi.arrays import Record
from dbmpi.spans import LAYOUT, Kind

BLOCK = 8192  # records that become Python objects at a time
UNFETCHED = 64  # pushes of a piece that wait for the fetch that brings them, at most
FETCH, PUSH, ACCRUE = 1, 2, 4  # of `comm.protocol.Op`
BESIDE = {Kind.EXCHANGE: "exchanges", Kind.FILE: "files", Kind.CHECKPOINT: "checkpoints"}
_HASH = (1 << 63) - 1
KIND, DETAIL, PEER, _, _, PIECE, SERIAL, _, _ = range(len(LAYOUT))


class Row(NamedTuple):
    """A row of a rank: "" is what it does, another name what goes on beside that, in `lane` of several."""

    beside: str = ""
    lane: int = 0


class Slice(NamedTuple):
    """A slice of a row, in nanoseconds since the trace begins.

    `begins`, `passes` and `ends` are the arrows that begin at it, go on from it and end at it; `counter` is a
    value to be drawn.
    """

    row: Row
    start: int
    stop: int
    name: str
    about: Mapping[str, int]
    begins: tuple[int, ...] = ()
    passes: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    counter: int | None = None


@dataclass(frozen=True)
class Names:
    """What numbers in the records of a rank stand for."""

    causes: Mapping[int, str]
    works: Mapping[int, str]
    commands: Mapping[int, str]


def slices(records: Record, rank: int, names: Names, origin_s: float) -> Iterator[Slice]:
    """Yield the slices of a rank, those of each row in the order of their starts, the outer ones first.

    Parameters
    ----------
    records : (n,)
        As `files.RankFile.read` returns them.
    rank
        Whose they are.
    origin_s
        When the trace begins.
    """
    order = np.lexsort((-records["stop"], records["start"]))
    rows, arrows, numbers = _Rows(), _Arrows(rank), count()
    late: list[tuple[int, int, Slice]] = []  # arrivals of parameters, later than what comes next
    for at in range(0, len(order), BLOCK):
        block = records[order[at : at + BLOCK]]
        starts, stops = (
            np.rint((block[name] - origin_s) * 1e9).astype(np.int64).clip(min=0).tolist()
            for name in ("start", "stop")
        )
        for fields, start, stop in zip(block.tolist(), starts, stops, strict=True):
            while late and late[0][0] < start:
                yield rows.placed(heappop(late)[2], None)
            made = _slice(fields, start, stop, names, arrows)
            if fields[KIND] == Kind.EXCHANGE and fields[DETAIL] & FETCH:
                arrival = arrows.arrival(fields, stop)
                heappush(late, (stop, next(numbers), arrival))
            yield rows.placed(made, BESIDE.get(fields[KIND]))
    while late:
        yield rows.placed(heappop(late)[2], None)


def _slice(fields: tuple[Any, ...], start: int, stop: int, names: Names, arrows: "_Arrows") -> Slice:
    """Return the slice of one record, not yet in a row."""
    kind, detail, peer, _, _, piece, _, version, value = fields
    row = Row()
    if kind in (Kind.WORK, Kind.URGENT):
        return Slice(row, start, stop, names.works.get(detail, "work"), {"examples": value, "portion": piece})
    if kind in (Kind.FORWARD, Kind.BACKWARD):
        name = "forward" if kind == Kind.FORWARD else "backward"
        return Slice(row, start, stop, name, {"examples": value})
    if kind == Kind.WAIT:
        return Slice(row, start, stop, f"wait: {names.causes.get(value, '?')}", {})
    if kind == Kind.EXCHANGE:
        about = {"shard at rank": peer, "piece": piece}
        return Slice(row, start, stop, _asked(detail), about, arrows.begun(fields))
    if kind == Kind.SERVE:
        about = {"for rank": peer, "piece": piece, "version": version, "staleness": value}
        counter = value if detail & PUSH else None
        passes = arrows.served(fields)
        return Slice(row, start, stop, _served(detail), about, passes=passes, counter=counter)
    if kind == Kind.LOCAL:
        return Slice(row, start, stop, _served(value), {})
    if kind == Kind.ROUND:
        return Slice(row, start, stop, "step of a round", {"piece": piece, "version": version})
    if kind == Kind.COMMAND:
        return Slice(row, start, stop, f"command: {names.commands.get(detail, '?')}", {"count": value})
    if kind == Kind.REPORT:
        return Slice(row, start, stop, f"report: {names.works.get(detail, '?')}", {"replica": peer})
    name = {Kind.FILE: "file of a checkpoint", Kind.CHECKPOINT: "checkpoint"}.get(kind, "?")
    return Slice(row, start, stop, name, {"checkpoint": value})


def _asked(op: int) -> str:
    """Return what a partition asks a shard for."""
    asked = [word for bit, word in ((PUSH, "push"), (ACCRUE, "push"), (FETCH, "fetch")) if op & bit]
    return " and ".join(asked) or "close"


def _served(op: int) -> str:
    """Return what a shard does about it."""
    done = [word for bit, word in ((PUSH, "apply"), (ACCRUE, "add up"), (FETCH, "send")) if op & bit]
    return " and ".join(done) or "close"


class _Rows:
    """Puts slices into rows, so that in each they lie within one another or apart."""

    def __init__(self) -> None:
        self._open: list[int] = []  # ends of the slices of the rank's own row that are open
        self._lanes: dict[str, list[tuple[int, int]]] = {}  # ends and numbers of lanes

    def placed(self, one: Slice, beside: str | None) -> Slice:
        """Return a slice in its row; one that would end after that which it begins in is cut there."""
        if beside is not None:
            return one._replace(row=Row(beside, self._lane(beside, one)))
        while self._open and self._open[-1] <= one.start:
            self._open.pop()
        stop = min(one.stop, self._open[-1]) if self._open else one.stop
        if stop > one.start:
            self._open.append(stop)
        return one._replace(stop=stop)

    def _lane(self, beside: str, one: Slice) -> int:
        lanes = self._lanes.setdefault(beside, [])
        lane = heappop(lanes)[1] if lanes and lanes[0][0] <= one.start else len(lanes)
        heappush(lanes, (one.stop, lane))
        return lane


class _Arrows:
    """Numbers the arrows from a push to the shard that applies it, and to the fetch that brings it."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._unfetched: dict[int, deque[int]] = {}  # by piece

    def begun(self, fields: tuple[Any, ...]) -> tuple[int, ...]:
        """Return the arrow that begins at an exchange; one that only pushes waits for the next fetch."""
        arrow = self._of(self._rank, fields[PEER], fields)
        if not fields[DETAIL] & FETCH:
            self._unfetched.setdefault(fields[PIECE], deque(maxlen=UNFETCHED)).append(arrow)
        return (arrow,)

    def served(self, fields: tuple[Any, ...]) -> tuple[int, ...]:
        """Return the arrow that passes where a shard serves a request."""
        return (self._of(fields[PEER], self._rank, fields),)

    def arrival(self, fields: tuple[Any, ...], stop: int) -> Slice:
        """Return the moment at which an exchange has brought parameters, where its arrows end."""
        waiting = self._unfetched.pop(fields[PIECE], ())
        ends = (*waiting, self._of(self._rank, fields[PEER], fields))
        return Slice(Row(), stop, stop, "fetched", {"piece": fields[PIECE]}, ends=ends)

    def _of(self, client: int, shard: int, fields: tuple[Any, ...]) -> int:
        """Return the number of an arrow: of whole numbers Python's hash is the same in every process."""
        return 1 + (hash((client, shard, fields[PIECE], fields[SERIAL])) & _HASH) % _HASH
