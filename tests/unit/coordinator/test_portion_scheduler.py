"""The ledger: every portion once per epoch, whoever asks, and limits that are met exactly."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbmpi.comm.assignments import Portion
from dbmpi.coordinator.portion_scheduler import Ledger
from dbmpi.data.portions import Plan, course


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    parts = draw(st.integers(1, 5))
    portion = draw(st.just("auto") | st.integers(1, 4))
    return Plan(draw(st.integers(1, 300)), draw(st.integers(1, 20)), parts, 1, portion)


def hand_out(ledger: Ledger, data: st.DataObject, parts: int, most: int = 2000) -> list[Portion]:
    """Ask in any order of replicas until nothing is left."""
    given_out: list[Portion] = []
    while len(given_out) < most:
        portion = ledger.next(data.draw(st.integers(0, parts - 1)))
        if portion is None:
            return given_out
        given_out.append(portion)
    return given_out


@given(plan=plans(), epochs=st.integers(1, 3), data=st.data())
def test_every_portion_exactly_once_per_epoch_in_any_order(plan, epochs, data):
    ledger = Ledger(plan, epochs * plan.all_rows, None)
    portions = hand_out(ledger, data, plan.replicas)
    expected = [
        (epoch, part, index)
        for epoch in range(epochs)
        for part in range(plan.replicas)
        for index in range(plan.portions(epoch, part))
    ]
    assert Counter((p.epoch, p.part, p.index) for p in portions) == Counter(expected)
    assert [p.epoch for p in portions] == sorted(p.epoch for p in portions)
    assert ledger.limit == "epochs" and ledger.examples == epochs * plan.all_rows


@given(plan=plans(), data=st.data())
def test_portions_are_counted_as_they_are_handed_out(plan, data):
    ledger = Ledger(plan, 2 * plan.all_rows, None)
    portions = hand_out(ledger, data, plan.replicas)
    before = 0
    for portion in portions:
        assert portion.before == before
        assert portion.examples == plan.rows(portion.epoch, portion.part, portion.index)
        assert portion.minibatches == plan.minibatches(portion.epoch, portion.part, portion.index)
        before += portion.examples
    assert ledger.examples == before and ledger.steps == sum(p.minibatches for p in portions)


@given(plan=plans(), steps=st.integers(1, 60), data=st.data())
def test_limit_of_steps_is_exact(plan, steps, data):
    ledger = Ledger(plan, None, steps)
    portions = hand_out(ledger, data, plan.replicas)
    assert sum(p.minibatches for p in portions) == steps == ledger.steps
    assert ledger.limit == "steps" and ledger.next(0) is None
    assert all(p.minibatches > 0 and p.examples > 0 for p in portions)


@given(plan=plans(), examples=st.integers(1, 700), data=st.data())
def test_limit_of_examples_is_met_to_a_minibatch(plan, examples, data):
    ledger = Ledger(plan, examples, None)
    portions = hand_out(ledger, data, plan.replicas)
    handed = sum(p.examples for p in portions)
    assert examples <= handed < examples + plan.minibatch
    assert ledger.limit == "epochs"


@given(plan=plans(), examples=st.integers(1, 300), steps=st.integers(1, 30), data=st.data())
def test_the_nearer_of_two_limits_ends(plan, examples, steps, data):
    ledger = Ledger(plan, examples, steps)
    hand_out(ledger, data, plan.replicas)
    assert ledger.steps <= steps
    assert (ledger.limit == "epochs") == (ledger.examples >= examples)
    assert ledger.limit in ("epochs", "steps") and (ledger.limit == "epochs" or ledger.steps == steps)


def test_a_replica_takes_its_own_part_first_and_in_order():
    plan = Plan(120, 10, 3, 1, 1)
    ledger = Ledger(plan, None, None)
    portions = [ledger.next(replica) for _ in range(4) for replica in (2, 0, 1)]
    assert [(p.part, p.index) for p in portions] == [(r, i) for i in range(4) for r in (2, 0, 1)]


def test_a_fast_replica_takes_from_the_back_of_the_fullest_part():
    ledger = Ledger(Plan(120, 10, 3, 1, 1), None, None)
    for _ in range(4):
        assert ledger.next(0).part == 0
    assert ledger.next(1).part == 1  # part 1 has 3 left, part 2 has 4
    stolen = [ledger.next(0) for _ in range(7)]
    assert [(p.part, p.index) for p in stolen[:2]] == [(2, 3), (1, 3)]
    assert Counter(p.part for p in stolen) == {1: 3, 2: 4}
    assert ledger.next(0).epoch == 1


def test_without_limits_there_is_always_more():
    ledger = Ledger(Plan(7, 3, 2, 1), None, None)
    assert [ledger.next(i % 2) is not None for i in range(100)] == [True] * 100
    assert ledger.limit == ""


def test_a_portion_is_cut_to_what_may_be_handed_out():
    ledger = Ledger(Plan(100, 10, 1, 1, 5), None, None)
    portion = ledger.next(0, most=2)
    assert (portion.minibatches, portion.examples) == (2, 20)
    assert ledger.next(0).before == 20
    assert ledger.next(0, most=0) is None


def test_more_replicas_than_rows_share_what_there_is():
    plan = Plan(2, 4, 5, 1)
    ledger = Ledger(plan, 2, None)
    portions = [ledger.next(r) for r in range(5)]
    assert sum(p.examples for p in portions if p is not None) == 2
    assert sum(p is not None for p in portions) == 2


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 4), (2, 2), (4, 3)])
@pytest.mark.parametrize("done", [0, 5, 17])
def test_a_run_that_goes_on_with_other_replicas_learns_from_every_row_once_an_epoch(before, after, done):
    """The epoch under way ends by the parts it was begun with; what was given back is not lost."""
    rows, epochs = 203, 3
    first, second = Plan(rows, 10, before, 1, 2), Plan(rows, 20, after, 1, 1)
    ledger = Ledger(first, epochs * rows, None)
    learned: Counter[tuple[int, int]] = Counter()
    handed = [ledger.next(i % before) for i in range(done)]
    for portion in handed[1:]:
        learned.update(rows_of(first, portion))
    if handed:
        ledger.give_back(handed[0])
    state = json.loads(json.dumps(ledger.state()))
    plans = course(second, state)
    ledger = Ledger(plans, epochs * rows, None)
    ledger.restore(state)
    replica = 0
    while (portion := ledger.next(replica % after)) is not None:
        learned.update(rows_of(plans.at(portion.epoch), portion))
        replica += 1
    assert ledger.examples == epochs * rows and ledger.limit == "epochs"
    assert learned == Counter({(epoch, row): 1 for epoch in range(epochs) for row in range(rows)})


def rows_of(plan, portion):
    """Return the rows that a portion holds, with its epoch."""
    blocks = plan.blocks(portion.epoch, portion.part, portion.index)
    return [(portion.epoch, row) for start, stop in blocks for row in range(start, stop)]
