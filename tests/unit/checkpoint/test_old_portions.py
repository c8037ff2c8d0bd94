"""What version 0.1.0 stored of portions that were given back: the rows are those that it meant."""

import json
from dataclasses import asdict

from dbmpi.checkpoint import manifest, resume
from dbmpi.checkpoint.scheduler_state import SchedulerState, settled, with_plans
from dbmpi.comm.assignments import PlanNumbers
from dbmpi.coordinator.portion_scheduler import PortionScheduler
from dbmpi.data.portions import PortionPlan
from dbmpi.typed import build
from tests.doubles.checkpoints import SMALL, save, seal_again

FIVE, THREE = (PortionPlan(430, 5, replicas, 1, "auto") for replicas in (5, 3))
NEW = ("rests", "outstanding", "unplaced", "plan", "first")  # names that 0.1.0 did not have, but for a plan


def as_stored(state: SchedulerState) -> dict:
    """Return a state as version 0.1.0 stored it."""
    content = {name: value for name, value in state.to_json().items() if name not in NEW[:3]}
    returned = [*content["returned"], *map(asdict, state.outstanding)]
    content["plan"]["portion_minibatches"] = "auto"
    content["returned"] = [{k: v for k, v in p.items() if k not in NEW} for p in returned]
    return content


def write(run_dir, number, state):
    """Write a checkpoint of version 0.1.0 with a state of the scheduler."""
    stored = {"ledger": as_stored(state), "evaluation_due": False}
    path = save(run_dir, number, rows=430)
    seal_again(path, lambda content: content["state"].update(downpour=stored))


def begun(plan, handed):
    scheduler = PortionScheduler(plan, 3 * 430, None)
    for _ in range(handed):
        scheduler.done(scheduler.next(0))
    return scheduler


def resumed(run_dir):
    found, refused = resume.find(run_dir, lambda found: manifest.model_of(SMALL, "float32", 430), wanted=True)
    assert found is not None and refused == []
    return found.manifest.state.downpour.scheduler


def states():
    """5 replicas stop in epoch 0; 3 go on, and in epoch 1 nothing of what was left of epoch 0 is reported."""
    first = begun(FIVE, 2)
    second = PortionScheduler(THREE, 3 * 430, None)
    second.restore(first.state())
    while second.epoch < 1:
        second.next(0)
    return first.state(), second.state()


def test_a_portion_of_the_epoch_under_way_has_its_plan(tmp_path):
    scheduler = begun(FIVE, 2)
    given = scheduler.next(3), scheduler.next(4)
    write(tmp_path, 1, scheduler.state())
    assert resumed(tmp_path).returned == given


def test_a_portion_of_an_earlier_epoch_has_the_plan_of_a_checkpoint_of_that_epoch(tmp_path):
    for number, state in enumerate(states(), 1):
        write(tmp_path, number, state)
    found, meant = resumed(tmp_path), states()[1].outstanding
    assert set(found.returned) == set(meant) and found.unplaced == ()
    assert {(portion.epoch, portion.plan.replicas) for portion in meant} == {(0, 5), (1, 3)}


def test_without_such_a_checkpoint_a_portion_that_fits_no_plan_is_counted_as_lost(tmp_path):
    write(tmp_path, 1, states()[1])
    found, meant = resumed(tmp_path), states()[1].outstanding
    assert {portion["part"] for portion in found.unplaced} >= {3, 4}
    assert len(found.returned) + len(found.unplaced) == len(meant)
    assert all(portion.plan == PlanNumbers(**THREE.numbers()) for portion in found.returned)


def test_what_this_version_writes_is_read_as_it_is():
    state = states()[1]
    stored = json.loads(json.dumps(state.to_json()))
    assert settled(build(SchedulerState, with_plans(stored), "ledger")) == state
