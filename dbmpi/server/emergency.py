"""The checkpoint that the shards make when the coordinator has died, before the job ends.

The first living shard has what the coordinator sent last (`coordinator_state`). It takes the run directory
over, so that a coordinator that was only stopped can change nothing there; it lets the others copy their
slices, as for a checkpoint, and completes it. The parameters are newer than that state: notes say what was
learned in between. What no note says, of the portions that were outstanding, will be learned again.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from dbmpi.arrays import Record
from dbmpi.checkpoint import shard_file
from dbmpi.checkpoint.coordinator_state import CoordinatorState
from dbmpi.checkpoint.directory import (
    FileRecord,
    checkpoint_numbers,
    construction_directory,
    shard_file_name,
)
from dbmpi.checkpoint.manifest import Checkpoint
from dbmpi.checkpoint.pruning import looks_whole
from dbmpi.checkpoint.resume import whole
from dbmpi.checkpoint.writer import CheckpointWriter
from dbmpi.comm.messages import complete
from dbmpi.comm.protocol import EMERGENCY, EMERGENCY_TAG
from dbmpi.comm.wait import Waiter
from dbmpi.errors import CoordinatorDied, JobEnded, PeerDied, TakenOver, UserError
from dbmpi.files import writing
from dbmpi.layout.sharding import Owners
from dbmpi.output.reminder import reminding
from dbmpi.output.run_directory import METRICS
from dbmpi.ownership.claim import succeed
from dbmpi.ownership.lease import Lease

Copy = Callable[[int, Sequence[int] | None], Mapping[str, NDArray[Any]]]
DOWNPOUR = -1  # in place of a number of vectors
NOTHING = 0  # in place of the number of a checkpoint


class EmergencyCheckpoint:
    """One shard's part in it.

    Parameters
    ----------
    writer
        Writes the manifest, and completes the checkpoint.
    comm, index
        The shards' communicator, and this one.
    owners
        Which shards live, and serve what, as far as is known here.
    waiter
        How to wait.
    copy
        Copies this shard's slice: `copy(mirror, vectors)`, see `CoordinatorState`.
    go_on
        Says what goes on from a checkpoint.
    """

    def __init__(
        self,
        writer: CheckpointWriter,
        comm: MPI.Intracomm,
        index: int,
        owners: Owners,
        waiter: Waiter,
        copy: Copy,
        go_on: str,
    ) -> None:
        self._writer, self._comm, self._index, self._owners = writer, comm, index, owners
        self._waiter, self._copy, self._go_on = waiter, copy, go_on

    def write(self, coordinator_state: CoordinatorState | None, died: str) -> None:
        """Make the checkpoint, and end. Collective over the living shards.

        Parameters
        ----------
        coordinator_state
            The last one that has come, if one has.
        died
            Says that the coordinator has.

        Raises
        ------
        CoordinatorDied
            On the first shard: there is a checkpoint of what the coordinator knew, or an earlier one.
        PeerDied
            There: there is none at all.
        TakenOver
            There: another job owns the run directory.
        JobEnded
            On the others.
        """
        root, *others = self._owners.living
        lease: Lease | None = None
        if self._index != root:
            self._contribute(root)
            raise JobEnded
        try:
            lease = self._take_over()
            saved = self._saved(coordinator_state)
            if coordinator_state is None or saved:
                self._tell(others, np.zeros(1, EMERGENCY))
            else:
                number = self._write_checkpoint(coordinator_state, others)
                learned = f"{coordinator_state.examples:,} examples"
                saved = f"checkpoint {number}, after {learned}, is of what the shards have"
        except TakenOver:
            raise
        except Exception as error:
            died, saved = f"{died}; no checkpoint could be made: {error}", ""
        saved = saved or self._earlier()
        if lease is not None:
            lease.release()
        if not saved:
            raise PeerDied(died)
        raise CoordinatorDied(f"{died}; {saved}: {self._go_on} from there")

    def _take_over(self) -> Lease:
        """Become the owner of the run directory. Raises as `succeed`."""
        self._writer.owned, owner = succeed(self._writer.owned)
        with suppress(UserError):  # a disk that is full; a coordinator that wakes adds a line at most
            self._writer.owned.detach(METRICS)
        return Lease(self._writer.owned, owner, lambda text: print(f"dbmpi: warning: {text}", flush=True))

    def _earlier(self) -> str:
        """Return which whole checkpoint there is, if there is one."""
        found = (one for one in whole(self._writer.run_dir) if isinstance(one, Checkpoint))
        newest = next(found, None)
        return f"checkpoint {newest.manifest.number} is an earlier one" if newest is not None else ""

    def _saved(self, state: CoordinatorState | None) -> str:
        """Return which checkpoint has all that the coordinator had, if the newest has."""
        newest = max(checkpoint_numbers(self._writer.run_dir), default=NOTHING)
        if state is None or newest == NOTHING:
            return ""
        saved = looks_whole(self._writer.run_dir, newest)
        has_all = saved is not None and saved.manifest.state.examples >= state.examples
        return f"checkpoint {newest} has it all" if has_all else ""

    def _write_checkpoint(self, state: CoordinatorState, others: Sequence[int]) -> int:
        """Let all write their slices, and complete the checkpoint; return its number."""
        writer = self._writer
        number = 1 + max(checkpoint_numbers(writer.run_dir), default=NOTHING)
        directory = construction_directory(writer.owned, number)
        with writer.owned.guarded(), writing(directory):
            directory.mkdir()
        self._order(others, number, state)
        with reminding(f"checkpoint {number}", lambda text: print(f"dbmpi: {text}", flush=True)):
            files = {shard_file_name(self._index): self._write_slice(number, state.mirror, state.vectors)}
            for shard in others:  # however long it takes: one that dies is noticed
                record = self._receive(np.zeros(1, EMERGENCY), shard, lambda: None)[0]
                files[shard_file_name(shard)] = FileRecord.of(record)
            content = writer.manifest(number, state.state, None, 1 + len(others))
            writer.complete(content, files, self._owners.assign(writer.pieces))
        return number

    def _order(self, others: Sequence[int], number: int, state: CoordinatorState) -> None:
        """Say to the others which checkpoint to write, of what."""
        record = np.zeros(1, EMERGENCY)
        record["number"], record["mirror"] = number, state.mirror
        record["generation"] = self._writer.owned.generation
        record["vectors"] = DOWNPOUR if state.vectors is None else len(state.vectors)
        self._tell(others, record)
        if state.vectors:
            self._tell(others, np.array(state.vectors, np.int64))

    def _contribute(self, root: int) -> None:
        """Write this shard's slice, and tell."""
        record = self._receive(np.zeros(1, EMERGENCY), root)[0]
        number, count = int(record["number"]), int(record["vectors"])
        if number == NOTHING:
            return
        self._writer.owned = replace(self._writer.owned, generation=int(record["generation"]))
        numbers = np.zeros(max(count, 0), np.int64)
        if count > 0:
            self._receive(numbers, root)
        file = self._write_slice(
            number, int(record["mirror"]), None if count == DOWNPOUR else numbers.tolist()
        )
        file.fill(record)
        self._tell([root], record.reshape(1))

    def _write_slice(self, number: int, mirror: int, vectors: Sequence[int] | None) -> FileRecord:
        path = construction_directory(self._writer.owned, number) / shard_file_name(self._index)
        with self._writer.owned.guarded():
            return shard_file.write(path, self._copy(mirror, vectors))

    def _tell(self, shards: Sequence[int], records: Record) -> None:
        for shard in shards:
            sent = self._comm.Isend(records.view(np.uint8), shard, EMERGENCY_TAG)
            self._waiter.until(sent.Test, partial(str, f"shard {shard} (the coordinator's state)"))

    def _receive(self, into: Record, shard: int, meanwhile: Callable[[], None] | None = None) -> Record:
        what, request = "the coordinator's state", self._comm.Irecv(into.view(np.uint8), shard, EMERGENCY_TAG)
        complete(request, into, shard, what, self._waiter, partial(str, f"shard {shard} ({what})"), meanwhile)
        return into
