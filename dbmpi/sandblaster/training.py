"""A run of Sandblaster, as the coordinator drives it: iterations, evaluations and checkpoints, to a limit.

The optimizer (`minimize`) works on the `problem`. Between two iterations the held-out set is scored,
checkpoints are taken, and shards mirror the iterate; when one dies, the run goes back to a mirrored iterate.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import NamedTuple, TypeVar

from dbmpi.checkpoint.run_state import SandblasterState
from dbmpi.comm.operations import BASE, PARAMETERS, Program
from dbmpi.config.sections import Config
from dbmpi.coordinator.activity import Coordination
from dbmpi.coordinator.checkpoint_manager import CheckpointManager
from dbmpi.coordinator.cluster import Cluster
from dbmpi.coordinator.scores import ScoreKeeper
from dbmpi.coordinator.trigger import IntervalTrigger
from dbmpi.output.evaluation_sums import EvaluationSums
from dbmpi.sandblaster.minimize import Iteration, minimize
from dbmpi.sandblaster.optimizer_state import Limits
from dbmpi.sandblaster.problem import BatchProblem, Interrupted
from dbmpi.sandblaster.rollback import ShardLost

Result = TypeVar("Result")


class _Seconds(NamedTuple):
    """Seconds so far: in passes, vector operations and evaluations; of waiting; and the clock."""

    passes: float
    commands: float
    evaluations: float
    waited: float
    now: float


class Sandblaster:
    """One run after its warmstart.

    Parameters
    ----------
    config
        The resolved configuration.
    problem
        What is minimized.
    rows
        Size of the training set, and of the held-out set.
    cluster, shared
        The other roles, and what the coordinator's activities share.
    checkpoints
        Takes checkpoints, if anyone does.
    """

    def __init__(
        self,
        config: Config,
        problem: BatchProblem,
        rows: tuple[int, int],
        cluster: Cluster,
        shared: Coordination,
        checkpoints: CheckpointManager | None = None,
    ) -> None:
        settings, every = config.sandblaster, config.evaluation
        self._limits = Limits(settings.iterations, settings.gradient_tolerance, settings.decrease_tolerance)
        self._problem, self._cluster, self._shared, self._checkpoints = problem, cluster, shared, checkpoints
        self._clock, self._log, self._stopping = shared.replicas.clock, shared.log, shared.stopping
        (train_rows, self._test_rows), epochs = rows, config.train.epochs
        self._most_examples = None if epochs is None else epochs * train_rows
        self._evaluations = IntervalTrigger(every.every_epochs * train_rows, every.every_s)
        self._evaluations_s = 0.0
        self._scores = ScoreKeeper(shared, self._test_rows, every.enabled and config.checkpoint.best)
        self._saves_last = False
        self._before = self._seconds()

    def train(self) -> None:
        """Minimize until a limit is reached; the parameters are then the best that were found."""
        if not self._stopping.reason:  # by the warmstart
            self._before = self._seconds()
            self._despite_deaths(self._descend)
            if not self._stopping.finished:  # first: there may be no time for more
                self._despite_deaths(self._save)
            self._saves_last = self._stopping.finished
        self._log.end_training(self._clock())
        self._log.sandblaster(self._problem.tally, self._problem.commands_s)
        if not self._stopping.hasty:
            self._end_scored()

    def _end_scored(self) -> None:
        """Score the last parameters, and save them; without a score, if no replica is left to make one."""
        try:
            self._log.final(self._despite_deaths(self._score_and_save))
        except Interrupted:
            if not self._stopping.lost:
                self._despite_deaths(self._save)

    def _score_and_save(self) -> EvaluationSums:
        """Score the last parameters, and save those of a run that is over; return the result."""
        result = self._score(full=True)
        self._stopping.check_final(result)
        if self._saves_last and not self._stopping.lost:
            self._save(result.score)
        return result

    def state(self) -> SandblasterState:
        """Return where the run stands, for `restore`."""
        return self._problem.state(self._problem.point_now, self._evaluations.due)

    def restore(self, state: SandblasterState) -> None:
        """Go on from `state`; the log is restored already, and the shards hold the vectors."""
        self._problem.restore(state)
        self._stopping.begin(state.optimizer["first_loss"] if state.optimizer is not None else None)
        self._evaluations.start_at(self._log.examples, self._log.elapsed_s, state.evaluation_due)
        if self._log.last_evaluation.rows:
            self._stopping.check_evaluation(self._log.last_evaluation)

    def _descend(self) -> None:
        """Minimize; the parameters are then the last iterate, and mirrored."""
        problem, start = self._problem, self._problem.point.optimizer_state
        try:
            end = minimize(problem, problem.method, self._limits, self._record_iteration, start)
        except Interrupted:
            problem.run(Program().copy(PARAMETERS, BASE))
            end = None
        self._mirror()
        problem.settle()
        if end is not None:
            self._stopping.check_optimizer(end)

    # -- between iterations --------------------------------------------------------------------------------

    def _record_iteration(self, iteration: Iteration) -> None:
        """Write the record of an iteration, look for limits, evaluate and save if it is time."""
        self._log.at(self._clock())
        moment = asdict(iteration)
        number = {"iteration": moment.pop("number")}
        self._log.iteration(number | moment | self._spent(iteration.evaluations))
        self._stopping.check_iterate(self._problem.data_loss)
        self._mirror()
        self._evaluations.update(self._log.examples, self._log.elapsed_s)
        result = self._evaluate() if self._evaluations.take() else None
        if self._most_examples is not None and self._log.examples >= self._most_examples:
            self._stopping.check_limit("epochs")
        better = result is not None and self._stopping.improves(result)
        self._save_if_due(result, better)
        if self._stopping.reason:
            raise Interrupted

    def _spent(self, passes: int) -> dict[str, float]:
        """Return what an iteration of so many passes took, and the examples per second in these."""
        before, self._before = self._before, self._seconds()
        spent = _Seconds(*(now - then for now, then in zip(self._before, before, strict=True)))
        return {
            "examples_per_s": passes * self._problem.examples / max(spent.passes, 1e-9),
            "passes_s": spent.passes,
            "commands_s": spent.commands,
            "bookkeeping_s": spent.now - spent.passes - spent.commands - spent.evaluations,
            "waited_s": spent.waited,
        }

    def _seconds(self) -> _Seconds:
        tally = self._problem.tally
        commands_s, evaluations_s = self._problem.commands_s, self._evaluations_s
        return _Seconds(tally.passes_s, commands_s, evaluations_s, tally.waited_s, self._clock())

    def _evaluate(self) -> EvaluationSums:
        """Score the held-out set on the parameters as they are, record it, and return the result."""
        started = self._clock()
        result = self._score()
        self._log.evaluation(result)
        self._stopping.check_evaluation(result)
        self._evaluations_s += self._clock() - started
        return result

    def _score(self, full: bool = False) -> EvaluationSums:
        self._scores.begin(full)
        self._cluster.drive(self._scores.evaluation)
        self._problem.check_shards()
        if not self._shared.replicas.living:
            raise Interrupted
        self._scores.end()
        return self._scores.evaluation.result

    def _save_if_due(self, result: EvaluationSums | None, better: bool) -> None:
        """Save the iterate if it is time, or `better`, with its score: one is made where it costs little."""
        if self._checkpoints is None:
            return
        self._checkpoints.poll()
        if (
            not (self._checkpoints.due or better) or self._stopping.reason
        ):  # else there will be one at the end
            return
        if result is None and self._scores.worthwhile:
            result = self._evaluate()
        if not self._stopping.lost:
            self._save(result.score if result is not None else None)

    def _save(self, score: float | None = None) -> None:
        """Save the iterate, and what the method needs to go on from it."""
        if self._checkpoints is not None:
            state = self.state()
            self._checkpoints.save(state, state.vectors, score)
            self._problem.check_shards()

    # -- when a shard dies ---------------------------------------------------------------------------------

    def _despite_deaths(self, act: Callable[[], Result]) -> Result:
        """Do something from the last iterate on; from an earlier one, again, if a shard dies meanwhile."""
        while True:
            try:
                self._problem.check_shards()
                if self._problem.rollback is not None and self._problem.rollback.empty:
                    self._mirror(wait=True)
                return act()
            except ShardLost as lost:
                self._go_back(lost.number)

    def _mirror(self, wait: bool = False) -> None:
        """Have the shards mirror the iterate, and know what a checkpoint of it needs; `wait` for it."""
        if self._problem.rollback is None:
            return
        point = self._problem.point_for_return
        number = self._problem.rollback.mirror(point, self._problem.point.vectors)
        if self._checkpoints is not None:
            state = self._problem.state(point, self._evaluations.due)
            tell = self._checkpoints.cover if wait else self._checkpoints.send_state
            tell(state, list(point.vectors), number)
            self._problem.check_shards()

    def _go_back(self, number: int) -> None:
        """Go back to an iterate that is mirrored."""
        assert self._problem.rollback is not None
        point = self._problem.rollback.back_to(number)
        self._problem.resume(point)
        if point.optimizer_state is not None:
            self._log.event(f"goes on from iteration {point.optimizer_state.number}", about="death")
