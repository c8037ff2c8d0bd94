"""The coordinator: gives work to the replicas, decides when to evaluate and when to stop.

A state machine of small messages, without MPI (`dbmpi.service` carries them); it never holds a
parameter. Its phases follow one another:

    TRAIN     every replica has up to `DEPTH` assignments, so that none waits for the next
    FLUSH     work is done or a limit reached, and nothing is outstanding: replicas push what is left
    EVALUATE  the held-out set is cut into one range a replica, on the final parameters
    DONE
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dbmpi.assignments import assignment_of, evaluation_of, plain
from dbmpi.config import Config
from dbmpi.errors import PeerSilent, ProtocolError
from dbmpi.ledger import Ledger
from dbmpi.metrics import Book
from dbmpi.portions import ranges_for_evaluation
from dbmpi.protocol import Work
from dbmpi.stopping import Stopping, Warmup

Record = NDArray[Any]
DEPTH = 2  # assignments that a replica has at once
PATIENCE = 1.25  # of cluster.timeout_s: whoever waits for the silent rank itself says more about it


class Phase(IntEnum):
    """Where the run stands."""

    TRAIN = 0
    FLUSH = 1
    EVALUATE = 2
    DONE = 3


class Mail(Protocol):
    """How assignments reach the partitions of a replica."""

    def send(self, replica: int, assignment: Record) -> None:
        """Send an `ASSIGNMENT` record to every partition of a replica."""


@dataclass
class _Job:
    """An assignment that is outstanding, and what its partitions have reported of it."""

    work: Work
    missing: set[int]
    reports: list[Record] = field(default_factory=list)


class Coordinator:
    """Drives one run. Call `start` once, `receive` for each report, `tick` now and then.

    Parameters
    ----------
    config
        The resolved configuration.
    ledger
        What is left to learn from.
    shape
        Replicas R and partitions P.
    test_rows
        Size of the held-out set.
    mail, book
        Where assignments go, and where results are written.
    name
        How messages call a partition of a replica.
    clock
        Seconds, monotonic.
    """

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        shape: tuple[int, int],
        rows: int,
        test_rows: int,
        mail: Mail,
        book: Book,
        name: Callable[[int, int], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._replicas, self._partitions = shape
        self._ledger, self._mail, self._book, self._name, self._clock = ledger, mail, book, name, clock
        self._test_rows, self._timeout_s = test_rows, config.cluster.timeout_s
        self._stopping = Stopping(config.train)
        self._warmup = Warmup(config.downpour.warmstart)
        self._evaluations = EvaluationTimes(config.evaluation.every_epochs * rows, config.evaluation.every_s)
        self._jobs: list[deque[_Job]] = [deque() for _ in range(self._replicas)]
        self._heard = np.zeros(shape)
        self._sent = np.zeros(self._replicas)
        self._final = book.empty()
        self.phase = Phase.TRAIN

    @property
    def finished(self) -> bool:
        """Whether training, and the evaluation at its end, are over."""
        return self.phase is Phase.DONE

    @property
    def stopping(self) -> Stopping:
        """Why the run ends, once it does."""
        return self._stopping

    def start(self) -> None:
        """Begin: the clocks start, and the first assignments leave."""
        now = self._clock()
        self._heard[...], self._sent[...] = now, now
        self._book.start(now)
        self._hand_out()

    def receive(self, report: Record) -> None:
        """Take in one partition's `REPORT`."""
        replica, partition = int(report["replica"]), int(report["partition"])
        now = self._clock()
        self._heard[replica, partition] = now
        self._book.at(now)
        if report["work"] == Work.ALIVE:
            return
        job = next((job for job in self._jobs[replica] if partition in job.missing), None)
        if job is None:
            raise ProtocolError(f"{self._name(replica, partition)} reports work that it was not given")
        job.missing.discard(partition)
        job.reports.append(report)
        if not job.missing:
            self._jobs[replica].remove(job)
            self._complete(job)
            self._hand_out()

    def tick(self) -> None:
        """Look at the clock: limits, signs of life, silent partitions, records that are due."""
        now = self._clock()
        self._stopping.look_at_time(now - self._book.started)
        self._book.tick(now)
        self._keep_alive(now)
        self._hand_out()

    def _complete(self, job: _Job) -> None:
        """Book a job that every partition of its replica has done."""
        if job.work is Work.TRAIN:
            loss = self._book.train(job.reports)
            self._stopping.look_at_loss(loss)
            self._evaluations.look_at(self._book.examples, self._clock() - self._book.started)
        elif job.work is Work.EVALUATE and self.phase is Phase.TRAIN:
            result = self._book.empty().add(job.reports)
            self._book.evaluation(result)
            self._stopping.look_at_evaluation(result)
        elif job.work is Work.EVALUATE:
            self._final = self._final.add(job.reports)

    def _hand_out(self) -> None:
        """Give every replica what it can take, and step to the next phase when nothing is left."""
        if self.phase is Phase.TRAIN:
            self._hand_out_training()
        if not any(self._jobs) and self.phase is not Phase.DONE:
            self._next_phase()

    def _hand_out_training(self) -> None:
        for _ in range(DEPTH):
            for replica in range(self._replicas):
                if len(self._jobs[replica]) < DEPTH and not self._stopping.reason:
                    self._hand_out_to(replica)

    def _hand_out_to(self, replica: int) -> None:
        if not self._ledger.limit and self._evaluations.take():
            self._order_evaluation(replica, 0, self._test_rows)
            return
        elapsed_s = self._clock() - self._book.started
        most = self._warmup.steps_for(replica, self._ledger.steps, self._book.step, elapsed_s)
        portion = self._ledger.next(replica, most) if most != 0 else None
        if portion is not None:
            self._order(replica, Work.TRAIN, assignment_of(portion))

    def _next_phase(self) -> None:
        """Everything handed out is done: is there more to come in this phase, or does the next begin?"""
        if self.phase is Phase.TRAIN:
            if not self._stopping.reason and not self._ledger.limit:
                return
            self._stopping.look_at_ledger(self._ledger.limit)
            self.phase = Phase.FLUSH
            self._book.end_training(self._clock())
            for replica in range(self._replicas):
                self._order(replica, Work.FLUSH, plain(Work.FLUSH, self._ledger.examples))
        elif self.phase is Phase.FLUSH:
            self.phase = Phase.EVALUATE
            for replica, (start, stop) in enumerate(ranges_for_evaluation(self._test_rows, self._replicas)):
                if stop > start:
                    self._order_evaluation(replica, start, stop)
        else:
            self.phase = Phase.DONE
            self._stopping.look_at_final(self._final)
            self._book.final(self._final)

    def _order_evaluation(self, replica: int, start: int, stop: int) -> None:
        self._order(replica, Work.EVALUATE, evaluation_of(start, stop))

    def _order(self, replica: int, work: Work, assignment: Record) -> None:
        # Those without work give no signs of life: their silence counts from here.
        owing = set().union(*(job.missing for job in self._jobs[replica]))
        self._heard[replica, [p for p in range(self._partitions) if p not in owing]] = self._clock()
        self._jobs[replica].append(_Job(work, set(range(self._partitions))))
        self._send(replica, assignment)

    def _send(self, replica: int, assignment: Record) -> None:
        self._sent[replica] = self._clock()
        self._mail.send(replica, assignment)

    def _keep_alive(self, now: float) -> None:
        """Give replicas that wait a sign of life, and miss those that should have given one."""
        for replica in np.flatnonzero(now - self._sent > self._timeout_s / 4):
            self._send(int(replica), plain(Work.ALIVE))
        for replica, partition in np.argwhere(now - self._heard > PATIENCE * self._timeout_s):
            if any(partition in job.missing for job in self._jobs[replica]):
                raise PeerSilent(
                    f"no report within {PATIENCE * self._timeout_s:g} s (1.25 cluster.timeout_s) from "
                    f"{self._name(int(replica), int(partition))}"
                )


class EvaluationTimes:
    """When held-out evaluations are due: every so many examples, every so many seconds.

    Zero means never. One is taken at a time; what comes due meanwhile makes one more.
    """

    def __init__(self, every_examples: float, every_s: float) -> None:
        self._every = every_examples, every_s
        self._next = list(self._every)
        self._due = False

    def look_at(self, examples: int, elapsed_s: float) -> None:
        """Note how far the run has come."""
        for i, now in enumerate((examples, elapsed_s)):
            if 0 < self._every[i] <= now and now >= self._next[i]:
                self._due = True
                self._next[i] = (now // self._every[i] + 1) * self._every[i]

    def take(self) -> bool:
        """Return whether one is due, and if so count it as taken."""
        due, self._due = self._due, False
        return due
