"""Portions that version 0.1.0 stored without their plan.

It stored one plan: that of the epoch under way, and so of every portion of that epoch. What an earlier epoch
had left has the same plan if the shape was the same then. If it was another, a checkpoint of that epoch has
the plan, as an epoch ends by the plan that it was begun with. Where no such checkpoint is left, and the
portion does not fit the one plan that is known, nobody knows its rows: they are lost.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dbmpi.checkpoint import manifest
from dbmpi.checkpoint.directory import checkpoint_directory, checkpoint_numbers
from dbmpi.checkpoint.manifest import Checkpoint
from dbmpi.checkpoint.scheduler_state import SchedulerState, resolved
from dbmpi.checkpoint.whole_file import Damaged
from dbmpi.comm.assignments import PlanNumbers, Portion
from dbmpi.data.portions import PortionPlan


def with_plans(found: Checkpoint, run_dir: Path) -> Checkpoint:
    """Return a checkpoint whose portions have their plans; those whose plan is not known stay unplaced."""
    said = found.manifest
    downpour = said.state.downpour
    if downpour is None or not downpour.scheduler.unplaced:
        return found
    schedulers = [downpour.scheduler, *_schedulers(run_dir)]
    state = replace(downpour, scheduler=_placed(downpour.scheduler, schedulers))
    return replace(found, manifest=replace(said, state=replace(said.state, downpour=state)))


def _schedulers(run_dir: Path) -> Iterator[SchedulerState]:
    """Yield what the manifests of a run say, the newest first."""
    for number in checkpoint_numbers(run_dir):
        try:
            downpour = manifest.read(checkpoint_directory(run_dir, number)).manifest.state.downpour
        except Damaged:
            continue
        if downpour is not None:
            yield downpour.scheduler


def _placed(state: SchedulerState, schedulers: list[SchedulerState]) -> SchedulerState:
    plans = {other.epoch: resolved(other.plan) for other in reversed(schedulers)}
    returned, unplaced = list(state.returned), []
    for stored in state.unplaced:
        plan = plans.get(stored["epoch"], plans[state.epoch])
        if _fits(stored, plan):
            returned.append(Portion(**stored, plan=plan))
        else:
            unplaced.append(stored)
    return replace(state, returned=tuple(returned), unplaced=tuple(unplaced))


def _fits(stored: Mapping[str, Any], numbers: PlanNumbers) -> bool:
    """Whether a plan has a portion of this part, number and size."""
    plan = PortionPlan(**vars(numbers))
    epoch, part, index = (stored[name] for name in ("epoch", "part", "index"))
    if part >= plan.replicas or index >= plan.portions(epoch, part):
        return False
    rows = min(plan.rows(epoch, part, index), stored["minibatches"] * plan.minibatch)
    return bool(stored["minibatches"] <= plan.minibatches(epoch, part, index) and stored["examples"] == rows)
