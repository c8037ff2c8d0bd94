"""Checkpoints as the coordinator takes them: when one is due, what it adds, and how one is completed.

A checkpoint begins at a moment when no replica has work outstanding and all pushes have arrived. The shards
copy their slices, and training goes on while they write the copies; when all have, a thread of the
coordinator writes the index and the manifest, gives the checkpoint its name, and removes those not kept.
"""

import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from dbmpi.checkpoint.coordinator_state import CoordinatorState
from dbmpi.checkpoint.directory import FileRecord, construction_directory, shard_file_name
from dbmpi.checkpoint.manifest import Manifest, Written
from dbmpi.checkpoint.writer import CheckpointWriter
from dbmpi.config.sections import Checkpoint
from dbmpi.coordinator.cluster import Copying
from dbmpi.coordinator.stopping import Stopping
from dbmpi.coordinator.trigger import IntervalTrigger
from dbmpi.files import writing
from dbmpi.layout.sharding import Owners
from dbmpi.output.metrics import MetricsLog


class CheckpointManager:
    """Takes the checkpoints of a job.

    Parameters
    ----------
    origin
        What is saved of the run itself.
    shards
        Who copies.
    book, stopping
        Whose state is saved too; checkpoints are booked.
    last
        Number of the last checkpoint in the run directory, whole or not; 0 for none.
    """

    def __init__(
        self, writer: CheckpointWriter, shards: Copying, log: MetricsLog, stopping: Stopping, last: int
    ) -> None:
        self._writer, self._shards, self._log, self._stopping = writer, shards, log, stopping
        self._settings: Checkpoint = writer.config.checkpoint
        self._trigger = IntervalTrigger(self._settings.every_examples, self._settings.every_s)
        self._number = last
        self._state_trigger = IntervalTrigger(0, self._settings.mirror_s)
        for due in (self._trigger, self._state_trigger):
            due.start_at(log.examples, log.elapsed_s)
        self._pending: _Pending | None = None
        self._last: tuple[str, Mapping[str, Any], Sequence[int] | None] | None = None  # what it was taken of
        self._scored = log.last_evaluation

    @property
    def due(self) -> bool:
        """Whether a checkpoint should be taken now: it is time, and the one before is on disk."""
        return self._trigger.now and self._pending is None

    def poll(self) -> None:
        """Look at the clock, and finish what can be. Raises as `writing`."""
        for due in (self._trigger, self._state_trigger):
            due.update(self._log.examples, self._log.elapsed_s)
        pending = self._pending
        if pending is not None and pending.given_up(self._shards.owners):
            self._pending = None
            self._log.event(f"checkpoint {pending.number} is given up: a shard died that had not written it")
        elif pending is not None and pending.take():
            self._record(pending)
            self._pending = None

    def save(self, algorithm: str, state: Mapping[str, Any], vectors: Sequence[int] | None = None) -> None:
        """Take a checkpoint of a run that stands still, and let it go on.

        Parameters
        ----------
        algorithm, state
            What is at work, and where it stands.
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
        owners = self._shards.owners
        pending = _Pending(self._writer, self._number, started, owners)
        self._shards.snapshot(self._number, vectors, pending.written)
        shards = len(self._shards.owners.living)
        pending.content = self._writer.manifest(
            self._number, algorithm, self._state(algorithm, state), self._score(), shards
        )
        pending.stall_s = time.monotonic() - started
        self._pending, self._last = pending, (algorithm, state, vectors)

    def _state(self, algorithm: str, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the state of all that the coordinator has."""
        return {algorithm: dict(state), "book": self._log.state(), "stopping": self._stopping.state()}

    @property
    def state_due(self) -> bool:
        """Whether it is time for another will."""
        return self._shards.may_fail and self._state_trigger.now

    def send_state(
        self, algorithm: str, state: Mapping[str, Any], vectors: list[int] | None = None, mirror: int = 0
    ) -> None:
        """Let the shards know what a checkpoint would need, should the coordinator die (`emergency`).

        Parameters
        ----------
        algorithm, state, vectors
            As `save`, though the run does not stand still.
        mirror
            The mirror that they are about, of a batch method.
        """
        self._state_trigger.take()
        if self._shards.may_fail:
            self._shards.send_state(
                CoordinatorState(algorithm, self._state(algorithm, state), vectors, mirror).text()
            )

    def finish(self) -> None:
        """Wait until the checkpoint under way is on disk; take it again if a shard's death prevents that."""
        while self._pending is not None:
            booked = self._settle()
            if not booked and self._last is not None and not self._stopping.lost:
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
            number=done.content.number,
            bytes=sum(file.bytes for file in done.content.files.values()),
            stall_s=done.stall_s,
            write_s=done.write_s,
            score=done.content.score,
        )


class _Pending:
    """A checkpoint whose slices are copied, on its way to the disk."""

    content: Manifest

    def __init__(self, writer: CheckpointWriter, number: int, started: float, owners: Owners) -> None:
        self.stall_s = self.write_s = 0.0
        self.number, self.published = number, False
        self._writer, self._started = writer, started
        self._files: dict[str, FileRecord] = {}
        self._pieces, self._missing = owners.assign(writer.pieces), set(owners.living)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

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
        """Return whether it never will be, as a shard died that had not written; what is there is removed.

        Not before those that live have written: they would miss the directory.
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
