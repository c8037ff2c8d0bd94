"""A checkpoint on its way to the disk, from before the shards copy their slices until it has its name."""

import shutil
import threading
import time

from dbmpi.awake import awake
from dbmpi.checkpoint.directory import FileRecord, Written, construction_directory, shard_file_name
from dbmpi.checkpoint.manifest import Manifest
from dbmpi.checkpoint.writer import CheckpointWriter
from dbmpi.errors import UserError
from dbmpi.layout.sharding import Owners


class PendingCheckpoint:
    """See above.

    Parameters
    ----------
    writer, number
        The job, and the number of the checkpoint.
    started
        Since when training stands still, `time.monotonic`.
    owners
        Which shards will write, and serve what.
    vectors
        How many vectors of a batch method are saved besides the parameters.

    Attributes
    ----------
    content
        The manifest; whole once it is on disk.
    problem
        What keeps it from the disk; empty while nothing does.
    abandoned
        Whether it was given up as a shard died.
    timeout_s
        From which age on it is late, in seconds.
    started
        As above.
    """

    def __init__(
        self, writer: CheckpointWriter, number: int, started: float, owners: Owners, vectors: int = 0
    ) -> None:
        self.stall_s = self.write_s = 0.0
        self.number, self.problem, self.abandoned = number, "", False
        self.timeout_s, self._late, self._begun = writer.timeout_s(vectors), False, awake()
        self._writer, self.started = writer, started
        self._files: dict[str, FileRecord] = {}
        intact = len(owners.living) == writer.cluster["shards"]
        self._pieces = writer.pieces if intact else owners.assign(writer.pieces)
        self._missing = set(owners.living)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, content: Manifest) -> None:
        """The slices are copied, and training goes on; `content` is the manifest without files."""
        self.content = content
        self.stall_s = time.monotonic() - self.started

    def written(self, written: Written) -> None:
        """Take in that a shard's file is on disk, or cannot be; after the last, a thread does the rest."""
        if written.number != self.number:  # of one that was given up
            return
        if written.file is not None:
            self._files[shard_file_name(written.shard)] = written.file
        self.problem = self.problem or written.problem
        self._missing.discard(written.shard)
        if not self._missing and self._thread is None:
            self._thread = threading.Thread(target=self._complete, daemon=True)
            self._thread.start()

    def _complete(self) -> None:
        try:
            if not self.problem:
                self.content = self._writer.complete(self.content, self._files, self._pieces)
        except UserError as error:
            self.problem = str(error)
        except BaseException as error:  # raised again where the coordinator looks
            self._error = error
        if self.problem:
            self._remove()
        self.write_s = self.age_s - self.stall_s

    def given_up(self, owners: Owners) -> bool:
        """Return whether it cannot be completed, as a shard died that had not written; then remove it.

        Not before the living shards have written: they need the directory.
        """
        if not self._missing or self._missing & set(owners.living):
            return False
        self._remove()
        self.abandoned = True
        return True

    def is_late(self) -> bool:
        """Return, once, that it is not on disk after the time that it may take: that of `dbmpi.awake`."""
        before, self._late = self._late, awake() - self._begun > self.timeout_s
        return self._late and not before

    @property
    def ended(self) -> bool:
        """Whether it is on disk, or there is a `problem`. Raises what went wrong, if that is no problem."""
        if self._thread is None or self._thread.is_alive():
            return False
        if self._error is not None:
            raise self._error
        return True

    @property
    def age_s(self) -> float:
        """Seconds since training stood still for it."""
        return time.monotonic() - self.started

    def _remove(self) -> None:
        shutil.rmtree(construction_directory(self._writer.owned, self.number), ignore_errors=True)
