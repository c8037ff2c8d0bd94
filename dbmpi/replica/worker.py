"""One partition of a model replica at work: assignments in, reports out."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from dbmpi.arrays import Array, Record
from dbmpi.comm.protocol import REPORT, Work, scored
from dbmpi.comm.wait import Cause, Waiter
from dbmpi.model.figures import Figures
from dbmpi.model.losses import Score
from dbmpi.model.partition import PartitionModel
from dbmpi.model.tensors import Tensors
from dbmpi.replica.client import ParameterClient
from dbmpi.replica.loader import Loader
from dbmpi.screen import losses
from dbmpi.spans import Kind

Handler = Callable[[Record, Record], None]  # does what an ASSIGNMENT orders, and fills in its REPORT
UrgentHandler = Callable[[Record], None]  # does at once what an ASSIGNMENT says


class Retired(Exception):
    """The replica has lost a rank, and gives up all work."""


class AlgorithmClient(Protocol):
    """A partition's side of a training algorithm: `DownpourClient` or `SandblasterClient`.

    Attributes
    ----------
    client
        The parameter service.
    pushes, fetches, refused
        Counted from the beginning.
    """

    client: ParameterClient
    pushes: int
    fetches: int
    refused: int

    @property
    def theta(self) -> Tensors:
        """This partition's parameters, as they were fetched or learned since."""

    def handlers(self) -> Mapping[Work, Handler]:
        """Return what to do with each kind of work of this algorithm, in step with the other partitions.

        A client keeps no such table itself: it would refer to itself, and not be freed when it is let go of.
        """

    def urgent_handlers(self) -> Mapping[Work, UrgentHandler]:
        """Return what to do with each kind of urgent assignment of this algorithm."""

    def prepare(self, assignment: Record) -> None:
        """Begin to read what an assignment needs, if it is one of this algorithm."""

    def take_pushed(self) -> Iterable[Record]:
        """Return the orders to push that all shards have acknowledged since the last call."""

    def evaluated(self) -> Tensors:
        """Return the parameters that evaluations are of, as the shards have them now."""

    def close(self) -> None:
        """Wait until everything sent has left."""


