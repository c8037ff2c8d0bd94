"""Checkpoints as the coordinator takes them: when one is due, what it adds, and how one is completed.

A checkpoint begins at a moment when no replica has work outstanding and all pushes have arrived. The shards
copy their slices, and training goes on while they write the copies; when all have, a thread of the
coordinator writes the index and the manifest, gives the checkpoint its name, and removes those not kept.
"""

import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dbmpi import manifest, rundir
from dbmpi.config import Checkpoint, Config, to_toml
from dbmpi.due import Due
from dbmpi.manifest import FileRecord, Manifest, Written, model_of
from dbmpi.metrics import Book
from dbmpi.partition import Partitioning
from dbmpi.sharding import Owners, Piece
from dbmpi.stopping import Stopping


class Copying(Protocol):
    """The shards, as far as checkpoints go; `owners` says which of them live, and serve what."""

    owners: Owners

    def snapshot(
        self, number: int, vectors: Sequence[int] | None, written: Callable[[Written], None]
    ) -> None:
        """Let every shard copy its slice for a checkpoint, and write the copy in the background.

        `vectors` are those of the batch method; where it is None, the learning rule's state is copied.
        `written` is called for each file that is on disk, while an activity is driven or in `await_files`.
        The book has the shards' latest reports when this returns.
        """

    def await_files(self) -> None:
        """Wait until the shards that live have written all that they copied."""


@dataclass(frozen=True)
class Origin:
    """What is the same in all checkpoints of a job."""

    run_dir: Path
    config: Config
    plan: Partitioning
    pieces: tuple[Piece, ...]
    rows: int
    cluster: dict[str, int]


class Keeper:
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

    def __init__(self, origin: Origin, shards: Copying, book: Book, stopping: Stopping, last: int) -> None:
        self._origin, self._shards, self._book, self._stopping = origin, shards, book, stopping
        self._settings: Checkpoint = origin.config.checkpoint
        self._due = Due(self._settings.every_examples, self._settings.every_s)
        self._number = last
        self._due.start_at(book.examples, book.elapsed_s)
        self._pending: _Pending | None = None
        self._last: tuple[str, Mapping[str, Any], Sequence[int] | None] | None = None  # what it was taken of
        self._scored = book.last_evaluation

    @property
    def due(self) -> bool:
        """Whether a checkpoint should be taken now: it is time, and the one before is on disk."""
        return self._due.now and self._pending is None

    def look(self) -> None:
        """Look at the clock, and finish what can be. Raises as `rundir.writing`."""
        self._due.look_at(self._book.examples, self._book.elapsed_s)
        pending = self._pending
        if pending is not None and pending.given_up(self._shards.owners):
            self._pending = None
            self._book.event(f"checkpoint {pending.number} is given up: a shard died that had not written it")
        elif pending is not None and pending.take():
            self._book_it(pending)
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
        self._due.take()
        self._number += 1
        started = time.monotonic()
        part = manifest.construction(self._origin.run_dir, self._number)
        with rundir.writing(part):
            part.mkdir(parents=True, exist_ok=True)
        owners = self._shards.owners
        pending = _Pending(self._origin, self._number, started, owners)
        self._shards.snapshot(self._number, vectors, pending.written)
        all_state = {algorithm: dict(state), "book": self._book.state(), "stopping": self._stopping.state()}
        pending.content = self._manifest(algorithm, all_state)
        pending.stall_s = time.monotonic() - started
        self._pending, self._last = pending, (algorithm, state, vectors)

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
        self.look()
        return pending.published

    def _manifest(self, algorithm: str, state: dict[str, Any]) -> Manifest:
        origin = self._origin
        seen, self._scored = self._scored, self._book.last_evaluation
        return Manifest(
            number=self._number,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            algorithm=algorithm,
            model=model_of(origin.plan.network, origin.config.model.dtype, origin.rows),
            cluster=origin.cluster | {"shards": len(self._shards.owners.living)},
            files={},
            configuration=to_toml(origin.config),
            versions=rundir.versions(),
            score=None if seen is self._scored else self._scored.score,
            state=state,
        )

    def _book_it(self, done: "_Pending") -> None:
        self._book.record(
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

    def __init__(self, origin: Origin, number: int, started: float, owners: Owners) -> None:
        self.stall_s = self.write_s = 0.0
        self.number, self.published = number, False
        self._origin, self._started = origin, started
        self._files: dict[str, FileRecord] = {}
        self._pieces, self._missing = owners.assign(origin.pieces), set(owners.living)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def written(self, written: Written) -> None:
        """Take in that a shard's file is on disk; after the last, the rest is written."""
        if written.number != self.number:  # of one that was given up
            return
        self._files[manifest.shard_file(written.shard)] = written.file
        self._missing.discard(written.shard)
        if not self._missing and self._thread is None:
            self._thread = threading.Thread(target=self._complete, daemon=True)
            self._thread.start()

    def _complete(self) -> None:
        from dbmpi.assembly import write_index  # HDF5: only here, so that ranks start faster

        try:
            origin = self._origin
            part = manifest.construction(origin.run_dir, self.number)
            index = write_index(part, origin.plan, self._pieces, np.dtype(origin.config.model.dtype))
            self.content = replace(self.content, files=self._files | {manifest.INDEX: index})
            manifest.publish(origin.run_dir, self.content)
            keep = origin.config.checkpoint
            best = manifest.best_of(origin.run_dir) if keep.best else None
            manifest.prune(origin.run_dir, keep.keep, best)
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
        shutil.rmtree(manifest.construction(self._origin.run_dir, self.number), ignore_errors=True)
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
