"""A trace on its way into a file, a rank at a time: memory does not grow with the ranks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from dbmpi.trace.files import Job
from dbmpi.trace.rank_file import RankFile
from dbmpi.trace.slices import Names, Slice, slices
from dbmpi.trace.table import Share, share


@dataclass(frozen=True)
class Window:
    """The time that a trace covers, in seconds by the clock of rank 0.

    From `whole_s` on nothing was dropped on any rank.
    """

    first_s: float
    whole_s: float
    last_s: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.last_s - self.first_s

    @property
    def whole_seconds(self) -> float:
        """How long that part is in which nothing is missing."""
        return max(0.0, self.last_s - self.whole_s)


class Writer(Protocol):
    """Writes a trace in one format."""

    def node(self, number: int, host: str) -> None:
        """Begin a group for the ranks of a node."""

    def rank(self, file: RankFile, made: Iterator[Slice]) -> None:
        """Write the slices of a rank, in the order of `slices`."""


def look(job: Job) -> tuple[Window, list[Share]]:
    """Read all records once: return the window, and where each rank's time went."""
    first, last, whole = math.inf, -math.inf, -math.inf
    shares = []
    for file in job.files:
        records = file.read()
        shares.append(share(file, records))
        if len(records):
            first = min(first, float(records["start"].min()))
            last = max(last, float(records["stop"].max()))
        if len(records) and file.dropped:
            whole = max(whole, float(records["stop"].min()))
    if math.isinf(first):
        return Window(0.0, 0.0, 0.0), shares
    return Window(first, max(first, whole), last), shares


def write(job: Job, window: Window, writer: Writer) -> None:
    """Write a trace, a node after another and a rank after another."""
    nodes = {file.node: file.host for file in job.files}
    for number in sorted(nodes):
        writer.node(number, nodes[number])
        for file in job.files:
            if file.node == number:
                names = Names(*(file.names(what) for what in ("causes", "works", "commands")))
                writer.rank(file, slices(file.read(), file.rank, names, window.first_s))
