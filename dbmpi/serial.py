"""Training in one process: coordinator, shard and replica without messages, by the same code."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi import roles
from dbmpi.client import LocalLink
from dbmpi.coordinator import Coordinator
from dbmpi.metrics import Book
from dbmpi.replica import Replica
from dbmpi.roles import Blueprint
from dbmpi.shard import Shard

Record = NDArray[Any]


class Tray:
    """The mail of one process: assignments wait here until they are done."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.waiting: deque[Record] = deque()

    def send(self, replica: int, assignment: Record) -> None:
        """See `coordinator.Mail`."""
        self.waiting.append(assignment)
        self.replica.prepare(assignment)


def run(blueprint: Blueprint, book: Book) -> Coordinator:
    """Train, evaluate and save in this process; return the coordinator, which knows why it ended."""
    values = np.empty(sum(blueprint.plan.sizes), blueprint.dtype)
    shard = roles.shard(blueprint, 0, values)
    settings = blueprint.config.downpour
    shared = settings.waits and settings.n_fetch == 1
    link = LocalLink(shard, blueprint.pieces, values, shared)
    replica = roles.replica(blueprint, (0, 0), link, None, lambda: None)
    tray = Tray(replica)
    coordinator = roles.coordinator(blueprint, tray, book, lambda r, p: "this process")

    next_report = 0.0
    coordinator.start()
    while not coordinator.finished:
        coordinator.receive(replica.perform(tray.waiting.popleft()))
        coordinator.tick()
        if book.elapsed_s >= next_report:
            book.shard(shard.report())
            next_report = book.elapsed_s + blueprint.config.output.shard_every_s
    _report_last(shard, book)
    roles.save_model(blueprint, lambda piece: shard.held[piece.index].value)
    replica.close()
    return coordinator


def _report_last(shard: Shard, book: Book) -> None:
    record = shard.report()
    record["last"], record["clients"] = True, 1
    book.shard(record)

