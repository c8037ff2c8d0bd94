"""The checkpoint that the shards make when the coordinator has died, before the job ends.

The first living shard leads. It takes the run directory over, so that a coordinator that was only stopped
can change nothing there. It has what the coordinator sent last (`coordinator_state`); it asks the others what
they could write, lets them write their slices, as for a checkpoint, and completes it. If shards have died,
their successors take over from the mirrors first, as they would have by order; and if one dies on the way, or
is silent, it is all done again without it: a silent one is killed by those of its host. Whatever a shard
waits for, reads or writes meanwhile, the others get signs of life.

The parameters are newer than the state: notes say what was learned in between. What no note says, of the
portions that were outstanding, will be learned again.

A batch method's parameters must be of one mirror that all have: the last one, or the one before it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from dbmpi.checkpoint import shard_file
from dbmpi.checkpoint.coordinator_state import CoordinatorState
from dbmpi.checkpoint.directory import (
    FileRecord,
    checkpoint_numbers,
    construction_directory,
    shard_file_name,
)
from dbmpi.checkpoint.pruning import looks_whole
from dbmpi.checkpoint.resume import last_whole
from dbmpi.checkpoint.writer import CheckpointWriter
from dbmpi.comm.ancestry import launcher
from dbmpi.comm.protocol import EMERGENCY, Emergency
from dbmpi.comm.wait import Waiter
from dbmpi.errors import CoordinatorDied, Fenced, JobEnded, PeerDied, TakenOver, UserError
from dbmpi.files import writing
from dbmpi.layout.sharding import Owners
from dbmpi.output.reminder import reminding
from dbmpi.output.run_directory import METRICS
from dbmpi.ownership.claim import succeed
from dbmpi.ownership.lease import Lease
from dbmpi.server.gathering import Gathering, Letter

FAILED = -1  # in place of the size of a file


class Slice(Protocol):
    """What one shard holds."""

    def take_over(self, dead: int) -> bool:
        """Take note of a shard's death; return whether it was for this one to take over, and it could not."""

    @property
    def numbers(self) -> list[int]:
        """The mirrors whose parameters it can give, and 0: those of the moment."""

    def copy(self, mirror: int, vectors: Sequence[int] | None) -> Mapping[str, NDArray[Any]]:
        """Return a copy, see `CoordinatorState`."""


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
    held
        This shard's slice.
    lease_s
        For how long this shard owns the run directory before it has to renew its record.
    go_on
        Says what goes on from a checkpoint.
    end
        Ends a shard that is silent, if it can be reached from here.
    """

    def __init__(
        self,
        writer: CheckpointWriter,
        comm: MPI.Intracomm,
        index: int,
        owners: Owners,
        waiter: Waiter,
        held: Slice,
        lease_s: float,
        go_on: str,
        end: Callable[[int], object] = lambda shard: None,
    ) -> None:
        self._writer, self._comm, self._index, self._owners = writer, comm, index, owners
        self._gathering, self._held = Gathering(comm, waiter, end), held
        self._lease_s, self._go_on = lease_s, go_on
        self._lease: Lease | None = None  # of the run directory, on the first shard
        self._lost = False  # a slice, for which this shard is the successor
        self._attempts = self._begun = 0  # also of those that came to write

    def write(self, states: Sequence[CoordinatorState], died: str) -> None:
        """Make the checkpoint, and end. Collective over the living shards.

        Parameters
        ----------
        states
            The last ones that have come, if any have; the newest last.
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
        Fenced
            There: another shard does, to which this one seems to have died.
        JobEnded
            On the others.
        """
        with self._gathering.attending(self._others):
            while True:
                self._take_over(self._gathering.dead)
                root, *others = self._owners.living
                if self._index == root:
                    self._lead(states, others, died)
                else:
                    self._contribute(root)

    def _others(self) -> list[int]:
        return [shard for shard in self._owners.living if shard != self._index]

    def _take_over(self, dead: Iterable[int]) -> None:
        """Take note of deaths, in the order that all shards have."""
        for shard in sorted(set(dead).intersection(self._owners.living)):
            self._lost |= self._held.take_over(shard)
            if shard in self._owners.living:  # where there are no mirrors
                self._owners.mark_dead(shard)

    # -- the first shard -----------------------------------------------------------------------------------

    def _lead(self, states: Sequence[CoordinatorState], others: Sequence[int], died: str) -> None:
        """Have the checkpoint made, and end; return if it has to be begun again, as a shard has died."""
        meanwhile = self._gathering.meanwhile
        try:
            meanwhile(self._own_directory)
            saved = meanwhile(partial(self._saved, states)) or self._attempt(states, others)
        except (JobEnded, TakenOver, Fenced):
            raise
        except Exception as error:
            died, saved = f"{died}; no checkpoint could be made: {error}", ""
        if saved is None:
            return
        saved = saved or meanwhile(self._earlier)
        self._gathering.tell(others, Emergency.END)
        if silent := self._gathering.silent:
            died = f"{died}; also silent: {', '.join(f'shard {shard}' for shard in sorted(silent))}"
        if self._lease is not None:
            self._lease.release()
        if not saved:
            raise PeerDied(died)
        raise CoordinatorDied(f"{died}; {saved}: {self._go_on} from there")

    def _own_directory(self) -> None:
        """Become the owner of the run directory, unless this shard is. Raises as `succeed`."""
        if self._lease is not None:
            return
        self._writer.owned, owner = succeed(self._writer.owned, self._lease_s, launcher() or 0)
        with suppress(UserError):  # a disk that is full; a coordinator that wakes adds a line at most
            self._writer.owned.detach(METRICS)
        warn = partial(print, "dbmpi: warning:", flush=True)
        self._lease = Lease(self._writer.owned, owner, warn)

    def _earlier(self) -> str:
        """Return which whole checkpoint there is, if there is one."""
        newest = None
        with suppress(UserError):  # they cannot be read now
            newest = last_whole(self._writer.run_dir)
        return f"checkpoint {newest.manifest.number} is an earlier one" if newest is not None else ""

    def _saved(self, states: Sequence[CoordinatorState]) -> str:
        """Return which checkpoint has all that the coordinator had, if the newest has."""
        newest = max(checkpoint_numbers(self._writer.run_dir), default=0)
        if not states or not newest:
            return ""
        saved = looks_whole(self._writer.run_dir, newest)
        has_all = saved is not None and saved.manifest.state.examples >= states[-1].examples
        return f"checkpoint {newest} has it all" if has_all else ""

    def _attempt(self, states: Sequence[CoordinatorState], others: Sequence[int]) -> str | None:
        """Have a checkpoint written; return what it is, nothing if there is no state, None if a shard dies.

        Raises PeerDied if a slice is lost, or what is left of them is of no one moment.
        """
        if not states:
            return ""
        offers = self._offers(others)
        if offers is None:
            return None
        found = [state for state in states if all(state.mirror in offer for offer in offers)]
        if not found:
            raise PeerDied("a shard has died too, and no mirror of it is whole")
        number = self._write_checkpoint(found[-1], others)
        if number is None:
            return None
        learned = f"{found[-1].examples:,} examples"
        return f"checkpoint {number}, after {learned}, is of what the shards have"

    def _offers(self, others: Sequence[int]) -> list[list[int]] | None:
        """Return what each shard could write; None if one has died."""
        self._attempts += 1
        dead = [shard for shard in range(self._comm.Get_size()) if shard not in self._owners.living]
        self._gathering.tell(others, Emergency.ASK, dead, number=self._attempts)
        offers = [self._numbers]
        for shard in others:
            letter = self._gathering.expect(shard, Emergency.OFFER, self._attempts)
            if letter is None:
                return None
            offers.append(letter.numbers)
        return offers

    @property
    def _numbers(self) -> list[int]:
        return [] if self._lost else self._held.numbers

    def _write_checkpoint(self, state: CoordinatorState, others: Sequence[int]) -> int | None:
        """Let all write their slices, complete it, and return its number; None if a shard dies."""
        writer = self._writer
        number, directory = self._gathering.meanwhile(self._begin)
        vectors, fields = state.vectors or (), {"number": number, "mirror": state.mirror}
        fields |= {"batch": state.vectors is not None, "generation": writer.owned.generation}
        self._gathering.tell(others, Emergency.WRITE, vectors, **fields)
        with reminding(f"checkpoint {number}", lambda text: print(f"dbmpi: {text}", flush=True)):
            files = {shard_file_name(self._index): self._write_slice(directory, state.mirror, state.vectors)}
            for shard in others:
                letter = self._gathering.expect(shard, Emergency.WRITTEN, number)
                if letter is None:  # what is there is removed with the room of this owner
                    return None
                if letter.record["bytes"] == FAILED:
                    raise UserError(f"shard {shard} could not write its part")
                files[shard_file_name(shard)] = FileRecord.of(letter.record)
            content = writer.manifest(number, state.state, None, 1 + len(others))
            served = self._owners.assign(writer.pieces)
            self._gathering.meanwhile(partial(writer.complete, content, files, served))
        return number

    def _begin(self) -> tuple[int, Path]:
        """Make the directory of a checkpoint; return its number, another one each time, and it.

        Others may still write what belongs to the one before.
        """
        owned, self._begun = self._writer.owned, self._begun + 1
        number = self._begun + max(checkpoint_numbers(owned.path), default=0)
        directory = construction_directory(owned, number)
        with owned.guarded(), writing(directory):
            directory.mkdir()
        return number, directory

    # -- the others ----------------------------------------------------------------------------------------

    def _contribute(self, root: int) -> None:
        """Do what the first shard says, until it has died."""
        while (letter := self._gathering.next(root)) is not None:
            if letter.kind is Emergency.END:
                raise JobEnded
            if letter.kind is Emergency.ASK:
                self._take_over(letter.numbers)
                number = int(letter.record["number"])
                self._gathering.tell([root], Emergency.OFFER, self._numbers, number=number)
            elif letter.kind is Emergency.WRITE:
                self._write_for(root, letter)

    def _write_for(self, root: int, letter: Letter) -> None:
        """Write this shard's slice, and tell."""
        number, mirror = int(letter.record["number"]), int(letter.record["mirror"])
        self._writer.owned = replace(self._writer.owned, generation=int(letter.record["generation"]))
        directory = construction_directory(self._writer.owned, number)
        record = np.zeros((), EMERGENCY)
        record["kind"], record["number"], record["bytes"] = Emergency.WRITTEN, number, FAILED
        with suppress(UserError):
            vectors = letter.numbers if letter.record["batch"] else None
            self._write_slice(directory, mirror, vectors).fill(record)
        self._gathering.send([root], record)

    def _write_slice(self, directory: Path, mirror: int, vectors: Sequence[int] | None) -> FileRecord:
        """Write this shard's slice."""
        path, copy = directory / shard_file_name(self._index), self._held.copy(mirror, vectors)

        def write() -> FileRecord:
            with self._writer.owned.guarded():
                return shard_file.write(path, copy)

        return self._gathering.meanwhile(write)
