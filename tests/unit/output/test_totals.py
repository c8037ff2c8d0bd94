"""What a run has added up goes on on another shape."""

import pytest

from dbmpi.output.totals import Tally


@pytest.mark.parametrize("replicas", [1, 2, 6])
def test_the_time_that_replicas_waited_is_a_mean_on_any_shape(replicas):
    before = Tally(3)
    before.passes_s, before.busy_s = 10.0, 24.0
    before.won[...] = 4, 5, 6
    after = Tally(replicas)
    after.restore(before.state())
    assert before.waited_s == pytest.approx(2.0) and after.waited_s == pytest.approx(2.0)
    assert after.won.tolist() == [0] * replicas


def test_what_each_replica_has_done_goes_on_with_as_many():
    before, after = Tally(2), Tally(2)
    before.won[...], before.busy_s = (4, 5), 3.5
    after.restore(before.state())
    assert after.state() == before.state()
