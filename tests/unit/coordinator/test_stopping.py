"""When a run ends and why, and who may work during the warmstart."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbmpi.config.algorithms import Warmstart
from dbmpi.config.sections import Target, Train
from dbmpi.coordinator.stopping import PERSISTENCE, Stopping, WarmstartLimit
from dbmpi.errors import STATUS_DIVERGED, STATUS_OK, STATUS_STOPPED
from dbmpi.output.totals import EvaluationSums


def test_goes_on_without_a_reason():
    stopping = Stopping(Train(max_time=10.0))
    stopping.check_time(9.99)
    stopping.check_loss(2.3)
    stopping.check_evaluation(EvaluationSums(1.0, 5, 10))
    stopping.check_limit("")
    assert (stopping.reason, stopping.status) == ("", STATUS_OK)


def test_time_is_up():
    stopping = Stopping(Train(max_time=10.0))
    stopping.check_time(10.0)
    assert (stopping.reason, stopping.status) == ("max_time", STATUS_STOPPED)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_must_stay_so(loss):
    stopping = Stopping(Train())
    for portion in [2.3, *[loss] * (PERSISTENCE - 1), 2.3, *[loss] * (PERSISTENCE - 1)]:
        stopping.check_loss(portion)
    assert (stopping.reason, stopping.status) == ("", STATUS_OK)
    stopping.check_loss(loss)
    assert (stopping.reason, stopping.status) == ("diverged", STATUS_DIVERGED)


def test_the_first_loss_may_be_the_one_that_is_not_finite():
    stopping = Stopping(Train())
    stopping.check_loss(math.nan)
    for loss in [2.0, *[21.0] * PERSISTENCE]:
        stopping.check_loss(loss)
    assert stopping.reason == "diverged"


def test_an_evaluation_that_is_not_finite_ends_at_once():
    stopping = Stopping(Train())
    stopping.check_evaluation(EvaluationSums(math.nan, 5, 10))
    assert (stopping.reason, stopping.status) == ("diverged", STATUS_DIVERGED)


def test_the_final_parameters_decide_over_every_other_reason():
    stopping = Stopping(Train())
    stopping.check_limit("epochs")
    stopping.check_final(EvaluationSums(1.0, 5, 10))
    assert stopping.reason == "epochs"
    stopping.check_final(EvaluationSums(math.inf, 5, 10))
    assert (stopping.reason, stopping.status) == ("diverged", STATUS_DIVERGED)


def test_a_large_loss_must_stay_large():
    stopping = Stopping(Train(divergence_factor=10.0))
    for loss in [2.0, *[20.1] * (PERSISTENCE - 1), 20.0, *[21.0] * (PERSISTENCE - 1)]:
        stopping.check_loss(loss)
    assert stopping.reason == ""
    stopping.check_loss(21.0)
    assert stopping.reason == "diverged"


@pytest.mark.parametrize(
    ("target", "result", "reached"),
    [
        (Target(accuracy=0.9), EvaluationSums(5.0, 90, 100), True),
        (Target(accuracy=0.9), EvaluationSums(0.0, 89, 100), False),
        (Target(loss=0.1), EvaluationSums(10.0, 0, 100), True),
        (Target(loss=0.1), EvaluationSums(10.1, 100, 100), False),
        (Target(accuracy=0.9, loss=0.1), EvaluationSums(9.0, 0, 100), True),
        (Target(accuracy=0.5), EvaluationSums(1.0, 100, 100, labels=False), False),
        (Target(), EvaluationSums(0.0, 100, 100), False),
    ],
)
def test_target(target, result, reached):
    stopping = Stopping(Train(target=target))
    stopping.check_evaluation(result)
    assert stopping.reason == ("target" if reached else "")


def test_the_first_reason_stays():
    stopping = Stopping(Train(max_time=1.0))
    stopping.check_limit("steps")
    stopping.check_time(2.0)
    for _ in range(PERSISTENCE):
        stopping.check_loss(math.nan)
    assert (stopping.reason, stopping.status) == ("steps", STATUS_OK)


@given(replica=st.integers(0, 5), steps=st.integers(0, 99), done=st.integers(0, 99), time_s=st.floats(0, 99))
def test_without_warmstart_all_work_at_once(replica, steps, done, time_s):
    assert WarmstartLimit(Warmstart()).steps_for(replica, steps, min(done, steps), time_s) is None


def test_warmstart_by_steps_gives_replica_0_exactly_these_before_the_others():
    warmup = WarmstartLimit(Warmstart(steps=30))
    assert [warmup.steps_for(r, 0, 0, 0.0) for r in (0, 1, 2)] == [30, 0, 0]
    assert [warmup.steps_for(r, 20, 5, 0.0) for r in (0, 1)] == [10, 0]
    # All are handed out, not all are done: the others wait on.
    assert [warmup.steps_for(r, 30, 29, 0.0) for r in (0, 1)] == [None, 0]
    assert [warmup.steps_for(r, 34, 30, 0.0) for r in (0, 1)] == [None, None]


def test_warmstart_by_time():
    warmup = WarmstartLimit(Warmstart(time=5.0))
    assert [warmup.steps_for(r, 99, 99, 4.9) for r in (0, 1)] == [None, 0]
    assert [warmup.steps_for(r, 99, 99, 5.0) for r in (0, 1)] == [None, None]


def test_warmstart_lasts_until_both_limits():
    warmup = WarmstartLimit(Warmstart(steps=10, time=5.0))
    assert warmup.steps_for(1, 10, 10, 4.0) == 0
    assert warmup.steps_for(1, 9, 9, 6.0) == 0
    assert warmup.steps_for(1, 10, 10, 6.0) is None
