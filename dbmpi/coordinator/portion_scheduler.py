"""What is left to learn from, and which replica does it. Pure, without MPI.

Each replica takes the portions of its own part of the training set, in order; when these are done
it takes from the back of the part that has most left, so that fast replicas do more and an epoch,
and the run, end together. The next epoch begins as the last portion of this one is handed out. What is
given back, by a replica that is gone, goes to the next replica that asks.
"""

from collections import deque
from collections.abc import Iterable
from typing import Literal

from dbmpi.checkpoint.run_state import SchedulerState
from dbmpi.comm.assignments import Portion
from dbmpi.data.portions import PortionPlan, PortionPlans


class PortionScheduler:
    """Hands out every portion of every epoch once, until a limit is reached.

    Parameters
    ----------
    plans
        The order of the examples.
    examples, steps
        Limits; None for none. The last portion is cut to `steps`, and to whole minibatches of
        `examples`.
    """

    def __init__(self, plans: PortionPlans, examples: int | None, steps: int | None) -> None:
        self._plans = plans
        self._examples_limit, self._steps_limit = examples, steps
        self.examples = self.steps = 0
        self.epoch = -1
        self._left: list[tuple[int, int]] = []
        self._returned: deque[Portion] = deque()

    def next(self, replica: int, most: int | None = None) -> Portion | None:
        """Return the next portion for a replica, or None when all is handed out.

        Parameters
        ----------
        most
            Hand out no more minibatches than this; what is cut off is not learned from in this epoch.
            Of no account for what was given back: it was within the limits when it was handed out first.
        """
        if self._returned:
            return self._returned.popleft()
        steps = self._steps_left(most)
        if steps <= 0 or self.limit:
            return None
        if not any(stop > start for start, stop in self._left):
            self.epoch += 1
            self._left = [(0, self._plan.portions(self.epoch, part)) for part in range(self._plan.replicas)]
        part, index = self._take(replica)
        return self._assign(part, index, steps)

    def give_back(self, portion: Portion) -> None:
        """Take back a portion that was handed out and not learned from: it will be handed out again."""
        self._returned.append(portion)

    @property
    def _plan(self) -> PortionPlan:
        return self._plans.at(self.epoch)

    def state(self, outstanding: Iterable[Portion] = ()) -> SchedulerState:
        """Return where it stands, for `restore`, as if what is outstanding had been given back."""
        left, returned = tuple(self._left), (*self._returned, *outstanding)
        return SchedulerState(self.examples, self.steps, self.epoch, left, returned, self._plan.numbers())

    def restore(self, state: SchedulerState) -> None:
        """Go on from `state`; the plans must be those of `portions.plans_of_run`."""
        self.examples, self.steps, self.epoch = state.examples, state.steps, state.epoch
        self._left, self._returned = list(state.left), deque(state.returned)

    @property
    def limit(self) -> Literal["", "epochs", "steps"]:
        """Return which limit is reached, so that no portion will be handed out any more, if one is."""
        if self._returned:
            return ""
        if self._examples_limit is not None and self.examples >= self._examples_limit:
            return "epochs"
        if self._steps_limit is not None and self.steps >= self._steps_limit:
            return "steps"
        return ""

    def _steps_left(self, most: int | None) -> int:
        left = None if self._steps_limit is None else self._steps_limit - self.steps
        return min((n for n in (most, left) if n is not None), default=1 << 62)

    def _take(self, replica: int) -> tuple[int, int]:
        """Take from the front of one's own part, or from the back of the fullest other one."""
        start, stop = self._left[replica] if replica < len(self._left) else (0, 0)
        if stop > start:
            self._left[replica] = (start + 1, stop)
            return replica, start
        part = max(range(len(self._left)), key=lambda p: self._left[p][1] - self._left[p][0])
        start, stop = self._left[part]
        self._left[part] = (start, stop - 1)
        return part, stop - 1

    def _assign(self, part: int, index: int, steps: int) -> Portion:
        rows = self._plan.rows(self.epoch, part, index)
        if self._examples_limit is not None:
            wanted = min(rows, self._examples_limit - self.examples)
            steps = min(steps, -(-wanted // self._plan.minibatch))
        minibatches = min(steps, self._plan.minibatches(self.epoch, part, index))
        examples = min(rows, minibatches * self._plan.minibatch)
        portion = Portion(self.epoch, part, index, minibatches, examples, self.examples)
        self.examples += examples
        self.steps += minibatches
        return portion
