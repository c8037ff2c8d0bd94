"""Where a run of Sandblaster can go back to when a shard dies: iterates that are mirrored. Pure.

The shards mirror each iterate while the search for the next one is under way, and only what changed.
Their vectors change under the mirrors at the next commit; that comes after a pass, at the end of which the
mirrors have long been complete, or are waited for. So there is always a complete one of the last iterate or
of the one before, and the living shards have kept the parameters of both; of the vectors that these need,
the method overwrites none within one iteration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dbmpi.coordinator.cluster import Mirrors
from dbmpi.sandblaster.minimize import OptimizerState


@dataclass(frozen=True)
class RollbackPoint:
    """Where a run stands at an iterate: what a checkpoint or a mirror has of it besides the parameters.

    Parameters
    ----------
    optimizer_state
        None before the first pass.
    method
        `Method.state`; empty where the method has to begin anew.
    vectors
        The numbers of the vectors that the method needs.
    sample
        Number of the sample that the next pass is over.
    """

    optimizer_state: OptimizerState | None = None
    method: Mapping[str, Any] = field(default_factory=dict)
    vectors: Sequence[int] = ()
    sample: int = 0

    def for_return(self, vectors_persist: bool) -> "RollbackPoint":
        """Return the point as it is once the search for the next iterate has begun.

        The loss and the gradient are to be evaluated again. Where vectors do not persist, the search
        overwrites them, and the method has to begin anew.
        """
        at_rest = self.optimizer_state
        state = replace(at_rest, at=None) if at_rest is not None else None
        if vectors_persist:
            return replace(self, optimizer_state=state)
        return RollbackPoint(state, sample=self.sample)


class ShardLost(Exception):
    """A shard has died, and the run has to go back to the iterate of mirror `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Rollback:
    """Has iterates mirrored, and remembers the point of each.

    Every method that waits for the shards, or asks about them, raises ShardLost if one has died.
    """

    def __init__(self, mirrors: Mirrors) -> None:
        self._mirrors = mirrors
        self.empty = True  # nothing is mirrored yet, or any more
        self._points: dict[int, RollbackPoint] = {}
        self._written: set[int] = set()  # vectors, since the last mirror

    def wrote(self, vectors: set[int]) -> None:
        """Take note of vectors that the shards have written."""
        self._written |= vectors

    def mirror(self, point: RollbackPoint) -> int:
        """Have the iterate mirrored that the parameters are now; return the number of the mirror."""
        self.settle()
        changed = [vector for vector in point.vectors if self.empty or vector in self._written]
        number = self._mirrors.mirror(changed, self.empty)
        before = {last: self._points[last] for last in list(self._points)[-1:]}
        self._points, self._written, self.empty = before | {number: point}, set(), False
        return number

    def settle(self) -> None:
        """Wait until the last mirror is complete."""
        self._mirrors.await_mirrors()
        self.check()

    def check(self) -> None:
        """See whether a shard has died."""
        lost = self._mirrors.take_lost()
        if lost is not None:
            self.empty = True
            raise ShardLost(lost)

    def back_to(self, number: int) -> RollbackPoint:
        """Let the shards go back to a mirror's iterate, and return its point."""
        self._mirrors.revert(number)
        return self._points[number]
