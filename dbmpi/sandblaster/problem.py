"""The optimizer's problem on the cluster: vectors that the shards hold, and passes over the batch.

The optimizer (`minimize`) asks for vector operations, which every shard performs on its slice, and for
evaluations, which are passes over the batch by all replicas.

References
----------
Dean et al. 2012, section 4.2.
"""

from dataclasses import replace
from math import nan

from dbmpi.checkpoint.run_state import SandblasterState
from dbmpi.comm.operations import Program
from dbmpi.config.algorithms import Sandblaster as Settings
from dbmpi.coordinator.activity import Coordination
from dbmpi.coordinator.cluster import Cluster
from dbmpi.output.totals import Tally
from dbmpi.sandblaster.batch import Batch, continues, fingerprint
from dbmpi.sandblaster.minimize import make
from dbmpi.sandblaster.optimizer_state import OptimizerState, RollbackPoint, optimizer_state_of
from dbmpi.sandblaster.pass_scheduler import PassScheduler, Rules, first_homes, homes_of
from dbmpi.sandblaster.passes import Pass
from dbmpi.sandblaster.rollback import Rollback


class Interrupted(Exception):
    """The run is to end, and `stopping` knows why."""


class BatchProblem:
    """The problem. See `minimize.Problem`.

    Parameters
    ----------
    settings
        The section of the configuration.
    batch
        The batch.
    cluster, shared
        The other roles, and what the coordinator's activities share.

    Attributes
    ----------
    method, point
        The method of optimization, and where the run stands: at the last iterate, or the start.
    rollback
        The iterates that are mirrored; None where shards are not mirrored.
    tally, commands_s
        What replicas have done, and seconds spent in vector operations.
    data_loss
        Mean loss of the batch in the last pass, without the penalty.
    """

    def __init__(self, settings: Settings, batch: Batch, cluster: Cluster, shared: Coordination) -> None:
        self.sampled = settings.sample < 1
        self._settings, self._batch, self._cluster, self._shared = settings, batch, cluster, shared
        self._rules = Rules(settings.push_every, settings.backup, settings.deterministic)
        self._clock, self._stopping = shared.replicas.clock, shared.stopping
        self._replicas = shared.replicas.replicas
        self._homes = first_homes(batch.portions, self._replicas)
        self._pass_number, self._searching = 0, False
        self.method, self.point = make(settings.method, settings.history), RollbackPoint()
        mirrors = cluster.shards.mirrors
        self.rollback = Rollback(mirrors) if mirrors is not None else None
        self.tally, self.commands_s, self.data_loss = Tally(self._replicas), 0.0, nan

    @property
    def examples(self) -> int:
        """Examples in the batch."""
        return self._batch.examples

    # -- what the optimizer asks for -----------------------------------------------------------------------

    def note(self, optimizer_state: OptimizerState) -> None:
        """Remember an iterate, to go on from there."""
        method, vectors = self.method.state(), self.method.vectors()
        self.point = RollbackPoint(optimizer_state, method, vectors, self.point.sample)
        self._searching = False

    def resample(self) -> None:
        """Take the next sample."""
        self.point = replace(self.point, sample=self.point.sample + 1)
        self._homes = first_homes(self._batch.portions, self._replicas)

    def run(self, program: Program) -> list[float]:
        """Let the shards perform a program; return its dot products."""
        started = self._clock()
        if self.rollback is not None:
            self.rollback.wrote(program.written)
        scalars = self._cluster.shards.operate(program.records)
        self.check_shards()
        self.commands_s += self._clock() - started
        return [float(scalar) for scalar in scalars]

    def evaluate(self, before: Program) -> float:
        """Move the parameters by a program, and make a pass there, again until none is broken by a death.

        Raises
        ------
        Interrupted
            The run is to end.
        """
        this = self._pass(before)
        while this.scheduler.broken and not self._stopping.reason:
            this = self._pass(Program())
        if self._stopping.reason:
            raise Interrupted
        if this.scheduler.done and not self._rules.deterministic:
            self._homes = homes_of(this.scheduler.winners, self._replicas)
        self.data_loss = this.data_loss
        return this.loss

    def _pass(self, before: Program) -> Pass:
        """Make a pass, under a number of its own: the shards forget what they had of another one."""
        self._pass_number += 1
        self._searching = True
        self.run(before.open(self._pass_number))
        scheduler, batch = PassScheduler(self._homes, self._rules), (self.point.sample, self.examples)
        this = Pass(self._shared, scheduler, self._pass_number, batch, self.tally)
        self._cluster.drive(this)
        this.close()
        self.settle()
        return this

    # -- the shards, one of which may die ------------------------------------------------------------------

    def check_shards(self) -> None:
        """Raise ShardLost if a shard has died and the run has to go back."""
        if self.rollback is not None:
            self.rollback.check()

    def settle(self) -> None:
        """Wait until the last mirror is complete. Raises as `check_shards`."""
        if self.rollback is not None:
            self.rollback.settle()

    # -- where the run stands ------------------------------------------------------------------------------

    @property
    def point_for_return(self) -> RollbackPoint:
        """The last iterate, as a run can go back to it at any time before the next one."""
        return self.point.for_return(self.method.vectors_persist)

    @property
    def point_now(self) -> RollbackPoint:
        """The last iterate, as a run can go on from it if it is saved now."""
        overwritten = self._searching and not self.method.vectors_persist
        return self.point_for_return if overwritten else self.point

    def resume(self, point: RollbackPoint) -> None:
        """Go on from a point whose parameters and vectors the shards have."""
        self.method, self.point = make(self._settings.method, self._settings.history), point
        if point.method:
            self.method.restore(point.method)
        if point.optimizer_state is not None:
            self.note(point.optimizer_state)

    def state(self, point: RollbackPoint, evaluation_due: bool) -> SandblasterState:
        """Return what a checkpoint at a point has to hold, for `restore`."""
        return SandblasterState(
            optimizer=point.optimizer_state.state() if point.optimizer_state is not None else None,
            method=point.method,
            vectors=list(point.vectors),
            settings=fingerprint(self._settings),
            batches=self._batch.state(),
            pass_number=self._pass_number,
            sample=point.sample,
            tally=self.tally.state(),
            commands_s=self.commands_s,
            evaluation_due=evaluation_due,
        )

    def restore(self, state: SandblasterState) -> None:
        """Go on from `state`: with the optimizer only if the method and its history are the same."""
        self._pass_number, self.commands_s = state.pass_number, state.commands_s
        self.tally.restore(state.tally)
        point = RollbackPoint(sample=state.sample)
        if state.optimizer is not None and continues(self._settings, state):
            optimizer_state = optimizer_state_of(state.optimizer)
            if self.sampled and state.batches != self._batch.state():  # the loss there is of another sample
                optimizer_state = replace(optimizer_state, at=None)
            point = RollbackPoint(optimizer_state, state.method, state.vectors, state.sample)
        self.resume(point)
