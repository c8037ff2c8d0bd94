"""A run of Sandblaster, as the coordinator drives it: a batch method over vectors that it never sees.

The optimizer (`minimize`) asks for vector operations, which every shard performs on its slice, and for
evaluations, which are passes over the batch by all replicas. In between the held-out set is scored.

References
----------
Dean et al. 2012, section 4.2.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from dbmpi.comm.operations import BASE, PARAMETERS, Program
from dbmpi.config.sections import Config
from dbmpi.coordinator.activity import Evaluation
from dbmpi.coordinator.checkpoint_manager import Keeper
from dbmpi.coordinator.cluster import Cluster
from dbmpi.coordinator.replicas import Roster
from dbmpi.coordinator.stopping import Stopping
from dbmpi.coordinator.trigger import Due
from dbmpi.output.metrics import Book
from dbmpi.output.tally import Tally
from dbmpi.output.totals import Evaluated
from dbmpi.sandblaster import minimize
from dbmpi.sandblaster.batch import Batches, continues, fingerprint
from dbmpi.sandblaster.optimizer_state import Limits, Standing, standing_of
from dbmpi.sandblaster.pass_scheduler import BatchLedger, Rules, first_homes, homes_of
from dbmpi.sandblaster.passes import Pass
from dbmpi.sandblaster.rollback import Iterates, Place, ShardLost

Result = TypeVar("Result")


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
    keeper
        Takes checkpoints, if anyone does.
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
        keeper: Keeper | None = None,
    ) -> None:
        self._keeper = keeper
        self._settings, self._batches = config.sandblaster, batches
        self.sampled = self._settings.sample < 1
        self._rules = Rules(self._settings.push_every, self._settings.backup, self._settings.deterministic)
        self._cluster, self._roster, self._book, self.stopping = cluster, roster, book, stopping
        (self._rows, self._test_rows), self._epochs = rows, config.train.epochs
        every = config.evaluation
        self._evaluations = Due(every.every_epochs * self._rows, every.every_s)
        self._homes = first_homes(batches.portions, roster.replicas)
        self._evaluation = self._sample = 0
        self._commands_s = self._tests_s = 0.0
        self._tally = Tally(roster.replicas)
        self._method = minimize.make(self._settings.method, self._settings.history)
        self._standing: Standing | None = None
        self._noted: dict[str, Any] = {}  # of the method, when the standing was noted
        self._vectors: list[int] = []
        self._searching = False
        self._iterates = Iterates(cluster.shards.mirrors)
        self._marks = self._times()

    def train(self) -> None:
        """Minimize until a limit is reached; the parameters are then the best that were found."""
        if not self.stopping.reason:  # by the warmstart
            self._minimize()
        self._book.end_training(self._roster.clock())
        self._book.sandblaster(self._tally, self._commands_s)
        if self.stopping.hasty:
            return
        result = self._undisturbed(self._score)
        self.stopping.look_at_final(result)
        self._book.final(result)

    def _minimize(self) -> None:
        self._marks = self._times()
        self._undisturbed(self._descend)
        if not self.stopping.lost:
            self._undisturbed(self._save)

    def _undisturbed(self, act: Callable[[], Result]) -> Result:
        """Do something from the last iterate on; from an earlier one, again, if a shard dies meanwhile."""
        while True:
            try:
                self._iterates.look()
                if self._iterates.fresh:
                    self._mirror()
                return act()
            except ShardLost as lost:
                self._go_back(lost.number)

    def _descend(self) -> None:
        """Minimize; the parameters are then the last iterate, and mirrored."""
        settings = self._settings
        limits = Limits(settings.iterations, settings.gradient_tolerance, settings.decrease_tolerance)
        try:
            end = minimize.minimize(self, self._method, limits, self._book_iteration, self._standing)
        except Interrupted:
            self.run(Program().copy(PARAMETERS, BASE))
            end = None
        self._mirror()
        self._iterates.settle()
        if end is not None:
            self.stopping.look_at_optimizer(end)

    # -- the optimizer's problem ---------------------------------------------------------------------------

    def note(self, standing: Standing) -> None:
        """Remember where the optimizer stands, for a checkpoint."""
        self._standing, self._noted = standing, self._method.state()
        self._vectors, self._searching = self._method.vectors(), False

    def resample(self) -> None:
        """Take the next sample."""
        self._sample += 1
        self._homes = first_homes(self._batches.portions, self._roster.replicas)

    def run(self, program: Program) -> list[float]:
        """Let the shards perform a program; return its dot products."""
        started = self._roster.clock()
        self._iterates.wrote(program.written)
        scalars = self._cluster.shards.operate(program.records)
        self._iterates.look()
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
        self._searching = True
        self.run(before.open(self._evaluation))
        ledger = BatchLedger(self._homes, self._rules)
        batch = self._sample, self._batches.examples
        this = Pass(self._roster, self._book, self.stopping, ledger, self._evaluation, batch, self._tally)
        self._cluster.drive(this)
        this.close()
        self._iterates.settle()
        return this

    def _check(self) -> None:
        if self.stopping.reason:
            raise Interrupted

    # -- between iterations --------------------------------------------------------------------------------

    def _book_iteration(self, iteration: minimize.Iteration) -> None:
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
        self._mirror()
        self._evaluations.look_at(self._book.examples, self._book.elapsed_s)
        if self._evaluations.take():
            self._test()
        if self._epochs is not None and self._book.examples >= self._epochs * self._rows:
            self.stopping.look_at_ledger("epochs")
        self._look_for_checkpoint()
        self._check()

    def _look_for_checkpoint(self) -> None:
        if self._keeper is not None:
            self._keeper.look()
            if self._keeper.due and not self.stopping.reason:  # else there will be one at the end
                self._save()

    def _save(self) -> None:
        """Save the iterate, and what the method needs to go on from it."""
        if self._keeper is not None:
            self._keeper.save("sandblaster", self.state(), self._vectors)
            self._iterates.look()

    def state(self) -> dict[str, Any]:
        """Return where the run stands at the last iterate, for `restore`."""
        if self._standing is not None and self._searching and not self._method.lasting:
            self._vectors = []
            return self._state(self._place(), [])
        return self._state(Place(self._standing, self._noted, self._sample), self._vectors)

    def _state(self, place: Place, vectors: Sequence[int]) -> dict[str, Any]:
        """Return where the run stands at an iterate of which these vectors will be there."""
        return {
            "optimizer": place.standing.state() if place.standing is not None else None,
            "method": place.method,
            "vectors": vectors,
            "settings": fingerprint(self._settings),
            "batches": self._batches.state(),
            "evaluation": self._evaluation,
            "sample": place.sample,
            "tally": self._tally.state(),
            "commands_s": self._commands_s,
            "evaluation_due": self._evaluations.now,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; the book is restored already, and the shards hold the vectors."""
        self._evaluation, self._sample = int(state["evaluation"]), int(state["sample"])
        self._tally.restore(state["tally"])
        self._commands_s = float(state["commands_s"])
        self._evaluations.start_at(self._book.examples, self._book.elapsed_s, state["evaluation_due"])
        if self._book.last_evaluation.rows:
            self.stopping.look_at_evaluation(self._book.last_evaluation)
        if state["optimizer"] is None or not continues(self._settings, state):
            return
        self._standing = standing_of(state["optimizer"])
        if self.sampled and state["batches"] != self._batches.state():  # the loss there is of another sample
            self._standing = replace(self._standing, at=None)
        if state["method"]:
            self._method.restore(state["method"])
        self.note(self._standing)

    def _mirror(self) -> None:
        """Have the shards mirror the iterate, and leave word of it."""
        number = self._iterates.mirror(self._place(), self._vectors)
        if number and self._keeper is not None:
            vectors = self._vectors if self._method.lasting else []
            self._keeper.bequeath("sandblaster", self._state(self._place(), vectors), vectors, number)

    def _place(self) -> Place:
        """Return what is known at the iterate, should one of the others die before the next one."""
        standing = replace(self._standing, at=None) if self._standing is not None else None
        return Place(standing, self._noted if self._method.lasting else {}, self._sample)

    def _go_back(self, number: int) -> None:
        """Go back to an iterate that is mirrored. Raises ShardLost if another shard dies."""
        place = self._iterates.back_to(number)
        self._method = minimize.make(self._settings.method, self._settings.history)
        if place.method:
            self._method.restore(place.method)
        self._standing, self._sample = place.standing, place.sample
        self._noted, self._vectors = {}, []
        if place.standing is not None:
            self.note(place.standing)
            self._book.event(f"goes on from iteration {place.standing.number}")

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
        self._iterates.look()
        return activity.result

    def _times(self) -> tuple[float, ...]:
        """Return the seconds so far: in passes, in commands, in tests, of waiting; and the clock."""
        tally = self._tally
        return tally.passes_s, self._commands_s, self._tests_s, tally.waited_s, self._roster.clock()
