"""Checkpoints as the coordinator takes them: when, what it adds, and how one is completed.

A checkpoint begins at a moment when no replica has work outstanding and all pushes have arrived. The shards
copy their slices, and training goes on while they write the copies; when all have, a thread of the
coordinator writes the index and the manifest, gives the checkpoint its name, and removes those not kept.
"""

import shutil
import threading
import time
from collections.abc import Sequence

from dbmpi.checkpoint.coordinator_state import CoordinatorState
from dbmpi.checkpoint.directory import FileRecord, Written, construction_directory, shard_file_name
from dbmpi.checkpoint.manifest import Manifest
from dbmpi.checkpoint.run_state import DownpourState, RunState, SandblasterState
from dbmpi.checkpoint.writer import CheckpointWriter
from dbmpi.coordinator.cluster import Shards
from dbmpi.coordinator.stopping import Stopping
from dbmpi.coordinator.trigger import IntervalTrigger
from dbmpi.files import writing
from dbmpi.layout.sharding import Owners
from dbmpi.output.metrics import MetricsLog
from dbmpi.output.totals import EvaluationSums

AlgorithmState = DownpourState | SandblasterState


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
    """

    def __init__(
        self, writer: CheckpointWriter, shards: Shards, log: MetricsLog, stopping: Stopping, last: int
    ) -> None:
        self._writer, self._shards, self._log, self._stopping = writer, shards, log, stopping
        settings = writer.settings
        self._mirrors, self._number = shards.mirrors, last
        self._trigger = IntervalTrigger(settings.every_examples, settings.every_s)
        self._state_trigger = IntervalTrigger(0, settings.mirror_s)
        self._pending: _Pending | None = None
        self._last: tuple[AlgorithmState, Sequence[int] | None] | None = None  # what it was taken of
        self._scored: EvaluationSums | None = None

    def start(self) -> None:
        """Begin to count from where the log is, once it is restored."""
        for trigger in (self._trigger, self._state_trigger):
            trigger.start_at(self._log.examples, self._log.elapsed_s)
        self._scored = self._log.last_evaluation

    @property
    def due(self) -> bool:
        """Whether a checkpoint should be taken now: it is time, and the one before is on disk."""
        return self._trigger.due and self._pending is None

    def poll(self) -> None:
        """Look at the clock, and finish what can be. Raises as `writing`."""
        for trigger in (self._trigger, self._state_trigger):
            trigger.update(self._log.examples, self._log.elapsed_s)
        pending = self._pending
        if pending is not None and pending.given_up(self._shards.owners):
            self._pending = None
            self._log.event(f"checkpoint {pending.number} is given up: a shard died that had not written it")
        elif pending is not None and pending.take():
            self._record(pending)
            self._pending = None

    def save(self, state: AlgorithmState, vectors: Sequence[int] | None = None) -> None:
        """Take a checkpoint of a run that stands still, and let it go on.

        Parameters
        ----------
        state
            Of the algorithm at work.
        vectors
            The batch method's vectors to save; None with Downpour.

        Raises
        ------
        UserError
            The disk is full, or cannot be written to for another reason.
        """
        self._settle()
        self._trigger.take()
        self._number += 1
        started = time.monotonic()
        part = construction_directory(self._writer.run_dir, self._number)
        with writing(part):
            part.mkdir(parents=True, exist_ok=True)
        pending = _Pending(self._writer, self._number, started, self._shards.owners)
        self._shards.snapshot(self._number, vectors, pending.written)
        shards = len(self._shards.owners.living)
        content = self._writer.manifest(self._number, self._run_state(state), self._score(), shards)
        pending.start(content)
        self._pending, self._last = pending, (state, vectors)

    def _run_state(self, state: AlgorithmState) -> RunState:
        """Return the state of all that the coordinator has."""
        own = self._log.state(), self._stopping.state()
        if isinstance(state, DownpourState):
            return RunState(*own, downpour=state)
        return RunState(*own, sandblaster=state)

    @property
    def state_due(self) -> bool:
        """Whether it is time to send the shards another `CoordinatorState`."""
        return self._mirrors is not None and self._state_trigger.due

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

    def finish(self) -> None:
        """Wait until the checkpoint under way is on disk; take it again if a shard's death prevents that."""
        while self._pending is not None:
            on_disk = self._settle()
            if not on_disk and self._last is not None and not self._stopping.lost:
                self.save(*self._last)

    def _settle(self) -> bool:
        """Wait for what becomes of the checkpoint under way; return whether it is on disk."""
        pending = self._pending
        if pending is None:
            return True
        self._shards.await_files()
        pending.join()
        self.poll()
        return pending.published

    def _score(self) -> float | None:
        """Return that of the evaluation since the last checkpoint, if there was one."""
        seen, self._scored = self._scored, self._log.last_evaluation
        return None if seen is self._scored else self._scored.score

    def _record(self, done: "_Pending") -> None:
        self._log.record(
            "checkpoint",
            number=done.number,
            bytes=sum(file.bytes for file in done.content.files.values()),
            stall_s=done.stall_s,
            write_s=done.write_s,
            score=done.content.score,
        )


class _Pending:
    """A checkpoint on its way to the disk, from before the shards copy their slices.

    Parameters
    ----------
    writer, number
        The job, and the number of the checkpoint.
    started
        Since when training stands still, `time.monotonic`.
    owners
        Which shards will write, and serve what.
    """

    def __init__(self, writer: CheckpointWriter, number: int, started: float, owners: Owners) -> None:
        self.stall_s = self.write_s = 0.0
        self.number, self.published = number, False
        self._writer, self._started = writer, started
        self._files: dict[str, FileRecord] = {}
        intact = len(owners.living) == writer.cluster["shards"]
        self._pieces = writer.pieces if intact else owners.assign(writer.pieces)
        self._missing = set(owners.living)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, content: Manifest) -> None:
        """The slices are copied, and training goes on; `content` is the manifest without files."""
        self.content = content
        self.stall_s = time.monotonic() - self._started

    def written(self, written: Written) -> None:
        """Take in that a shard's file is on disk; after the last, the rest is written."""
        if written.number != self.number:  # of one that was given up
            return
        self._files[shard_file_name(written.shard)] = written.file
        self._missing.discard(written.shard)
        if not self._missing and self._thread is None:
            self._thread = threading.Thread(target=self._complete, daemon=True)
            self._thread.start()

    def _complete(self) -> None:
        try:
            self.content = self._writer.complete(self.content, self._files, self._pieces)
            self.published = True
        except BaseException as error:  # raised again where the coordinator looks
            self._error = error
        self.write_s = time.monotonic() - self._started - self.stall_s

    def given_up(self, owners: Owners) -> bool:
        """Return whether it cannot be completed, as a shard died that had not written; then remove it.

        Not before the living shards have written: they need the directory.
        """
        if not self._missing or self._missing & set(owners.living):
            return False
        shutil.rmtree(construction_directory(self._writer.run_dir, self.number), ignore_errors=True)
        return True

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def take(self) -> bool:
        """Return whether it is on disk. Raises what kept it from it."""
        if self._thread is None or self._thread.is_alive():
            return False
        if self._error is not None:
            raise self._error
        return True
