"""Checkpoints as the coordinator takes them: when, what it adds, and how one is completed.

A checkpoint begins at a moment when no replica has work outstanding and all pushes have arrived. The shards
copy their slices, and training goes on while they write the copies; when all have, a thread of the
coordinator writes the index and the manifest, gives the checkpoint its name, and removes those not kept.
One that cannot be written is a warning: the next is taken when it is due.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dbmpi.checkpoint.coordinator_state import CoordinatorState
from dbmpi.checkpoint.directory import construction_directory
from dbmpi.checkpoint.run_state import DownpourState, RunState, SandblasterState
from dbmpi.checkpoint.writer import CheckpointWriter
from dbmpi.coordinator.cluster import Shards
from dbmpi.coordinator.pending_checkpoint import PendingCheckpoint
from dbmpi.coordinator.stopping import Stopping
from dbmpi.coordinator.trigger import IntervalTrigger
from dbmpi.errors import UserError
from dbmpi.files import writing
from dbmpi.output.metrics import MetricsLog
from dbmpi.output.reminder import reminding
from dbmpi.spans import OFF, Kind, Off

WHAT_THEN = "the next one is taken when it is due: look at the space and the quota there until then"
AlgorithmState = DownpourState | SandblasterState


class _Moment(NamedTuple):
    """What a checkpoint is taken of: see `CheckpointManager.save`; and how many shards live."""

    state: AlgorithmState
    vectors: Sequence[int] | None
    score: float | None
    shards: int


class CheckpointManager:
    """Takes the checkpoints of a job.

    Parameters
    ----------
    writer
        What is saved of the run itself.
    shards
        They copy their slices.
    log, stopping
        Whose state is saved too; checkpoints are recorded in the log.
    last
        Number of the last checkpoint in the run directory, whole or not; 0 for none.
    keep_alive
        Gives replicas a sign of life while nothing but a checkpoint goes on.
    spans
        Records when.

    Attributes
    ----------
    problem
        What kept the checkpoint that was taken last from the disk; empty where nothing has.
    last
        The number of that checkpoint, once it is on disk; 0 before, and where it is not.
    retaken
        Whether it was taken again, of older parameters, as a shard died.
    """

    def __init__(
        self,
        writer: CheckpointWriter,
        shards: Shards,
        log: MetricsLog,
        stopping: Stopping,
        last: int,
        keep_alive: Callable[[], None],
        spans: Off = OFF,
    ) -> None:
        self._spans = spans
        self._writer, self._shards, self._log, self._stopping = writer, shards, log, stopping
        settings = writer.settings
        self._mirrors, self._number, self._keep_alive = shards.mirrors, last, keep_alive
        self._trigger = IntervalTrigger(settings.every_examples, settings.every_s)
        self._state_trigger = IntervalTrigger(0, settings.mirror_s)
        self._pending: PendingCheckpoint | None = None
        self._last: _Moment | None = None  # which the last one was taken of
        self.problem, self.last, self.retaken, self._is_told = "", 0, False, False

    @property
    def best(self) -> int:
        """The number of the checkpoint with the best score, of all that are kept; 0 where none has one."""
        return self._writer.best

    def start(self) -> None:
        """Begin to count from where the log is, once it is restored."""
        for trigger in (self._trigger, self._state_trigger):
            trigger.start_at(self._log.examples, self._log.elapsed_s)

    @property
    def due(self) -> bool:
        """Whether a checkpoint should be taken now: it is time, and the one before is not under way."""
        return self._trigger.due and self._pending is None

    def poll(self) -> None:
        """Look at the clock, and finish what can be."""
        for trigger in (self._trigger, self._state_trigger):
            trigger.update(self._log.examples, self._log.elapsed_s)
        self._take_in()
        pending = self._pending
        if pending is not None and pending.is_late():
            self._log.event(
                f"warning: checkpoint {pending.number} is not on disk after {pending.timeout_s:.0f} s "
                "(checkpoint.timeout_s); training goes on, and no other is taken until it is",
                about="checkpoint",
            )

    def _take_in(self) -> None:
        """Take in what has become of the checkpoint under way."""
        pending = self._pending
        if pending is None:
            return
        if pending.given_up(self._shards.owners):
            self._pending = None
            text = f"checkpoint {pending.number} is given up: a shard died that had not written it"
            self._log.event(text, about="checkpoint")
        elif pending.ended:
            self._pending = None
            if pending.problem:
                self._warn(pending.number, pending.problem)
            else:
                self._record(pending)

    def save(
        self, state: AlgorithmState, vectors: Sequence[int] | None = None, score: float | None = None
    ) -> None:
        """Take a checkpoint of a run that stands still, and let it go on.

        That it cannot be written is a warning, and the `problem`.

        Parameters
        ----------
        state
            Of the algorithm at work.
        vectors
            The batch method's vectors to save; None with Downpour.
        score
            Of an evaluation of these very parameters, if there is one. A shard that dies changes them.
        """
        moment = _Moment(state, vectors, score, len(self._shards.owners.living))
        self._settle()
        self._trigger.take()
        self._number += 1
        self.problem, self.last, self.retaken, self._last = "", 0, False, moment
        started = time.monotonic()
        part = construction_directory(self._writer.owned, self._number)
        try:
            with self._writer.owned.guarded(), writing(part):
                part.mkdir(exist_ok=True)
        except UserError as error:
            self._warn(self._number, str(error))
        else:
            self._snapshot(moment, started)

    def _snapshot(self, moment: "_Moment", started: float) -> None:
        """Let the shards copy their slices; training stands still since `started`."""
        owners = self._shards.owners
        pending = PendingCheckpoint(self._writer, self._number, started, owners, len(moment.vectors or ()))
        self._shards.snapshot(self._number, moment.vectors, pending.written)
        living = len(owners.living)
        score = moment.score if living == moment.shards else None
        pending.start(self._writer.manifest(self._number, self._run_state(moment.state), score, living))
        self._pending = pending

    def _warn(self, number: int, problem: str) -> None:
        """Tell that there is no checkpoint; the first time, in training, also what can be done."""
        self.problem = problem
        more = "" if self._is_told or self._stopping.reason else f"; training goes on, and {WHAT_THEN}"
        self._is_told = True
        text = f"warning: checkpoint {number} could not be taken: {problem}{more}"
        self._log.event(text, about="checkpoint")

    def _run_state(self, state: AlgorithmState) -> RunState:
        """Return the state of all that the coordinator has."""
        own = self._log.state(), self._stopping.state()
        if isinstance(state, DownpourState):
            return RunState(*own, downpour=state)
        return RunState(*own, sandblaster=state)

    @property
    def state_due(self) -> bool:
        """Whether it is time to send the shards another `CoordinatorState`."""
        return self._mirrors is not None and (self._state_trigger.due or self._mirrors.wants_state)

    def send_state(self, state: AlgorithmState, vectors: list[int] | None = None, mirror: int = 0) -> None:
        """Let the shards know what a checkpoint would need, should the coordinator die (`server.emergency`).

        Parameters
        ----------
        state, vectors
            As `save`, though the run does not stand still.
        mirror
            The mirror that they are about, of a batch method.
        """
        self._state_trigger.take()
        if self._mirrors is not None:
            known = CoordinatorState(self._run_state(state), vectors, mirror)
            self._mirrors.send_state(known.to_bytes())

    def cover(self, state: AlgorithmState, vectors: list[int] | None = None, mirror: int = 0) -> None:
        """Send the state as `send_state`; return when shards have it, and all they hold is mirrored."""
        self.send_state(state, vectors, mirror)
        if self._mirrors is not None:
            self._mirrors.cover(self._keep_alive)

    def finish(self) -> None:
        """Wait until the checkpoint under way is on disk; take it again if a shard's death prevents that."""
        while self._pending is not None:
            given_up = self._settle()
            if given_up and self._last is not None and not self._stopping.lost:
                self.save(self._last.state, self._last.vectors)
                self.retaken = True

    def _settle(self) -> bool:
        """Wait, however long, for the end of the checkpoint under way; return whether it was given up."""
        pending = self._pending
        if pending is None:
            return False
        with reminding(f"checkpoint {pending.number}", self._log.say):
            self._shards.wait_until(self._settled)
        return pending.abandoned

    def _settled(self) -> bool:
        self._keep_alive()
        self._take_in()
        return self._pending is None

    def _record(self, done: PendingCheckpoint) -> None:
        self.last = done.number
        stop = done.started + done.stall_s + done.write_s
        self._spans.add((Kind.CHECKPOINT, done.started, stop, done.number))
        self._log.record(
            "checkpoint",
            number=done.number,
            bytes=sum(file.bytes for file in done.content.files.values()),
            stall_s=done.stall_s,
            write_s=done.write_s,
            score=done.content.score,
        )
