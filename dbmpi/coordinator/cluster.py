"""Replicas and shards as the coordinator reaches them: the one interface that MPI and serial training share.

Over MPI it is `coordinator.service` with `coordinator.shards`, in one process `run.roles.serial`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Record
from dbmpi.checkpoint.directory import Written
from dbmpi.coordinator.activity import Activity
from dbmpi.layout.sharding import Owners


class Mirrors(Protocol):
    """What lets a run survive the death of a shard, or the coordinator leave a checkpoint behind."""

    def mirror(self, vectors: Sequence[int], anew: bool) -> int:
        """Let every shard send its successor the parameters and these vectors; return the mirror's number.

        The mirror before must be complete. `anew` says that these are all there are: at first, and after a
        death.
        """

    def await_mirrors(self) -> None:
        """Wait until the mirrors ordered last are complete, or a shard dies."""

    def take_lost(self) -> int | None:
        """Return, once, from which mirror successors go on, if a shard has died since the last call."""

    def revert(self, number: int) -> None:
        """Let the living shards go back to the parameters of a mirror: the last one, or that before it."""

    def send_state(self, state: bytes) -> None:
        """Let shards keep a `coordinator_state.CoordinatorState`, in place of the one before."""

    def send_notes(self, notes: Record) -> None:
        """Let these shards keep `NOTE` records, `(n,)`, of what came since the state."""

    @property
    def wants_state(self) -> bool:
        """Whether a shard should keep the state that has none: another has died."""

    def cover(self, keep_alive: Callable[[], None]) -> None:
        """Wait until everything is mirrored, and what was sent before is kept.

        `keep_alive` is called again and again. Whatever shards die meanwhile, see `take_lost`.
        """


class Shards(Protocol):
    """The shards.

    Attributes
    ----------
    owners
        Which shards are alive, and which pieces each of them serves.
    """

    owners: Owners

    @property
    def mirrors(self) -> Mirrors | None:
        """Their mirrors, where there are any."""

    def operate(self, records: Record) -> NDArray[np.float64]:
        """Let every shard perform `OPERATION` records, and return the sums of their scalars."""

    def snapshot(
        self, number: int, vectors: Sequence[int] | None, written: Callable[[Written], None]
    ) -> None:
        """Let every shard copy its slice for a checkpoint, and write the copy in the background.

        `vectors` are those of the batch method; where it is None, the learning rule's state is copied.
        `written` is called for each file that is on disk or cannot be, while an activity is driven or in
        `wait_until`.
        The metrics log has the shards' latest reports when this returns.
        """

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Take in what shards say until `done` holds, however long: one that is silent or dies is noticed."""


class Cluster(Protocol):
    """Replicas, which do what activities order, and shards."""

    @property
    def shards(self) -> Shards:
        """The shards."""

    def drive(self, activity: Activity) -> None:
        """Start an activity, and carry its messages until it is finished."""
