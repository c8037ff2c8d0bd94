"""What is left to learn from, as a checkpoint holds it: portions, and the plans that cut them. Pure.

What was cut by one shape is read on any other, so each portion carries its plan. What no plan has is refused
where it is read, and not met in the middle of a run.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dbmpi.comm.assignments import PlanNumbers, Portion
from dbmpi.data.portions import PortionPlan

Json = dict[str, Any]


@dataclass(frozen=True)
class SchedulerState:
    """What Downpour has handed out, and what is left of the epoch.

    Parameters
    ----------
    examples, steps, epoch
        Handed out so far, and the epoch under way.
    left
        Of each part, the portions [start, stop) that are left of the epoch.
    returned
        Portions that were handed out, and are to be done again.
    plan
        Of the epoch: it was begun with it, and ends by it.
    rests
        Ends of portions that a limit has cut off: left of the epoch too.
    outstanding
        Portions that were handed out, and not reported.
    unplaced
        As `returned`, of an earlier epoch, but without the plan: version 0.1.0 did not store it.
    """

    examples: int
    steps: int
    epoch: int
    left: Sequence[tuple[int, int]]
    returned: Sequence[Portion]
    plan: PlanNumbers
    rests: Sequence[Portion] = ()
    outstanding: Sequence[Portion] = ()
    unplaced: Sequence[Json] = ()

    def to_json(self) -> Json:
        """Return it as JSON can hold it."""
        content = asdict(self)
        return content | {"returned": [*content["returned"], *content.pop("unplaced")]}

    @classmethod
    def from_json(cls, content: Json) -> "SchedulerState":
        """Return what `to_json` was made from. A portion of this epoch without a plan has the epoch's."""
        plan, returned = content["plan"], content["returned"]
        unplaced = tuple(p for p in returned if "plan" not in p and p["epoch"] != content["epoch"])
        lists = {name: content.get(name, ()) for name in ("rests", "outstanding")}
        lists["returned"] = [portion for portion in returned if portion not in unplaced]
        portions = {
            name: tuple(portion_of_json({"plan": plan} | portion) for portion in found)
            for name, found in lists.items()
        }
        left = tuple((int(start), int(stop)) for start, stop in content["left"])
        if len(left) not in (0, plan["replicas"]):
            raise ValueError(f"{len(left)} parts of {plan['replicas']}")
        numbers = PlanNumbers(**plan)
        resolved(numbers)  # raises, if it is none
        fixed = {"left": left, "plan": numbers, "unplaced": tuple(map(_unplaced, unplaced))}
        return cls(**content | fixed | portions)


def resolved(numbers: PlanNumbers) -> PlanNumbers:
    """Return the numbers of a plan without "auto", which version 0.1.0 stored as it was configured.

    Raises
    ------
    TypeError, ValueError
        There is no such plan.
    """
    return PlanNumbers(**PortionPlan(**vars(numbers)).numbers())


def portion_of_json(stored: Json) -> Portion:
    """Return the portion that `asdict` has made plain. Raises as `resolved`, or if its plan lacks it."""
    portion = Portion(**stored | {"plan": resolved(PlanNumbers(**stored["plan"]))})
    there = PortionPlan(**vars(portion.plan)).minibatches(portion.epoch, portion.part, portion.index)
    if not 0 <= portion.first < portion.first + portion.minibatches <= there:
        raise ValueError(f"minibatches {portion.first} + {portion.minibatches} of {there}")
    return portion


def _unplaced(stored: Json) -> Json:
    """Return a portion that has no plan yet, if it is one otherwise."""
    names = ("epoch", "part", "index", "minibatches", "examples", "before")
    return {name: int(stored[name]) for name in names}
