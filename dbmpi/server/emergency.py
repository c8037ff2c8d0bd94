"""The execution of the coordinator's will: the shards make a checkpoint of it, and the job ends.

The first shard that lives has the will (`coordinator_state`); it lets the others copy their slices, as for a
checkpoint, and completes it. What the shards know is newer than the will: what was learned in between is in
the parameters, and will be learned again.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from dbmpi.arrays import Record
from dbmpi.checkpoint import manifest, shard_file
from dbmpi.checkpoint.coordinator_state import CoordinatorState
from dbmpi.checkpoint.directory import (
    FileRecord,
    checkpoint_directory,
    checkpoint_numbers,
    construction_directory,
    last_begun,
    shard_file_name,
)
from dbmpi.checkpoint.writer import CheckpointWriter
from dbmpi.comm.protocol import EMERGENCY, EMERGENCY_TAG, check_size
from dbmpi.comm.wait import Waiter
from dbmpi.errors import CoordinatorDied, JobEnded, PeerDied
from dbmpi.files import writing
from dbmpi.layout.sharding import Owners

Copy = Callable[[int, Sequence[int] | None], Mapping[str, NDArray[Any]]]
DOWNPOUR = -1  # in place of a number of vectors
NOTHING = 0  # in place of the number of a checkpoint


class EmergencyCheckpoint:
    """One shard's part in the execution.

    Parameters
    ----------
    origin
        The job.
    comm, index
        The shards' communicator, and this one.
    owners
        Which shards live, and serve what, as far as it is known here.
    waiter
        How to wait.
    copy
        Copies this shard's slice: `copy(mirror, vectors)`, see `CoordinatorState`.
    """

    def __init__(
        self,
        writer: CheckpointWriter,
        comm: MPI.Intracomm,
        index: int,
        owners: Owners,
        waiter: Waiter,
        copy: Copy,
    ) -> None:
        self._writer, self._comm, self._index, self._owners = writer, comm, index, owners
        self._waiter, self._copy = waiter, copy

    def write(self, coordinator_state: CoordinatorState | None, died: str) -> None:
        """Make the checkpoint, and end. Collective over the shards that live.

        Parameters
        ----------
        will
            The last one that has come, if one has.
        died
            Says that the coordinator has.

        Raises
        ------
        CoordinatorDied
            On the first shard: there is a checkpoint of what the coordinator knew.
        PeerDied
            There: there is not.
        JobEnded
            On the others.
        """
        root, *others = self._owners.living
        if self._index != root:
            self._contribute(root)
            raise JobEnded
        try:
            saved = self._saved(coordinator_state)
            if coordinator_state is None or saved:
                self._tell(others, np.zeros(1, EMERGENCY))
            else:
                number = self._write_checkpoint(coordinator_state, others)
                learned = f"{coordinator_state.examples:,} examples"
                saved = f"checkpoint {number}, after {learned}, is of what the shards have"
        except Exception as error:
            raise PeerDied(f"{died}; no checkpoint could be made: {error}") from error
        if not saved:
            raise PeerDied(died)
        raise CoordinatorDied(f"{died}; {saved}: the same command goes on from there")

    def _saved(self, coordinator_state: CoordinatorState | None) -> str:
        """Return which checkpoint has all that is in the will, if the newest has."""
        newest, run_dir = max(checkpoint_numbers(self._writer.run_dir), default=NOTHING), self._writer.run_dir
        if coordinator_state is None or newest == NOTHING:
            return ""
        try:
            state = manifest.read(checkpoint_directory(run_dir, newest)).manifest.state
        except manifest.Damaged:
            return ""
        return f"checkpoint {newest} has it all" if state.log.examples >= coordinator_state.examples else ""

    def _write_checkpoint(self, coordinator_state: CoordinatorState, others: Sequence[int]) -> int:
        """Let all write their slices, and complete the checkpoint; return its number."""
        writer = self._writer
        number = 1 + last_begun(writer.run_dir)
        part = construction_directory(writer.run_dir, number)
        with writing(part):
            part.mkdir(parents=True)
        record = np.zeros(1, EMERGENCY)
        record["number"], record["mirror"] = number, coordinator_state.mirror
        record["vectors"] = DOWNPOUR if coordinator_state.vectors is None else len(coordinator_state.vectors)
        self._tell(others, record)
        if coordinator_state.vectors:
            self._tell(others, np.array(coordinator_state.vectors, np.int64))
        files = {
            shard_file_name(self._index): self._write_slice(
                number, coordinator_state.mirror, coordinator_state.vectors
            )
        }
        for shard in others:
            record = self._receive(np.zeros(1, EMERGENCY), shard)[0]
            files[shard_file_name(shard)] = FileRecord.of(record)
        shards = 1 + len(others)
        content = writer.manifest(number, coordinator_state.state, None, shards)
        writer.complete(content, files, self._owners.assign(writer.pieces))
        return number

    def _contribute(self, root: int) -> None:
        """Write this shard's slice, and tell."""
        record = self._receive(np.zeros(1, EMERGENCY), root)[0]
        number, count = int(record["number"]), int(record["vectors"])
        if number == NOTHING:
            return
        numbers = np.zeros(max(count, 0), np.int64)
        if count > 0:
            self._receive(numbers, root)
        file = self._write_slice(
            number, int(record["mirror"]), None if count == DOWNPOUR else numbers.tolist()
        )
        file.fill(record)
        self._tell([root], record.reshape(1))

    def _write_slice(self, number: int, mirror: int, vectors: Sequence[int] | None) -> FileRecord:
        path = construction_directory(self._writer.run_dir, number) / shard_file_name(self._index)
        return shard_file.write(path, self._copy(mirror, vectors))

    def _tell(self, shards: Sequence[int], records: Record) -> None:
        for shard in shards:
            sent = self._comm.Isend(records.view(np.uint8), shard, EMERGENCY_TAG)
            self._waiter.until(sent.Test, partial(str, f"shard {shard} (the coordinator's will)"))

    def _receive(self, into: Record, shard: int) -> Record:
        status, request = MPI.Status(), self._comm.Irecv(into.view(np.uint8), shard, EMERGENCY_TAG)
        what = "the coordinator's will"
        self._waiter.until(partial(request.Test, status), partial(str, f"shard {shard} ({what})"))
        check_size(status.Get_count(), into.nbytes, what, shard)
        return into
