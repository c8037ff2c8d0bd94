"""What is left to learn from, and which replica does it. Pure, without MPI.

Each replica takes the portions of its own part of the training set, in order; when these are done
it takes from the back of the part that has most left, so that fast replicas do more and an epoch,
and the run, end together. The next epoch begins as the last portion of this one is handed out. What is
given back, by a replica that is gone, goes to the next replica that asks.

An epoch ends by the plan that it was begun with, whatever the shape of the run is by then; so every portion
carries its plan, and several plans can be at work at once: what an earlier epoch has left is given back, and
done, beside portions of the next one.
"""

from collections import deque
from dataclasses import replace
from functools import lru_cache
from typing import Literal

from dbmpi.checkpoint.scheduler_state import SchedulerState, resolved
from dbmpi.comm.assignments import PlanNumbers, Portion
from dbmpi.data.portions import PortionPlan

PLANS_KEPT = 8
Key = tuple[int, int, int, int]  # epoch, part, index, first minibatch


class PortionScheduler:
    """Hands out every minibatch of every epoch once, until a limit is reached.

    Parameters
    ----------
    plan
        The order of the examples, in epochs that begin from here on.
    examples, steps
        Limits; None for none. The last portion is cut to `steps`, and to whole minibatches of
        `examples`; its rest is handed out first if the run goes on with higher limits.

    Attributes
    ----------
    examples, steps
        Handed out so far.
    epoch
        The one under way; -1 before the first.
    """

    def __init__(self, plan: PortionPlan, examples: int | None, steps: int | None) -> None:
        # Of the next epoch, and of the one under way.
        self._next_plan = self._plan = PlanNumbers(**plan.numbers())
        self._examples_limit, self._steps_limit = examples, steps
        self.examples = self.steps = 0
        self.epoch = -1
        self._left: list[tuple[int, int]] = []
        self._rests: deque[Portion] = deque()
        self._returned: deque[Portion] = deque()
        self._outstanding: dict[Key, Portion] = {}

    def next(self, replica: int, most: int | None = None) -> Portion | None:
        """Return the next portion for a replica, or None when all is handed out.

        Parameters
        ----------
        most
            Hand out no more minibatches than this; what is cut off is handed out next.
            Of no account for what was given back: it was within the limits when it was handed out first.
        """
        portion = self._choose(replica, most)
        if portion is not None:
            self.take(portion)
        return portion

    def take(self, portion: Portion) -> None:
        """Take note that a portion is handed out."""
        if portion in self._returned:
            self._returned.remove(portion)
        else:
            self._strike(portion)
            self.examples += portion.examples
            self.steps += portion.minibatches
        self._outstanding[_key(portion)] = portion

    def share(self, replicas: int) -> int:
        """Return how many minibatches a replica may take, for some to share the last ones equally."""
        left = self._steps_left(None)
        if self._examples_limit is not None:
            left = min(left, _ceil_div(self._examples_limit - self.examples, self._next_plan.minibatch))
        return _ceil_div(left, replicas)

    def done(self, portion: Portion) -> None:
        """Take note that a portion was learned from; what it lacks of what was handed out is given back."""
        given = self._outstanding.pop(_key(portion))
        if portion.minibatches < given.minibatches:
            rest = given.minibatches - portion.minibatches
            examples, first = given.examples - portion.examples, given.first + portion.minibatches
            self._returned.append(replace(given, minibatches=rest, examples=examples, first=first))

    def give_back(self, portion: Portion) -> None:
        """Take back a portion that was handed out and not learned from: it will be handed out again."""
        self.done(portion)
        self._returned.append(portion)

    def give_back_all(self) -> int:
        """Take back all that is outstanding; return the examples in it."""
        outstanding = list(self._outstanding.values())
        for portion in outstanding:
            self.give_back(portion)
        return sum(portion.examples for portion in outstanding)

    def state(self) -> SchedulerState:
        """Return where it stands, for `restore`."""
        kept = tuple(self._returned), self._plan, tuple(self._rests)
        outstanding = tuple(self._outstanding.values())
        return SchedulerState(self.examples, self.steps, self.epoch, tuple(self._left), *kept, outstanding)

    def restore(self, state: SchedulerState) -> None:
        """Go on from `state`, in which the epoch under way has a plan of its own."""
        self.examples, self.steps, self.epoch = state.examples, state.steps, state.epoch
        self._plan, self._left = resolved(state.plan), list(state.left)
        self._returned, self._rests = deque(state.returned), deque(state.rests)
        self._outstanding = {_key(portion): portion for portion in state.outstanding}

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

    # -- what comes next -----------------------------------------------------------------------------------

    def _choose(self, replica: int, most: int | None) -> Portion | None:
        """Return what is handed out next, if anything is."""
        if self._returned:
            return self._returned[0]
        steps = self._steps_left(most)
        if steps <= 0 or self.limit:
            return None
        if self._rests:
            return self._cut(self._rests[0], steps)
        plan, left, epoch = self._plan, self._left, self.epoch
        if not _any(left):
            plan, left, epoch = self._next_plan, _all_of(self._next_plan), epoch + 1
        part, index = _pick(left, replica)
        return self._cut(_portion(plan, epoch, part, index, 0), steps)

    def _steps_left(self, most: int | None) -> int:
        left = None if self._steps_limit is None else self._steps_limit - self.steps
        return min((n for n in (most, left) if n is not None), default=1 << 62)

    def _cut(self, portion: Portion, steps: int) -> Portion:
        """Return the beginning of a portion that the limits allow."""
        minibatch = portion.plan.minibatch
        if self._examples_limit is not None:
            wanted = min(portion.examples, self._examples_limit - self.examples)
            steps = min(steps, _ceil_div(wanted, minibatch))
        minibatches = min(steps, portion.minibatches)
        examples = min(portion.examples, minibatches * minibatch)
        return replace(portion, minibatches=minibatches, examples=examples, before=self.examples)

    # -- what is left --------------------------------------------------------------------------------------

    def _strike(self, portion: Portion) -> None:
        """Strike out what is handed out of what is left; the rest of a portion is left."""
        if portion.first:
            self._rests = deque(rest for rest in self._rests if _key(rest) != _key(portion))
        else:
            if portion.epoch > self.epoch:
                self.epoch, self._plan = portion.epoch, portion.plan
                self._left = _all_of(self._plan)
            start, stop = self._left[portion.part]
            front = portion.index == start
            self._left[portion.part] = (start + 1, stop) if front else (start, stop - 1)
        after = portion.first + portion.minibatches
        if after < _plan(portion.plan).minibatches(portion.epoch, portion.part, portion.index):
            rest = _portion(portion.plan, portion.epoch, portion.part, portion.index, after)
            self._rests.appendleft(rest)


