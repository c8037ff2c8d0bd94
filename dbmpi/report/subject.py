"""A run as the sections of the page see it: who was there, and where its records lie on each axis. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.logs.records import Records, number, whole
from dbmpi.logs.run import RunLog
from dbmpi.report.blocks import Column, Frame, Style
from dbmpi.text import plain

LONGEST_NAME = 60


@dataclass(frozen=True)
class Rank:
    """A rank as run.json has it; numbers that do not apply are -1."""

    rank: int
    role: str
    kind: str
    shard: int = -1
    replica: int = -1
    partition: int = -1
    node: str = ""
    node_number: int = -1
    cores: str = ""
    threads: int = 0


@dataclass(frozen=True)
class Subject:
    """A run: what it has left, its number among those of the page, and its name there."""

    run: RunLog
    number: int = 0
    alias: str = ""

    @property
    def name(self) -> str:
        """What the page calls it: short, printable, and no other run's name."""
        return self.alias or plain(self.run.name, LONGEST_NAME)

    @property
    def batch(self) -> bool:
        """Whether it was trained by a batch method."""
        return bool(len(self.run.records("iteration")))

    @cached_property
    def ranks(self) -> list[Rank]:
        """The ranks of its last job; none where run.json does not tell."""
        said = self.run.described.get("ranks")
        listed = said if isinstance(said, list) else []
        return [_rank(one, i) for i, one in enumerate(listed) if isinstance(one, dict)]

    @property
    def replicas(self) -> int:
        """Number of its replicas; 1 where that is not known, as of serial training."""
        told = whole(self.run.jobs[-1].began.get("replicas"), 0) if self.run.jobs else 0
        return max(1, told or len({one.replica for one in self.ranks if one.replica >= 0}))

    @property
    def partitions(self) -> int:
        """Number of the partitions of each replica."""
        return max(1, 1 + max((one.partition for one in self.ranks), default=0))

    def summed(self, name: str) -> float:
        """Return a number of the summary of the last job; not a number where there is none."""
        return number(self.run.result.get(name))

    def table(self, name: str) -> Mapping[str, Any]:
        """Return an object of the summary of the last job; an empty one where there is none."""
        found = self.run.result.get(name)
        return found if isinstance(found, dict) else {}

    def axes(self, records: Records) -> dict[str, Array]:
        """Return where records are on each axis of the page, `(n,)` each; updates only if they are known;
        of a batch method, iterations."""
        time_s = records.column("time_s")
        found = {"time": time_s, "life": records.life_s}
        found |= {"examples": records.column("examples"), "minibatches": records.column("step")}
        if self._updates is not None:
            found["iterations" if self.batch else "updates"] = np.interp(time_s, *self._updates)
        return found

    def frame(self, records: Records, columns: Sequence[Column]) -> Frame:
        """Return curves of some records."""
        return Frame(self.axes(records), columns, records.jobs)

    def frames(
        self, records: Records, fields: Mapping[str, str], colour: int, style: Style = "line"
    ) -> list[Frame]:
        """Return the curves of fields of records, by what each is called; what was done again is faded.

        A field that no record has is left out.
        """
        parts = ((records.valid, style), (records.done_again, "faded"))
        return [frame for part, drawn in parts for frame in self._frame_of(part, fields, colour, drawn)]

    def _frame_of(self, records: Records, fields: Mapping[str, str], colour: int, style: Any) -> list[Frame]:
        again = ", done again" if style == "faded" else ""
        found = [(called + again, records.column(field)) for field, called in fields.items()]
        columns = [
            Column(called, values, colour + i, style)
            for i, (called, values) in enumerate(found)
            if np.isfinite(values).any()
        ]
        return [self.frame(records, columns)] if columns else []

    @cached_property
    def _updates(self) -> tuple[Array, Array] | None:
        """Return times, and how many updates the model had had by then: of iterations, where those count."""
        if self.batch:
            iterations = self.run.records("iteration").valid
            return _ascending(iterations.column("time_s"), iterations.column("iteration"))
        shards = self.run.records("shard").valid
        pieces = self._pieces(shards)
        if not pieces:
            return None
        time_s, gained = shards.column("time_s"), gains(shards, shards.column("updates"))
        order = np.argsort(time_s, kind="stable")
        return _ascending(time_s[order], np.cumsum(gained[order]) / pieces)

    def _pieces(self, shards: Records) -> float:
        """Return how many pieces the model has, each of which counts its updates; 0 where none is known."""
        total, told = float(gains(shards, shards.column("updates")).sum()), self.summed("updates")
        if not total > 0:
            return 0.0
        if self.run.jobs and self.run.jobs[-1].ended and told > 0:
            return total / told
        clients = shards.column("clients")
        least: dict[float, float] = {}
        for shard, count in zip(shards.column("shard").tolist(), clients.tolist(), strict=True):
            if count > 0:
                least[shard] = min(count, least.get(shard, count))
        return max(1.0, sum(least.values()) / self.replicas)


def gains(records: Records, values: Array) -> Array:
    """Return how much a counter `(n,)` of each shard has grown since the shard's record before, `(n,)`.

    It begins at 0 in each job, and again where a shard takes over from another.
    """
    before: dict[tuple[float, int], float] = {}
    grown = np.zeros(len(records))
    columns = records.column("shard").tolist(), records.jobs.tolist(), values.tolist()
    for i, (shard, job, value) in enumerate(zip(*columns, strict=True)):
        if value != value:  # not a number
            continue
        last = before.get((shard, job), 0.0)
        grown[i] = value - last if value >= last else value
        before[shard, job] = value
    return grown


def _ascending(x: Array, y: Array) -> tuple[Array, Array] | None:
    """Return points for interpolation; None without any."""
    there = np.isfinite(x) & np.isfinite(y)
    if not there.any():
        return None
    order = np.argsort(x[there], kind="stable")
    return x[there][order], np.maximum.accumulate(y[there][order])


def _rank(said: Mapping[str, Any], index: int) -> Rank:
    role = plain(str(said.get("role", "")), LONGEST_NAME)
    found = re.fullmatch(r"(shard|replica) (\d{1,9})(?: partition (\d{1,9}))?", role)
    kind = found[1] if found else role if role in ("coordinator", "spare", "serial") else "other"
    first = int(found[2]) if found else -1
    return Rank(
        whole(said.get("rank"), index),
        role,
        kind,
        shard=first if kind == "shard" else -1,
        replica=first if kind == "replica" else -1,
        partition=int(found[3] or 0) if found and kind == "replica" else -1,
        node=plain(str(said.get("host", "")), LONGEST_NAME),
        node_number=whole(said.get("node")),
        cores=plain(str(said.get("cores", "")), LONGEST_NAME),
        threads=whole(said.get("threads"), 0),
    )


def named(runs: Sequence[RunLog]) -> list[Subject]:
    """Return the runs of a page, each with a name of its own."""
    names = [plain(run.name, LONGEST_NAME) for run in runs]
    seen: dict[str, int] = {}
    subjects = []
    for i, (run, name) in enumerate(zip(runs, names, strict=True)):
        seen[name] = seen.get(name, 0) + 1
        alias = name if names.count(name) == 1 else f"{name} ({seen[name]})"
        subjects.append(Subject(run, i, alias))
    return subjects
