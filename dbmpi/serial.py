"""Training in one process: coordinator, shard and replica without messages, by the same code."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi import coordinatorrole, replicarole, shardrole
from dbmpi.activity import Activity
from dbmpi.blueprint import Blueprint
from dbmpi.locallink import LocalLink
from dbmpi.manifest import Written
from dbmpi.metrics import Book
from dbmpi.protocol import URGENT
from dbmpi.replica import Replica
from dbmpi.shard import Shard
from dbmpi.sharding import Owners
from dbmpi.snapshot import Saver
from dbmpi.stopping import Stopping

Record = NDArray[Any]


class Tray:
    """The mail of one process: assignments wait here until they are done; verdicts do not wait."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.waiting: deque[Record] = deque()

    def send(self, replica: int, assignment: Record) -> None:
        """See `roster.Mail`."""
        if assignment["work"] in URGENT:
            self.replica.heed(assignment)
        else:
            self.waiting.append(assignment)
            self.replica.prepare(assignment)


class Household:
    """The cluster of one process, and its shards. See `sandblaster.Cluster` and `sandblaster.Shards`."""

    mirrors, mortal = None, False

    def __init__(self, blueprint: Blueprint, shard: Shard, tray: Tray, book: Book) -> None:
        self._every_s = blueprint.config.output.shard_every_s
        self._shard, self._tray, self._book = shard, tray, book
        self._next_report = 0.0
        self._saver = Saver(blueprint.setup.run_dir, 0)
        self.owners = Owners(1)
        self._written: Callable[[Written], None] = lambda written: None

    @property
    def shards(self) -> "Household":
        """Itself."""
        return self

    def drive(self, activity: Activity) -> None:
        """Start an activity, and do its orders until it is finished."""
        activity.start()
        while not activity.finished:
            for report in self._tray.replica.take_pushed():
                activity.receive(report)
            if self._tray.waiting:
                activity.receive(self._tray.replica.perform(self._tray.waiting.popleft()))
            activity.tick()
            if self._book.elapsed_s >= self._next_report:
                self._book.shard(self._shard.report())
                self._next_report = self._book.elapsed_s + self._every_s

            self._take_written()

    def snapshot(
        self, number: int, vectors: Sequence[int] | None, written: Callable[[Written], None]
    ) -> None:
        """See `keeper.Copying.snapshot`."""
        self._written = written
        self._book.shard(self._shard.report())
        self._saver.begin(number, self._shard.snapshot(vectors))

    def await_files(self) -> None:
        """See `keeper.Copying.await_files`."""
        self._saver.join()
        self._take_written()

    def bequeath(self, will: bytes) -> None:
        """See `keeper.Copying.bequeath`: there is nobody."""

    def _take_written(self) -> None:
        written = self._saver.take_written()
        if written is not None:
            self._written(written)

    def operate(self, records: Record) -> NDArray[np.float64]:
        """Perform vector operations."""
        return self._shard.operate(records)


def run(blueprint: Blueprint, book: Book) -> Stopping:
    """Train, evaluate and save in this process; return why it ended."""
    shard, link = _parameters(blueprint)
    replica = replicarole.replica(blueprint, (0, 0), link, None, lambda: None)
    tray = Tray(replica)
    cluster = Household(blueprint, shard, tray, book)
    stopping = coordinatorrole.coordinate(blueprint, cluster, tray, book, lambda r, p: "this process")
    _report_last(shard, book)
    if not stopping.hasty:
        shardrole.save_model(blueprint, lambda piece: shard.held[piece.index].value)
    replica.close()
    return stopping


def _parameters(blueprint: Blueprint) -> tuple[Shard, LocalLink]:
    """Make the shard; the replica computes on its parameters themselves where it may."""
    shard, values = shardrole.shard(blueprint, 0)
    settings = blueprint.config.downpour
    shared = (settings.waits and settings.n_fetch == 1) or not blueprint.config.uses_downpour
    return shard, LocalLink(shard, blueprint.pieces, values, shared)


def _report_last(shard: Shard, book: Book) -> None:
    record = shard.report()
    record["last"], record["clients"] = True, 1
    book.shard(record)
