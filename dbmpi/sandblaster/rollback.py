"""The iterates that a batch method can go back to when a shard dies: their mirrors, and what was known there.

Pure. The shards mirror each iterate while the search for the next one is under way, and only what changed.
Their vectors change under the mirrors at the next commit; that comes after a pass, at the end of which the
mirrors have long been whole, or are waited for. So there is always a whole one of the last iterate or of the
one before, and the shards that live have kept the parameters of both; of the vectors that these need, the
method overwrites none within one iteration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dbmpi.coordinator.cluster import Mirrors
from dbmpi.sandblaster.optimizer_state import OptimizerState


@dataclass(frozen=True)
class RollbackPoint:
    """What the coordinator knew at an iterate.

    `optimizer_state` is None before the first pass. The loss and the gradient at the iterate are to be
    evaluated again; `method` is empty where it has to begin anew.
    """

    optimizer_state: OptimizerState | None
    method: Mapping[str, Any]
    sample: int


class ShardLost(Exception):
    """A shard has died, and the run has to go back to the iterate of mirror `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Rollback:
    """Has iterates mirrored, and remembers what was known at each; does nothing where there are no mirrors.

    Whatever looks at the shards raises ShardLost if one has died.
    """

    def __init__(self, mirrors: Mirrors | None) -> None:
        self._mirrors = mirrors
        self._anew = True  # nothing is mirrored yet, or any more
        self._places: dict[int, RollbackPoint] = {}
        self._written: set[int] = set()  # vectors, since the last mirror

    def wrote(self, vectors: set[int]) -> None:
        """Take note of vectors that the shards have written."""
        self._written |= vectors

    @property
    def fresh(self) -> bool:
        """Whether nothing is mirrored yet, or any more."""
        return self._anew

    def mirror(self, place: RollbackPoint, vectors: Sequence[int]) -> int:
        """Have the iterate mirrored that the parameters are now, with the vectors that the method needs.

        Returns
        -------
        int
            The number of the mirror; 0 where there are none.
        """
        if self._mirrors is None:
            return 0
        self.settle()
        fresh = [vector for vector in vectors if self._anew or vector in self._written]
        number = self._mirrors.mirror(fresh, self._anew)
        before = {last: self._places[last] for last in list(self._places)[-1:]}
        self._places, self._written, self._anew = before | {number: place}, set(), False
        return number

    def settle(self) -> None:
        """Wait until the last mirror is whole."""
        if self._mirrors is not None:
            self._mirrors.await_mirrors()
            self.check()

    def check(self) -> None:
        """See whether a shard has died."""
        lost = self._mirrors.take_lost() if self._mirrors is not None else None
        if lost is not None:
            self._anew = True
            raise ShardLost(lost)

    def back_to(self, number: int) -> RollbackPoint:
        """Let the shards go back to a mirror's iterate, and return what was known there."""
        assert self._mirrors is not None
        self._mirrors.revert(number)
        return self._places[number]
