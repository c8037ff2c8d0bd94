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
from dbmpi.coordinator.checkpoint_manager import CheckpointManager
from dbmpi.coordinator.cluster import Cluster
from dbmpi.coordinator.replicas import ReplicaTable
from dbmpi.coordinator.stopping import Stopping
from dbmpi.coordinator.trigger import IntervalTrigger
from dbmpi.output.metrics import MetricsLog
from dbmpi.output.tally import Tally
from dbmpi.output.totals import EvaluationSums
from dbmpi.sandblaster import minimize
from dbmpi.sandblaster.batch import Batches, continues, fingerprint
from dbmpi.sandblaster.optimizer_state import Limits, OptimizerState, optimizer_state_of
from dbmpi.sandblaster.pass_scheduler import PassScheduler, Rules, first_homes, homes_of
from dbmpi.sandblaster.passes import Pass
from dbmpi.sandblaster.rollback import Rollback, RollbackPoint, ShardLost

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
        replicas: ReplicaTable,
        log: MetricsLog,
        stopping: Stopping,
        checkpoints: CheckpointManager | None = None,
    ) -> None:
        self._checkpoints = checkpoints
        self._settings, self._batches = config.sandblaster, batches
        self.sampled = self._settings.sample < 1
        self._rules = Rules(self._settings.push_every, self._settings.backup, self._settings.deterministic)
        self._cluster, self._replicas, self._log, self.stopping = cluster, replicas, log, stopping
        (self._rows, self._test_rows), self._epochs = rows, config.train.epochs
        every = config.evaluation
        self._evaluations = IntervalTrigger(every.every_epochs * self._rows, every.every_s)
        self._homes = first_homes(batches.portions, replicas.replicas)
        self._pass_number = self._sample = 0
        self._commands_s = self._tests_s = 0.0
        self._tally = Tally(replicas.replicas)
        self._method = minimize.make(self._settings.method, self._settings.history)
        self._optimizer_state: OptimizerState | None = None
        self._noted: dict[str, Any] = {}  # of the method, when the standing was noted
        self._vectors: list[int] = []
        self._searching = False
        self._iterates = Rollback(cluster.shards.mirrors)
        self._marks = self._times()

    def train(self) -> None:
        """Minimize until a limit is reached; the parameters are then the best that were found."""
        if not self.stopping.reason:  # by the warmstart
            self._minimize()
        self._log.end_training(self._replicas.clock())
        self._log.sandblaster(self._tally, self._commands_s)
        if self.stopping.hasty:
            return
        result = self._undisturbed(self._score)
        self.stopping.check_final(result)
        self._log.final(result)

    def _minimize(self) -> None:
        self._marks = self._times()
        self._undisturbed(self._descend)
        if not self.stopping.lost:
            self._undisturbed(self._save)

    def _undisturbed(self, act: Callable[[], Result]) -> Result:
        """Do something from the last iterate on; from an earlier one, again, if a shard dies meanwhile."""
        while True:
            try:
                self._iterates.check()
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
            end = minimize.minimize(self, self._method, limits, self._record_iteration, self._optimizer_state)
        except Interrupted:
            self.run(Program().copy(PARAMETERS, BASE))
            end = None
        self._mirror()
        self._iterates.settle()
        if end is not None:
            self.stopping.check_optimizer(end)

    # -- the optimizer's problem ---------------------------------------------------------------------------

    def note(self, optimizer_state: OptimizerState) -> None:
        """Remember where the optimizer stands, for a checkpoint."""
        self._optimizer_state, self._noted = optimizer_state, self._method.state()
        self._vectors, self._searching = self._method.vectors(), False

    def resample(self) -> None:
        """Take the next sample."""
        self._sample += 1
        self._homes = first_homes(self._batches.portions, self._replicas.replicas)

    def run(self, program: Program) -> list[float]:
        """Let the shards perform a program; return its dot products."""
        started = self._replicas.clock()
        self._iterates.wrote(program.written)
        scalars = self._cluster.shards.operate(program.records)
        self._iterates.check()
        self._commands_s += self._replicas.clock() - started
        return [float(scalar) for scalar in scalars]

    def evaluate(self, before: Program) -> float:
        """Move the parameters by a program, and make a pass there, again until none is broken by a death.

        Raises
        ------
        Interrupted
            The run is to end.
        """
        this = self._pass(before)
        while this.scheduler.broken and not self.stopping.reason:
            this = self._pass(Program())
        self._check()
        if this.scheduler.done and not self._rules.deterministic:
            self._homes = homes_of(this.scheduler.winners, self._replicas.replicas)
        return this.loss

    def _pass(self, before: Program) -> Pass:
        """Make a pass, under a number of its own: the shards forget what they had of another one."""
        self._pass_number += 1
        self._searching = True
        self.run(before.open(self._pass_number))
        scheduler = PassScheduler(self._homes, self._rules)
        batch = self._sample, self._batches.examples
        this = Pass(
            self._replicas, self._log, self.stopping, scheduler, self._pass_number, batch, self._tally
        )
        self._cluster.drive(this)
        this.close()
        self._iterates.settle()
        return this

    def _check(self) -> None:
        if self.stopping.reason:
            raise Interrupted

    # -- between iterations --------------------------------------------------------------------------------

    def _record_iteration(self, iteration: minimize.Iteration) -> None:
        """Write the record of an iteration, look for limits, evaluate if it is time."""
        self._log.at(self._replicas.clock())
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
        self._log.iteration({"iteration": moment.pop("number")} | moment | seconds)
        self._mirror()
        self._evaluations.update(self._log.examples, self._log.elapsed_s)
        if self._evaluations.take():
            self._test()
        if self._epochs is not None and self._log.examples >= self._epochs * self._rows:
            self.stopping.check_limit("epochs")
        self._save_if_due()
        self._check()

    def _save_if_due(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.poll()
            if self._checkpoints.due and not self.stopping.reason:  # else there will be one at the end
                self._save()

    def _save(self) -> None:
        """Save the iterate, and what the method needs to go on from it."""
        if self._checkpoints is not None:
            self._checkpoints.save("sandblaster", self.state(), self._vectors)
            self._iterates.check()

    def state(self) -> dict[str, Any]:
        """Return where the run stands at the last iterate, for `restore`."""
        if self._optimizer_state is not None and self._searching and not self._method.vectors_persist:
            self._vectors = []
            return self._state(self._place(), [])
        return self._state(RollbackPoint(self._optimizer_state, self._noted, self._sample), self._vectors)

    def _state(self, place: RollbackPoint, vectors: Sequence[int]) -> dict[str, Any]:
        """Return where the run stands at an iterate of which these vectors will be there."""
        return {
            "optimizer": place.optimizer_state.state() if place.optimizer_state is not None else None,
            "method": place.method,
            "vectors": vectors,
            "settings": fingerprint(self._settings),
            "batches": self._batches.state(),
            "evaluation": self._pass_number,
            "sample": place.sample,
            "tally": self._tally.state(),
            "commands_s": self._commands_s,
            "evaluation_due": self._evaluations.now,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; the book is restored already, and the shards hold the vectors."""
        self._pass_number, self._sample = int(state["evaluation"]), int(state["sample"])
        self._tally.restore(state["tally"])
        self._commands_s = float(state["commands_s"])
        self._evaluations.start_at(self._log.examples, self._log.elapsed_s, state["evaluation_due"])
        if self._log.last_evaluation.rows:
            self.stopping.check_evaluation(self._log.last_evaluation)
        if state["optimizer"] is None or not continues(self._settings, state):
            return
        self._optimizer_state = optimizer_state_of(state["optimizer"])
        if self.sampled and state["batches"] != self._batches.state():  # the loss there is of another sample
            self._optimizer_state = replace(self._optimizer_state, at=None)
        if state["method"]:
            self._method.restore(state["method"])
        self.note(self._optimizer_state)

    def _mirror(self) -> None:
        """Have the shards mirror the iterate, and leave word of it."""
        number = self._iterates.mirror(self._place(), self._vectors)
        if number and self._checkpoints is not None:
            vectors = self._vectors if self._method.vectors_persist else []
            self._checkpoints.send_state("sandblaster", self._state(self._place(), vectors), vectors, number)

    def _place(self) -> RollbackPoint:
        """Return what is known at the iterate, should one of the others die before the next one."""
        optimizer_state = (
            replace(self._optimizer_state, at=None) if self._optimizer_state is not None else None
        )
        return RollbackPoint(
            optimizer_state, self._noted if self._method.vectors_persist else {}, self._sample
        )

    def _go_back(self, number: int) -> None:
        """Go back to an iterate that is mirrored. Raises ShardLost if another shard dies."""
        place = self._iterates.back_to(number)
        self._method = minimize.make(self._settings.method, self._settings.history)
        if place.method:
            self._method.restore(place.method)
        self._optimizer_state, self._sample = place.optimizer_state, place.sample
        self._noted, self._vectors = {}, []
        if place.optimizer_state is not None:
            self.note(place.optimizer_state)
            self._log.event(f"goes on from iteration {place.optimizer_state.number}")

    def _test(self) -> None:
        """Score the held-out set on the parameters as they are."""
        started = self._replicas.clock()
        result = self._score()
        self._log.evaluation(result)
        self.stopping.check_evaluation(result)
        self._tests_s += self._replicas.clock() - started

    def _score(self) -> EvaluationSums:
        activity = Evaluation(self._replicas, self._log, self.stopping, self._test_rows)
        self._cluster.drive(activity)
        self._iterates.check()
        return activity.result

    def _times(self) -> tuple[float, ...]:
        """Return the seconds so far: in passes, in commands, in tests, of waiting; and the clock."""
        tally = self._tally
        return tally.passes_s, self._commands_s, self._tests_s, tally.waited_s, self._replicas.clock()
