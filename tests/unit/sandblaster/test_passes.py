"""Passes among replicas that finish in any order, report late, and carry work over from pass to pass."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.output.totals import Tally
from dbmpi.sandblaster.pass_scheduler import Rules
from tests.doubles.fake_replicas import ROWS, FakeReplicas


@settings(max_examples=150)
@given(
    replicas=st.integers(1, 4),
    portions=st.integers(1, 15),
    every=st.integers(1, 4),
    passes=st.integers(1, 4),
    data=st.data(),
)
def test_every_pass_counts_every_portion_once_whatever_is_left_of_the_last(
    replicas, portions, every, passes, data
):
    fake = FakeReplicas(replicas)
    for pass_number in range(1, passes + 1):
        this = fake.run(pass_number, portions, Rules(every), lambda n: data.draw(st.integers(0, n - 1)))
        expected = sum(1.0 + portion for portion in range(portions)) / portions
        assert this.loss == pytest.approx(expected)
        mine = [portion for number, portion in fake.counted if number == pass_number]
        assert Counter(mine) == Counter(range(portions))
    assert fake.log.examples == passes * portions * ROWS
    assert fake.tally.won.sum() == passes * portions
    assert fake.tally.done.sum() >= fake.tally.won.sum()


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_pass_at_once(loss):
    fake = FakeReplicas(2, lambda portion: loss if portion == 0 else 1.0)
    this = fake.run(1, 20, Rules(4), lambda n: 0)
    assert math.isnan(this.loss) and not this.scheduler.done
    assert fake.log.examples < 5 * ROWS
    held = {(1, int(a["index"])) for work in fake.work for a in work}
    assert held and all(key in fake.dropped[0] | fake.dropped[1] for key in held)
    again = fake.run(2, 3, Rules(4), lambda n: n - 1)
    assert not again.scheduler.done  # the same portion, the same loss


def test_a_stop_ends_the_pass_and_what_is_late_counts_for_nothing():
    fake = FakeReplicas(2)
    fake.stopping.check_limit("epochs")
    this = fake.run(1, 6, Rules(4), lambda n: 0)
    assert not this.scheduler.done and fake.log.examples == 0 and not fake.counted


def test_the_loss_does_not_depend_on_who_is_first():
    found = set()
    for pick in (lambda n: 0, lambda n: n - 1, lambda n: n // 2):
        fake = FakeReplicas(3, lambda portion: 0.1 + 1e-9 * portion**3)
        found.add(fake.run(1, 17, Rules(4), pick).loss)
    assert len(found) == 1


def test_copies_and_losers_are_counted():
    fake = FakeReplicas(2)
    fake.run(1, 4, Rules(100), lambda n: 0)  # replica 0 first, in all things
    assert fake.tally.won.tolist() == [4, 0]
    assert fake.tally.copies >= 1 and fake.tally.copies_used == fake.tally.copies
    fake.run(2, 4, Rules(100), lambda n: n - 1)
    assert fake.tally.lost[1] >= 1


def test_what_was_computed_for_a_pass_counts_for_goodput_if_the_pass_comes_to_its_end():
    fake = FakeReplicas(2)
    fake.run(1, 4, Rules(4), lambda n: 0)
    assert fake.log.applied_s == fake.log.partition_time.busy_s > 0.0
    before, this = fake.log.applied_s, fake.start(2, 4, Rules(4))

    def turn() -> None:
        """Let a shard die when a portion of the pass has counted."""
        if fake.log.examples > 4 * ROWS:
            this.shard_died()
        else:
            fake.turn(this, lambda n: 0)

    fake.drive(this, turn)
    assert fake.log.applied_s == before and fake.log.discarded_s > 0.0


def test_replicas_that_compute_half_of_the_time_wait_the_other_half():
    tally = Tally(2)
    tally.passes_s, tally.busy_s = 10.0, 10.0
    assert tally.waited_s == 5.0
