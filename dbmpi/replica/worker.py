"""One partition of a model replica at work: assignments in, reports out."""

import time
from collections.abc import Callable

import numpy as np

from dbmpi.arrays import Record
from dbmpi.comm.assignments import portion_of
from dbmpi.comm.protocol import REPORT, Work
from dbmpi.comm.wait import Waiter
from dbmpi.model.losses import Score
from dbmpi.model.partition import PartitionModel
from dbmpi.replica.downpour import Downpour
from dbmpi.replica.loader import Loader
from dbmpi.replica.sandblaster import SandblasterClient


class Retired(Exception):
    """The replica has lost a rank, and leaves."""


class Replica:
    """Carries out assignments, in step with the other partitions, which get the same ones.

    Parameters
    ----------
    replica_index, partition_index
        Who this is.
    model, feed
        What computes, and what reads.
    downpour, gradients
        The clients of the two algorithms; None for one that the run does not use. A warmstart by
        Downpour ends with the first portion of a batch, and its client goes.
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
        loader: Loader,
        downpour: Downpour | None,
        gradients: SandblasterClient | None,
        waiter: Waiter,
        on_minibatch: Callable[[], None],
        width: int,
    ) -> None:
        self._who = replica_index, partition_index
        self._model, self._loader = model, loader
        self._downpour, self._gradients = downpour, gradients
        self._waiter, self._on_minibatch, self._width = waiter, on_minibatch, width
        self._learning = False
        self._counted = np.zeros(3, np.int64)

    @property
    def _algorithm(self) -> Downpour | SandblasterClient:
        """What holds the parameters now."""
        client = self._downpour or self._gradients
        assert client is not None
        return client

    def prepare(self, assignment: Record) -> None:
        """Begin to read what an assignment will need, as soon as it is known."""
        if assignment["work"] == Work.TRAIN:
            self._loader.prepare(portion_of(assignment))
        elif assignment["work"] == Work.GRADIENT and self._gradients is not None:
            self._gradients.prepare(assignment)

    def handle_urgent(self, assignment: Record) -> None:
        """Do what an urgent assignment says, between minibatches; it is not in step with the others.

        Raises
        ------
        Retired
            When it says to retire.
        """
        work = Work(int(assignment["work"]))
        if work is Work.RETIRE:
            raise Retired
        if work is Work.REROUTE:
            self._algorithm.client.reroute(int(assignment["dead"]), int(assignment["successor"]))
            return
        assert self._gradients is not None
        if work is Work.ACCEPT:
            self._gradients.accept(assignment)
        elif work is Work.DROP:
            self._gradients.drop(assignment)
        else:
            self._gradients.push(assignment)

    def take_pushed(self) -> list[Record]:
        """Return a `REPORT` for each push that the shards have acknowledged since the last call."""
        pushed = self._gradients.take_pushed() if self._gradients is not None else []
        reports = [self._blank(Work.PUSH) for _ in pushed]
        for report, assignment in zip(reports, pushed, strict=True):
            report["pass_number"] = assignment["pass_number"]
        return reports

    def perform(self, assignment: Record) -> Record:
        """Do what an assignment orders, and return the `REPORT`, `()`."""
        start = time.monotonic()
        self._waiter.take_waited()
        work = Work(int(assignment["work"]))
        report = self._blank(work)
        # A run that diverges is found by its loss; numpy's warnings would only bury that message.
        with np.errstate(over="ignore", invalid="ignore"):
            self._do(work, assignment, report)
        self._sign(report, time.monotonic() - start)
        return report

    def _do(self, work: Work, assignment: Record, report: Record) -> None:
        if work is Work.TRAIN:
            self._train(assignment, report)
        elif work is Work.EVALUATE:
            self._evaluate(assignment, report)
        elif work is Work.FLUSH and self._downpour is not None:
            self._downpour.flush(int(assignment["examples"]))
            self._learning = False
        elif work is Work.GRADIENT and self._gradients is not None:
            self._end_warmstart()
            self._gradients.compute(assignment, report)

    def _end_warmstart(self) -> None:
        """Let go of what Downpour held: several times the size of the parameters."""
        if self._downpour is not None:
            self._counted[...] = 0
            self._downpour = None

    def _train(self, assignment: Record, report: Record) -> None:
        assert self._downpour is not None
        if not self._learning:
            self._downpour.begin()
            self._learning = True
        examples, score = int(assignment["examples"]), Score(0.0, 0)
        for width, targets in self._loader.train():
            score += self._downpour.step(width, targets, examples + int(report["examples"]))
            report["steps"] += 1
            report["examples"] += width
            self._on_minibatch()
        report["loss_sum"], report["correct"] = score

    def _evaluate(self, assignment: Record, report: Record) -> None:
        """Score held-out rows on parameters fetched now."""
        self._algorithm.fetch()
        score = Score(0.0, 0)
        start, stop = int(assignment["start"]), int(assignment["stop"])
        for width, targets in self._loader.evaluation(start, stop, self._width):
            score += self._model.evaluate(self._algorithm.theta, width, targets)
            report["examples"] += width
            self._on_minibatch()
        report["loss_sum"], report["correct"] = score

    def _sign(self, report: Record, busy_s: float) -> None:
        report["busy_s"], report["wait_s"] = busy_s, self._waiter.take_waited()
        sent = self._model.take_sent()
        report["boundary_messages"], report["boundary_bytes"] = sent.messages, sent.bytes
        counts = np.array([self._algorithm.pushes, self._algorithm.fetches, self._algorithm.refused])
        report["pushes"], report["fetches"], report["refused"] = counts - self._counted
        self._counted = counts

    def alive(self) -> Record:
        """Return the `REPORT` that says no more than that this partition lives."""
        return self._blank(Work.ALIVE)

    def _blank(self, work: Work) -> Record:
        report = np.zeros((), REPORT)
        report["work"] = work
        report["replica"], report["partition"] = self._who
        return report

    def retire(self) -> None:
        """Give up all work: the replica has lost a partition. What is in flight to the shards ends first."""
        if self._algorithm.client.busy:
            self._algorithm.client.wait()
        self._loader.close()

    def close(self) -> None:
        """End the reading thread, close the files, free the requests."""
        if self._gradients is not None:
            self._gradients.close()
        self._loader.close()
        self._model.free()