def _key(portion: Portion) -> Key:
    return portion.epoch, portion.part, portion.index, portion.first


@lru_cache(maxsize=PLANS_KEPT)
def _plan(numbers: PlanNumbers) -> PortionPlan:
    return PortionPlan(**vars(numbers))


def _portion(numbers: PlanNumbers, epoch: int, part: int, index: int, first: int) -> Portion:
    """Return a portion from its minibatch `first` on."""
    plan = _plan(numbers)
    minibatches = plan.minibatches(epoch, part, index) - first
    examples = plan.rows(epoch, part, index) - first * plan.minibatch
    return Portion(epoch, part, index, minibatches, examples, 0, numbers, first)


def _all_of(numbers: PlanNumbers) -> list[tuple[int, int]]:
    """Return the portions [start, stop) of each part."""
    plan = _plan(numbers)
    return [(0, plan.portions(0, part)) for part in range(plan.replicas)]


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _any(left: list[tuple[int, int]]) -> bool:
    return any(stop > start for start, stop in left)


def _pick(left: list[tuple[int, int]], replica: int) -> tuple[int, int]:
    """Return a part and a portion: the front of one's own part, or the back of the fullest other one."""
    start, stop = left[replica] if replica < len(left) else (0, 0)
    if stop > start:
        return replica, start
    part = max(range(len(left)), key=lambda p: left[p][1] - left[p][0])
    return part, left[part][1] - 1
