"""What is left to learn from, as a checkpoint holds it: portions, and the plans that cut them. Pure.

What was cut by one shape is read on any other, so each portion carries its plan. What no plan has is refused
where it is read, and not met in the middle of a run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, TypedDict

from dbmpi.comm.assignments import PlanNumbers, Portion
from dbmpi.config.schema import MOST_RANKS
from dbmpi.data.portions import PortionPlan
from dbmpi.typed import Limits, Unlike

Json = dict[str, Any]


class UnplacedNumbers(TypedDict):
    """A portion without its plan."""

    epoch: int
    part: int
    index: int
    minibatches: int
    examples: int
    before: int


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
    epoch: Annotated[int, Limits(-1)]
    left: Sequence[tuple[int, int]]
    returned: Sequence[Portion]
    plan: PlanNumbers
    rests: Sequence[Portion] = ()
    outstanding: Sequence[Portion] = ()
    unplaced: Sequence[Annotated[Mapping[str, Any], UnplacedNumbers]] = ()

    def to_json(self) -> Json:
        """Return it as JSON can hold it."""
        content = asdict(self)
        return content | {"returned": [*content["returned"], *content.pop("unplaced")]}

    @property
    def portions(self) -> Iterator[Portion]:
        """All that have their plans."""
        yield from (*self.returned, *self.rests, *self.outstanding)


def with_plans(ledger: Any) -> Any:
    """Return the table of a `SchedulerState` in which portions have plans, if it is a table of some kind.

    One of this epoch without a plan has that of the epoch; of another epoch, it is set apart as `unplaced`.
    """
    returned = ledger.get("returned") if isinstance(ledger, Mapping) else None
    if not isinstance(returned, list) or not all(isinstance(portion, Mapping) for portion in returned):
        return ledger
    unplaced = [p for p in returned if "plan" not in p and p.get("epoch") != ledger.get("epoch")]
    placed = [{"plan": ledger.get("plan"), **p} for p in returned if p not in unplaced]
    return {**ledger, "returned": placed, "unplaced": unplaced}


def settled(state: SchedulerState) -> SchedulerState:
    """Return a state whose portions have plans as they are looked up by.

    Raises
    ------
    Unlike
        There is no such plan, or a portion that its plan does not have.
    """
    resolved(state.plan)
    return replace(
        state,
        returned=tuple(map(settled_portion, state.returned)),
        rests=tuple(map(settled_portion, state.rests)),
        outstanding=tuple(map(settled_portion, state.outstanding)),
    )


def resolved(numbers: PlanNumbers) -> PlanNumbers:
    """Return the numbers of a plan without "auto", which version 0.1.0 stored as it was configured.

    Raises
    ------
    Unlike
        There is no such plan.
    """
    if numbers.replicas > MOST_RANKS:
        raise Unlike(f"a plan: {numbers.replicas} replicas")
    try:
        return PlanNumbers(**PortionPlan(**vars(numbers)).numbers())
    except ValueError as error:
        raise Unlike(f"a plan: {error}") from None


def settled_portion(portion: Portion) -> Portion:
    """Return a portion whose plan is `resolved`. Raises Unlike, if the plan does not have it."""
    numbers = resolved(portion.plan)
    plan, place = PortionPlan(**vars(numbers)), (portion.epoch, portion.part, portion.index)
    try:
        there, rows = plan.minibatches(*place), plan.rows(*place)
    except (ValueError, OverflowError) as error:
        raise Unlike(f"a portion: {error}") from None
    if not portion.first < portion.first + portion.minibatches <= there:
        raise Unlike(f"a portion: minibatches {portion.first} + {portion.minibatches} of {there}")
    meant = min(rows - portion.first * plan.minibatch, portion.minibatches * plan.minibatch)
    if portion.examples != meant:
        raise Unlike(f"a portion: {portion.examples} examples, not {meant}")
    return replace(portion, plan=numbers)
