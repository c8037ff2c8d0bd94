"""The scheduler: every portion once per epoch, whoever asks, and limits that are met exactly."""

import json
from collections import Counter
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbmpi.checkpoint.run_state import DownpourState
from dbmpi.comm.assignments import Portion
from dbmpi.coordinator.portion_scheduler import PortionScheduler
from dbmpi.data.portions import PortionPlan


@st.composite
def plans(draw: st.DrawFn) -> PortionPlan:
    parts = draw(st.integers(1, 5))
    portion = draw(st.just("auto") | st.integers(1, 4))
    return PortionPlan(draw(st.integers(1, 300)), draw(st.integers(1, 20)), parts, 1, portion)


def hand_out(scheduler: PortionScheduler, data: st.DataObject, parts: int, most: int = 2000) -> list[Portion]:
    """Ask in any order of replicas until nothing is left."""
    given_out: list[Portion] = []
    while len(given_out) < most:
        portion = scheduler.next(data.draw(st.integers(0, parts - 1)))
        if portion is None:
            return given_out
        given_out.append(portion)
    return given_out


@given(plan=plans(), epochs=st.integers(1, 3), data=st.data())
def test_every_portion_exactly_once_per_epoch_in_any_order(plan, epochs, data):
    scheduler = PortionScheduler(plan, epochs * plan.all_rows, None)
    portions = hand_out(scheduler, data, plan.replicas)
    expected = [
        (epoch, part, index)
        for epoch in range(epochs)
        for part in range(plan.replicas)
        for index in range(plan.portions(epoch, part))
    ]
    assert Counter((p.epoch, p.part, p.index) for p in portions) == Counter(expected)
    assert [p.epoch for p in portions] == sorted(p.epoch for p in portions)
    assert scheduler.limit == "epochs" and scheduler.examples == epochs * plan.all_rows


@given(plan=plans(), data=st.data())
def test_portions_are_counted_as_they_are_handed_out(plan, data):
    scheduler = PortionScheduler(plan, 2 * plan.all_rows, None)
    portions = hand_out(scheduler, data, plan.replicas)
    before = 0
    for portion in portions:
        assert portion.before == before
        assert portion.examples == plan.rows(portion.epoch, portion.part, portion.index)
        assert portion.minibatches == plan.minibatches(portion.epoch, portion.part, portion.index)
        before += portion.examples
    assert scheduler.examples == before and scheduler.steps == sum(p.minibatches for p in portions)


@given(plan=plans(), steps=st.integers(1, 60), data=st.data())
def test_limit_of_steps_is_exact(plan, steps, data):
    scheduler = PortionScheduler(plan, None, steps)
    portions = hand_out(scheduler, data, plan.replicas)
    assert sum(p.minibatches for p in portions) == steps == scheduler.steps
    assert scheduler.limit == "steps" and scheduler.next(0) is None
    assert all(p.minibatches > 0 and p.examples > 0 for p in portions)


@given(plan=plans(), examples=st.integers(1, 700), data=st.data())
def test_limit_of_examples_is_met_to_a_minibatch(plan, examples, data):
    scheduler = PortionScheduler(plan, examples, None)
    portions = hand_out(scheduler, data, plan.replicas)
    handed = sum(p.examples for p in portions)
    assert examples <= handed < examples + plan.minibatch
    assert scheduler.limit == "epochs"


@given(plan=plans(), examples=st.integers(1, 300), steps=st.integers(1, 30), data=st.data())
def test_the_nearer_of_two_limits_ends(plan, examples, steps, data):
    scheduler = PortionScheduler(plan, examples, steps)
    hand_out(scheduler, data, plan.replicas)
    assert scheduler.steps <= steps
    assert (scheduler.limit == "epochs") == (scheduler.examples >= examples)
    assert scheduler.limit in ("epochs", "steps") and (
        scheduler.limit == "epochs" or scheduler.steps == steps
    )


def test_a_replica_takes_its_own_part_first_and_in_order():
    plan = PortionPlan(120, 10, 3, 1, 1)
    scheduler = PortionScheduler(plan, None, None)
    portions = [scheduler.next(replica) for _ in range(4) for replica in (2, 0, 1)]
    assert [(p.part, p.index) for p in portions] == [(r, i) for i in range(4) for r in (2, 0, 1)]


def test_a_fast_replica_takes_from_the_back_of_the_fullest_part():
    scheduler = PortionScheduler(PortionPlan(120, 10, 3, 1, 1), None, None)
    for _ in range(4):
        assert scheduler.next(0).part == 0
    assert scheduler.next(1).part == 1  # part 1 has 3 left, part 2 has 4
    stolen = [scheduler.next(0) for _ in range(7)]
    assert [(p.part, p.index) for p in stolen[:2]] == [(2, 3), (1, 3)]
    assert Counter(p.part for p in stolen) == {1: 3, 2: 4}
    assert scheduler.next(0).epoch == 1


def test_without_limits_there_is_always_more():
    scheduler = PortionScheduler(PortionPlan(7, 3, 2, 1), None, None)
    assert [scheduler.next(i % 2) is not None for i in range(100)] == [True] * 100
    assert scheduler.limit == ""


def test_a_portion_is_cut_to_what_may_be_handed_out():
    scheduler = PortionScheduler(PortionPlan(100, 10, 1, 1, 5), None, None)
    portion = scheduler.next(0, most=2)
    assert (portion.minibatches, portion.examples) == (2, 20)
    assert scheduler.next(0).before == 20
    assert scheduler.next(0, most=0) is None


