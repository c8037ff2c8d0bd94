"""Replicas and shards as the coordinator sees them: the interface that MPI and serial training share."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Record
from dbmpi.checkpoint.manifest import Written
from dbmpi.coordinator.activity import Activity
from dbmpi.layout.sharding import Owners


class Mirrors(Protocol):
    """The shards, as far as their mirrors go."""

    def mirror(self, vectors: Sequence[int], anew: bool) -> int:
        """Let every shard send its heir the parameters and these vectors; return the number of the mirror.

        The one before must be whole. `anew` says that these are all there are: first, and after a death.
        """

    def await_mirrors(self) -> None:
        """Wait until the mirrors ordered last are whole, or a shard dies."""

    def take_lost(self) -> int | None:
        """Return, once, which mirror heirs have gone on with, if a shard has died since the last call."""

    def revert(self, number: int) -> None:
        """Let the shards that live go back to the parameters of a mirror: the last one, or that before it."""


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

    @property
    def may_fail(self) -> bool:
        """Whether the coordinator may die, and the shards then make a checkpoint of its will."""

    def send_state(self, will: bytes) -> None:
        """Let a shard keep a will (`coordinator_state.CoordinatorState`), in place of the one before."""


class Shards(Copying, Protocol):
    """The shards, as the coordinator reaches them."""

    @property
    def mirrors(self) -> Mirrors | None:
        """What goes on when one dies, if the run does."""

    def operate(self, records: Record) -> NDArray[np.float64]:
        """Let every shard perform `OPERATION` records, and return the sums of their scalars."""


class Cluster(Protocol):
    """Replicas and shards, as the coordinator reaches them."""

    @property
    def shards(self) -> Shards:
        """The shards."""

    def drive(self, activity: Activity) -> None:
        """Start an activity, and carry its messages until it is finished."""
