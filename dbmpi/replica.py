"""One partition of a model replica at work: assignments in, reports out."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.assignments import portion_of
from dbmpi.downpour import Downpour
from dbmpi.feed import Feed
from dbmpi.loss import Score
from dbmpi.model import PartitionModel
from dbmpi.protocol import REPORT, Work
from dbmpi.waiting import Waiter

Record = NDArray[Any]


class Replica:
    """Carries out assignments, in step with the other partitions, which get the same ones.

    Parameters
    ----------
    replica_index, partition_index
        Who this is.
    model, client, feed
        What computes, what exchanges parameters and gradients, what reads.
    waiter
        Counts the time spent waiting.
    between
        Called between minibatches, with the work at hand: to look for the next assignment, and to
        give a sign of life.
    width
        Examples evaluated at a time (`evaluation.minibatch`).
    """

    def __init__(
        self,
        replica_index: int,
        partition_index: int,
        model: PartitionModel,
        client: Downpour,
        feed: Feed,
        waiter: Waiter,
        between: Callable[[], None],
        width: int,
    ) -> None:
        self._who = replica_index, partition_index
        self._model, self._client, self._feed = model, client, feed
        self._waiter, self._between, self._width = waiter, between, width
        self._fetched = False
        self._counted = np.zeros(3, np.int64)

    def prepare(self, assignment: Record) -> None:
        """Begin to read what an assignment will need, as soon as it is known."""
        if assignment["work"] == Work.TRAIN:
            self._feed.prepare(portion_of(assignment))

    def perform(self, assignment: Record) -> Record:
        """Do what an assignment orders, and return the `REPORT`, `()`."""
        start = time.monotonic()
        self._waiter.take_waited()
        report = np.zeros((), REPORT)
        work = Work(int(assignment["work"]))
        # A run that diverges is found by its loss; numpy's warnings would only bury that message.
        with np.errstate(over="ignore", invalid="ignore"):
            self._do(work, assignment, report)
        self._sign(report, work, time.monotonic() - start)
        return report

    def _do(self, work: Work, assignment: Record, report: Record) -> None:
        if work is Work.TRAIN:
            self._train(assignment, report)
        elif work is Work.EVALUATE:
            self._evaluate(assignment, report)
        elif work is Work.FLUSH:
            self._client.flush(int(assignment["examples"]))

    def _train(self, assignment: Record, report: Record) -> None:
        if not self._fetched:
            self._client.fetch()
            self._fetched = True
        examples, score = int(assignment["examples"]), Score(0.0, 0)
        for width, targets in self._feed.train():
            score += self._client.step(width, targets, examples + int(report["examples"]))
            report["steps"] += 1
            report["examples"] += width
            self._between()
        report["loss_sum"], report["correct"] = score

    def _evaluate(self, assignment: Record, report: Record) -> None:
        """Score held-out rows on parameters fetched now."""
        self._client.fetch()
        self._fetched = True
        score = Score(0.0, 0)
        start, stop = int(assignment["start"]), int(assignment["stop"])
        for width, targets in self._feed.evaluation(start, stop, self._width):
            score += self._model.evaluate(self._client.theta, width, targets)
            report["examples"] += width
            self._between()
        report["loss_sum"], report["correct"] = score

    def _sign(self, report: Record, work: Work, busy_s: float) -> None:
        report["work"] = work
        report["replica"], report["partition"] = self._who
        report["busy_s"], report["wait_s"] = busy_s, self._waiter.take_waited()
        sent = self._model.take_sent()
        report["boundary_messages"], report["boundary_bytes"] = sent.messages, sent.bytes
        counts = np.array([self._client.pushes, self._client.fetches, self._client.refused])
        report["pushes"], report["fetches"], report["refused"] = counts - self._counted
        self._counted = counts

    def alive(self) -> Record:
        """Return the `REPORT` that says no more than that this partition lives."""
        report = np.zeros((), REPORT)
        report["work"] = Work.ALIVE
        report["replica"], report["partition"] = self._who
        return report

    def close(self) -> None:
        """End the reading thread, close the files, free the requests. Local."""
        self._feed.close()
        self._model.free()