class PartitionWorker:
    """Carries out assignments, in step with the other partitions, which get the same ones.

    Parameters
    ----------
    indices
        Of the replica and of the partition.
    model, loader
        What computes, and what reads.
    algorithms
        The clients of the run's algorithms in the order in which they train: a warmstart has two. With the
        first work of the second one the first ends, and what it holds is freed.
    waiter
        Counts the time spent waiting.
    on_minibatch
        Called between minibatches: it takes in assignments, and gives a sign of life.
    width
        Examples evaluated at a time (`evaluation.minibatch`).
    figures
        What is counted of them.
    read_saved
        Reads the parameters of this partition out of a checkpoint, into its vector.
    """

    def __init__(
        self,
        indices: tuple[int, int],
        model: PartitionModel,
        loader: Loader,
        algorithms: Sequence[AlgorithmClient],
        waiter: Waiter,
        on_minibatch: Callable[[], None],
        width: int,
        figures: Figures,
        read_saved: Callable[[int, Array], None] = lambda number, vector: None,
    ) -> None:
        self._indices, self._model, self._loader = indices, model, loader
        self._waiter, self._on_minibatch, self._width = waiter, on_minibatch, width
        self._figures, measures = figures, figures.measures
        self._scored = scored(measures.size), scored(measures.full_size)
        self._read_saved = read_saved
        self._use(algorithms)

    def _use(self, algorithms: Sequence[AlgorithmClient]) -> None:
        """Train by the first of some algorithms from now on, and take the work of all of them."""
        self._algorithms, self._algorithm = algorithms, algorithms[0]
        self._counted = np.zeros(3, np.int64)
        self._handlers: dict[Work, Handler] = {Work.EVALUATE: self._evaluate}
        self._urgent: dict[Work, UrgentHandler] = {Work.RETIRE: _retire, Work.REROUTE: self._reroute}
        for algorithm in algorithms:
            self._handlers |= algorithm.handlers()
            self._urgent |= algorithm.urgent_handlers()

    def prepare(self, assignment: Record) -> None:
        """Begin to read what an assignment needs, before its turn comes."""
        for algorithm in self._algorithms:
            algorithm.prepare(assignment)

    def handle_urgent(self, assignment: Record) -> None:
        """Do what an urgent assignment says, between minibatches; it is not in step with the others.

        Raises
        ------
        Retired
            When it says to retire.
        """
        work, start = Work(int(assignment["work"])), time.monotonic()
        self._urgent[work](assignment)
        self._record(Kind.URGENT, start, time.monotonic(), assignment, 0)

    def take_pushed(self) -> list[Record]:
        """Return a `REPORT` for each push that the shards have acknowledged since the last call."""
        reports = []
        for assignment in self._algorithm.take_pushed():
            reports.append(self._blank(Work.PUSH))
            reports[-1]["pass_number"] = assignment["pass_number"]
        return reports

    def perform(self, assignment: Record) -> Record:
        """Do what an assignment orders, and return the `REPORT`, `()`."""
        start, had_s = time.monotonic(), time.thread_time()
        ordered_s = self._waiter.take_waited()[0][Cause.COORDINATOR]
        work = Work(int(assignment["work"]))
        report = self._blank(work, self._layout(assignment))
        if len(self._algorithms) > 1 and work in self._algorithms[1].handlers():
            self._use(self._algorithms[1:])
        # A run that diverges is found by its loss; numpy's warnings would only hide that message.
        with np.errstate(over="ignore", invalid="ignore"):
            self._handlers[work](assignment, report)
        stop = time.monotonic()
        self._complete(report, stop - start, time.thread_time() - had_s)
        self._record(Kind.WORK, start, stop, assignment, int(report["examples"]))
        report["waits_s"][Cause.COORDINATOR] += ordered_s
        return report

    def _record(self, kind: int, start: float, stop: float, assignment: Record, examples: int) -> None:
        """Record that an assignment was carried out."""
        if self._waiter.spans.on:
            about = {"piece": int(assignment["index"]), "version": int(assignment["pass_number"])}
            self._waiter.spans.note(kind, start, stop, int(assignment["work"]), **about, value=examples)

    def _layout(self, assignment: Record) -> "np.dtype[Any]":
        """Return the layout of the report of an assignment."""
        return self._scored[int(assignment["full"])] if assignment["work"] == Work.EVALUATE else REPORT

    def _evaluate(self, assignment: Record, report: Record) -> None:
        """Score held-out rows on parameters fetched now, or on those of a checkpoint."""
        if assignment["checkpoint"]:
            theta = self._algorithm.theta
            self._read_saved(int(assignment["checkpoint"]), theta.flat)
        else:
            theta = self._algorithm.evaluated()
        score = Score(0.0, 0)
        start, stop = int(assignment["start"]), int(assignment["stop"])
        for width, targets in self._loader.evaluation(start, stop, self._width):
            count = partial(self._figures.add, targets=targets, figures=report["figures"])
            score += self._model.evaluate(theta, width, targets, count)
            report["examples"] += width
            self._on_minibatch()
        report["loss_sum"], report["correct"] = score

    def _reroute(self, assignment: Record) -> None:
        """Ask another shard for the pieces of one that has died."""
        self._algorithm.client.reroute(int(assignment["dead"]), int(assignment["successor"]))

    def _complete(self, report: Record, busy_s: float, had_s: float) -> None:
        """Add to a report what is counted for any work; the main thread had a core for `had_s`."""
        report["waits_s"], polled_s = self._waiter.take_waited()
        report["busy_s"], report["wait_s"] = busy_s, report["waits_s"].sum()
        report["cpu_s"] = had_s - polled_s
        report["boundary_messages"], report["boundary_bytes"] = self._model.take_sent()
        counts = np.array([self._algorithm.pushes, self._algorithm.fetches, self._algorithm.refused])
        report["pushes"], report["fetches"], report["refused"] = counts - self._counted
        self._counted = counts

    def alive(self) -> Record:
        """Return the `REPORT` that says only that this partition is alive."""
        return self._blank(Work.ALIVE)

    def _blank(self, work: Work, layout: "np.dtype[Any]" = REPORT) -> Record:
        report = np.zeros((), layout)
        report["work"] = work
        report["replica"], report["partition"] = self._indices
        report["unshown"] = losses()
        return report

    def retire(self) -> None:
        """Give up all work: the replica has lost a partition. What is in flight to the shards ends first."""
        if self._algorithm.client.busy:
            self._algorithm.client.wait()

    def close(self, retired: bool = False) -> None:
        """End the reading thread and close the files; free the requests.

        Those of a replica that has lost a partition are left alone: their communicator is revoked.
        """
        if not retired:
            for algorithm in self._algorithms:
                algorithm.close()
            self._model.free()
        self._loader.close()


def _retire(assignment: Record) -> None:
    raise Retired
