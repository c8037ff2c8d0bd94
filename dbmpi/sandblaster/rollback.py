"""Where a run of Sandblaster can go back to when a shard dies: iterates that are mirrored. Pure.

The shards mirror each iterate while the search for the next one is under way, and only what changed.
Their vectors change under the mirrors at the next commit; that comes after a pass, at the end of which the
mirrors have long been complete, or are waited for. So there is always a complete one of the last iterate or
of the one before, and the living shards have kept the parameters of both; of the vectors that these need,
the method overwrites none within one iteration.
"""

from collections.abc import Sequence

from dbmpi.coordinator.cluster import Mirrors
from dbmpi.sandblaster.optimizer_state import RollbackPoint

START = 0  # in place of a number: a successor has parameters of before the first mirror, as all have


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
        self._points: dict[int, RollbackPoint] = {}  # of the last two
        self._written: set[int] = set()  # vectors, since the last mirror

    def wrote(self, vectors: set[int]) -> None:
        """Take note of vectors that the shards have written."""
        self._written |= vectors

    def mirror(self, point: RollbackPoint, vectors: Sequence[int]) -> int:
        """Have the iterate mirrored that the parameters are now; return the number of the mirror.

        Parameters
        ----------
        point
            What the run goes on with if a shard dies.
        vectors
            Of the method, at this iterate. A checkpoint of it may be written once more after a death, so
            they are mirrored even where `point` does without.
        """
        self.settle()
        changed = [vector for vector in vectors if self.empty or vector in self._written]
        number = self._mirrors.mirror(changed, self.empty)
        before = {last: self._points[last] for last in list(self._points)[-1:]} or {START: point}
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
        if number != START:
            self._mirrors.revert(number)
        self._points = {kept: point for kept, point in self._points.items() if kept <= number}
        return self._points[number]