def test_more_replicas_than_rows_share_what_there_is():
    plan = PortionPlan(2, 4, 5, 1)
    scheduler = PortionScheduler(plan, 2, None)
    portions = [scheduler.next(r) for r in range(5)]
    assert sum(p.examples for p in portions if p is not None) == 2
    assert sum(p is not None for p in portions) == 2


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 4), (2, 2), (4, 3)])
@pytest.mark.parametrize("done", [0, 5, 17])
def test_a_run_that_goes_on_with_other_replicas_learns_from_every_row_once_an_epoch(before, after, done):
    """The epoch under way ends by the parts it was begun with; what was given back is not lost."""
    rows, epochs = 203, 3
    first, second = PortionPlan(rows, 10, before, 1, 2), PortionPlan(rows, 20, after, 1, 1)
    scheduler = PortionScheduler(first, epochs * rows, None)
    learned: Counter[tuple[int, int]] = Counter()
    handed = [scheduler.next(i % before) for i in range(done)]
    for portion in handed[1:]:
        learned.update(rows_of(portion))
        scheduler.done(portion)
    if handed:
        scheduler.give_back(handed[0])
    state = stored(scheduler)
    scheduler = PortionScheduler(second, epochs * rows, None)
    scheduler.restore(state)
    replica = 0
    while (portion := scheduler.next(replica % after)) is not None:
        learned.update(rows_of(portion))
        replica += 1
    assert scheduler.examples == epochs * rows and scheduler.limit == "epochs"
    assert learned == Counter({(epoch, row): 1 for epoch in range(epochs) for row in range(rows)})


def stored(scheduler):
    """Return the state of a scheduler as it is read from a checkpoint."""
    content = json.dumps(DownpourState(scheduler.state(), False).to_json())
    return DownpourState.from_json(json.loads(content)).scheduler


def test_a_state_stays_as_it_was_while_more_is_handed_out():
    """It is written in the background."""
    scheduler = PortionScheduler(PortionPlan(200, 10, 2, 1, 2), 200, None)
    scheduler.give_back(scheduler.next(0))
    state, before = scheduler.state(), stored(scheduler)
    for _ in range(4):
        scheduler.next(1)
    assert state == before


def rows_of(portion):
    """Return the rows that are learned from with a portion, as `Loader.train` does, with its epoch."""
    plan, which = PortionPlan(**asdict(portion.plan)), (portion.epoch, portion.part, portion.index)
    rows = [row for start, stop in plan.blocks(*which) for row in range(start, stop)]
    first = portion.first * plan.minibatch
    order = plan.order(*which)[first : first + portion.minibatches * plan.minibatch]
    assert len(order) == portion.examples
    return [(portion.epoch, rows[position]) for position in order]


def test_portions_of_three_plans_are_outstanding_at_a_time_and_keep_their_rows():
    """Parts 3 and 4 of epoch 0, cut for 5 replicas, are done by 3 replicas while epoch 1 is under way."""
    rows, shapes, learned = 230, (5, 3, 2), Counter()
    scheduler = PortionScheduler(PortionPlan(rows, 10, shapes[0], 1, 2), 3 * rows, None)
    learned.update(row for _ in range(2) for row in done_by(scheduler, 0))
    for epoch, replicas in enumerate(shapes[1:], 1):
        state = stored(scheduler)
        scheduler = PortionScheduler(PortionPlan(rows, 10 * replicas, replicas, 1, "auto"), 3 * rows, None)
        scheduler.restore(state)
        scheduler.give_back_all()
        while scheduler.epoch < epoch:  # what is handed out is not reported
            scheduler.next(0)
    state = stored(scheduler)
    assert {portion.plan.replicas for portion in state.outstanding} == {5, 3, 2}
    assert max(portion.part for portion in state.outstanding if portion.epoch == 0) == 4
    scheduler.restore(state)
    assert scheduler.give_back_all() == sum(portion.examples for portion in state.outstanding)
    while (taken := done_by(scheduler, 1)) is not None:
        learned.update(taken)
    assert learned == Counter({(epoch, row): 1 for epoch in range(3) for row in range(rows)})


def done_by(scheduler, replica):
    """Return the rows of the next portion, which a replica learns from; None when all is handed out."""
    portion = scheduler.next(replica)
    if portion is None:
        return None
    scheduler.done(portion)
    return rows_of(portion)


@pytest.mark.parametrize("limits", [(5, 21, None), (1, 2, 3, None)])
def test_what_a_limit_cuts_off_is_handed_out_first_when_the_limit_is_raised(limits):
    """The order is that of a run without the stops."""
    plan, order = PortionPlan(230, 10, 2, 1, 4), []
    whole = PortionScheduler(plan, 2 * 230, None)
    expected = [row for taken in iter(lambda: done_by(whole, 0), None) for row in taken]
    state = None
    for steps in limits:
        scheduler = PortionScheduler(plan, 2 * 230, steps)
        if state is not None:
            scheduler.restore(state)
        order += [row for taken in iter(lambda: done_by(scheduler, 0), None) for row in taken]  # noqa: B023
        assert steps is None or scheduler.steps == steps
        state = stored(scheduler)
    assert order == expected
