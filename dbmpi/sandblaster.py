"""A run of Sandblaster, as the coordinator drives it: a batch method over vectors that it never sees.

The optimizer (`dbmpi.optimizer`) asks for vector operations, which every shard performs on its slice, and for
evaluations, which are passes over the batch by all replicas. In between the held-out set is scored.

References
----------
Dean et al. 2012, section 4.2.
"""

from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dbmpi import optimizer
from dbmpi.activity import Activity, Evaluation
from dbmpi.batch import BatchLedger, Rules, first_homes, homes_of
from dbmpi.batches import Batches
from dbmpi.config import Config
from dbmpi.coordinator import EvaluationTimes
from dbmpi.metrics import Book, Evaluated
from dbmpi.operations import BASE, PARAMETERS, Program
from dbmpi.passes import Pass, Tally
from dbmpi.roster import Roster
from dbmpi.stopping import Stopping

Record = NDArray[Any]


class Cluster(Protocol):
    """Replicas and shards, as the coordinator reaches them."""

    def drive(self, activity: Activity) -> None:
        """Start an activity, and carry its messages until it is finished."""

    def operate(self, records: Record) -> NDArray[np.float64]:
        """Let every shard perform `OPERATION` records, and return the sums of their scalars."""


class Interrupted(Exception):
    """The run is to end, and `stopping` knows why."""


class Sandblaster:
    """One run after its warmstart, and the optimizer's problem.

    Parameters
    ----------
    config
        The resolved configuration.
    batches
        The batch.
    rows
        Size of the training set, and of the held-out set.
    cluster, roster, book, stopping
        The other roles, what replicas owe, where results are written, and why the run ends.
    """

    def __init__(
        self,
        config: Config,
        batches: Batches,
        rows: tuple[int, int],
        cluster: Cluster,
        roster: Roster,
        book: Book,
        stopping: Stopping,
    ) -> None:
        self._settings, self._batches = config.sandblaster, batches
        self.sampled = self._settings.sample < 1
        self._rules = Rules(
            self._settings.push_every, self._settings.backup, self._settings.deterministic
        )
        self._cluster, self._roster, self._book, self.stopping = cluster, roster, book, stopping
        (self._rows, self._test_rows), self._epochs = rows, config.train.epochs
        every = config.evaluation
        self._evaluations = EvaluationTimes(every.every_epochs * self._rows, every.every_s)
        self._homes = first_homes(batches.portions, roster.replicas)
        self._evaluation = self._sample = 0
        self._commands_s = self._tests_s = 0.0
        self._tally = Tally(roster.replicas)
        self._marks = self._times()

    def train(self) -> None:
        """Minimize until a limit is reached; the parameters are then the best that were found."""
        if not self.stopping.reason:  # by the warmstart
            self._minimize()
        self._book.end_training(self._roster.clock())
        self._book.sandblaster(self._tally, self._commands_s)
        result = self._score()
        self.stopping.look_at_final(result)
        self._book.final(result)

    def _minimize(self) -> None:
        settings = self._settings
        limits = optimizer.Limits(
            settings.iterations, settings.gradient_tolerance, settings.decrease_tolerance
        )
        method = optimizer.make(settings.method, settings.history)
        self._marks = self._times()
        try:
            self.stopping.look_at_optimizer(optimizer.minimize(self, method, limits, self._book_iteration))
        except Interrupted:
            self.run(Program().copy(PARAMETERS, BASE))

    # -- the optimizer's problem ---------------------------------------------------------------------------

    def resample(self) -> None:
        """Take the next sample."""
        self._sample += 1
        self._homes = first_homes(self._batches.portions, self._roster.replicas)

    def run(self, program: Program) -> list[float]:
        """Let the shards perform a program; return its dot products."""
        started = self._roster.clock()
        scalars = self._cluster.operate(program.records)
        self._commands_s += self._roster.clock() - started
        return [float(scalar) for scalar in scalars]

    def evaluate(self, before: Program) -> float:
        """Move the parameters by a program, and make a pass there, again until none is broken by a death.

        Raises
        ------
        Interrupted
            The run is to end.
        """
        this = self._pass(before)
        while this.ledger.broken and not self.stopping.reason:
            this = self._pass(Program())
        self._check()
        if this.ledger.done and not self._rules.deterministic:
            self._homes = homes_of(this.ledger.winners, self._roster.replicas)
        return this.loss

    def _pass(self, before: Program) -> Pass:
        """Make a pass, under a number of its own: the shards forget what they had of another one."""
        self._evaluation += 1
        self.run(before.open(self._evaluation))
        ledger = BatchLedger(self._homes, self._rules)
        batch = self._sample, self._batches.examples
        this = Pass(
            self._roster, self._book, self.stopping, ledger, self._evaluation, batch, self._tally
        )
        self._cluster.drive(this)
        this.close()
        return this

    def _check(self) -> None:
        if self.stopping.reason:
            raise Interrupted

    # -- between iterations --------------------------------------------------------------------------------

    def _book_iteration(self, iteration: optimizer.Iteration) -> None:
        """Write the record of an iteration, look for limits, evaluate if it is time."""
        self._book.at(self._roster.clock())
        before, self._marks = self._marks, self._times()
        passes_s, commands_s, tests_s, waited_s, now = (
            a - b for a, b in zip(self._marks, before, strict=True)
        )
        seconds = {
            "examples_per_s": iteration.evaluations * self._batches.examples / max(passes_s, 1e-9),
            "passes_s": passes_s,
            "commands_s": commands_s,
            "bookkeeping_s": now - passes_s - commands_s - tests_s,
            "waited_s": waited_s,
        }
        moment = asdict(iteration)
        self._book.iteration({"iteration": moment.pop("number")} | moment | seconds)
        self._evaluations.look_at(self._book.examples, self._book.elapsed_s)
        if self._evaluations.take():
            self._test()
        if self._epochs is not None and self._book.examples >= self._epochs * self._rows:
            self.stopping.look_at_ledger("epochs")
        self._check()

    def _test(self) -> None:
        """Score the held-out set on the parameters as they are."""
        started = self._roster.clock()
        result = self._score()
        self._book.evaluation(result)
        self.stopping.look_at_evaluation(result)
        self._tests_s += self._roster.clock() - started

    def _score(self) -> Evaluated:
        activity = Evaluation(self._roster, self._book, self.stopping, self._test_rows)
        self._cluster.drive(activity)
        return activity.result

    def _times(self) -> tuple[float, ...]:
        """Return the seconds so far: in passes, in commands, in tests, of waiting; and the clock."""
        tally = self._tally
        return tally.passes_s, self._commands_s, self._tests_s, tally.waited_s, self._roster.clock()
