"""When a run ends and why, what its losses show, and who may work during the warmstart."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbmpi.checkpoint.run_state import EpochSums, StoppingState
from dbmpi.comm.protocol import REPORT, SHARD_REPORT
from dbmpi.config.algorithms import Warmstart
from dbmpi.config.sections import Target, Train
from dbmpi.coordinator.divergence import PERSISTENCE
from dbmpi.coordinator.stopping import ITERATIONS, Stopping, WarmstartLimit
from dbmpi.errors import STATUS_DIVERGED, STATUS_OK, STATUS_STOPPED
from dbmpi.output.evaluation_sums import EvaluationSums
from dbmpi.typed import build


def into(told: list[str]) -> Callable[[str, str], None]:
    """Return what puts what is told into a list."""
    return lambda text, about: told.append(text)


def portion(loss: float, first: float | None = None, examples: int = 10) -> list[np.ndarray]:
    """Return what two partitions report: a mean loss, and that of the first minibatch, of 4 examples."""
    reports = [np.zeros((), REPORT) for _ in range(2)]
    for report in reports:
        report["examples"], report["loss_sum"] = examples, loss * examples / 2
        if first is not None:
            report["first_examples"], report["first_loss_sum"] = 4, 2 * first
    return reports


def begun(first: float = 2.0, **keys: Any) -> Stopping:
    """Return one that knows the loss of the first parameters."""
    stopping = Stopping(Train(), **keys)
    stopping.check_portion(portion(first, first))
    return stopping


def test_goes_on_without_a_reason():
    stopping = Stopping(Train(max_time=10.0))
    stopping.check_time(9.99)
    stopping.check_portion(portion(2.3, 2.3))
    stopping.check_evaluation(EvaluationSums(1.0, 5, 10))
    stopping.check_limit("")
    assert (stopping.reason, stopping.status) == ("", STATUS_OK)


def test_time_is_up():
    stopping = Stopping(Train(max_time=10.0))
    stopping.check_time(10.0)
    assert (stopping.reason, stopping.status) == ("max_time", STATUS_STOPPED)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 20.1, 1e54])
def test_a_training_loss_beyond_the_limit_must_stay_so(loss):
    stopping = begun(2.0)
    for one in [*[loss] * (PERSISTENCE - 1), 20.0, *[loss] * (PERSISTENCE - 1)]:
        stopping.check_portion(portion(one))
    assert (stopping.reason, stopping.status) == ("", STATUS_OK)
    stopping.check_portion(portion(loss))
    assert (stopping.reason, stopping.status) == ("diverged", STATUS_DIVERGED)


def test_the_reference_is_the_loss_of_the_first_parameters_and_not_of_the_first_portion():
    stopping = Stopping(Train())
    for n in range(PERSISTENCE):
        stopping.check_portion(portion(1e30, first=2.5 if n == 0 else None))
    assert stopping.reason == "diverged"
    assert "the training loss is 1e+30: above 10 (train.divergence_factor) times 2.5" in stopping.advice
    assert stopping.verdict["first_loss"] == 2.5


def test_the_portion_with_the_first_parameters_may_be_reported_last():
    stopping = Stopping(Train())
    for _ in range(2 * PERSISTENCE):
        stopping.check_portion(portion(500.0))  # of another replica: nothing to compare with yet
    stopping.check_portion(portion(400.0, first=1000.0))
    for _ in range(PERSISTENCE):
        stopping.check_portion(portion(9999.0, first=1.0))  # the first one counts
    assert stopping.reason == ""


def test_a_partition_whose_parameters_were_updated_spoils_the_reference():
    stopping, reports = Stopping(Train()), portion(1.0, first=1e-6)
    reports[1]["first_examples"] = 0
    stopping.check_portion(reports)
    assert stopping.verdict["first_loss"] is None


def test_the_loss_of_the_first_parameters_may_not_be_finite():
    stopping = Stopping(Train())
    stopping.check_portion(portion(math.nan, first=math.nan))
    for loss in [2.0, *[21.0] * PERSISTENCE]:
        stopping.check_portion(portion(loss))
    assert stopping.reason == "diverged"


def test_a_first_minibatch_that_is_easy_by_luck_is_no_reference():
    stopping = begun(1e-6, chance=2.3)
    for _ in range(2 * PERSISTENCE):
        stopping.check_portion(portion(22.9))
    assert stopping.reason == ""
    stopping.check_final(EvaluationSums(23.1, 0, 1))
    assert "times 2.3, that of chance" in stopping.advice


def test_an_evaluation_that_is_not_finite_ends_at_once():
    stopping = begun()
    stopping.check_evaluation(EvaluationSums(math.nan, 5, 10))
    assert (stopping.reason, stopping.status) == ("diverged", STATUS_DIVERGED)


def test_evaluations_beyond_the_limit_must_stay_so_whatever_the_training_loss():
    stopping = begun(2.0)
    for _ in range(PERSISTENCE):
        assert stopping.reason == ""
        stopping.check_evaluation(EvaluationSums(210.0, 5, 10))
        stopping.check_portion(portion(2.0))
    assert stopping.reason == "diverged" and "the loss on the test set is 21" in stopping.advice


@pytest.mark.parametrize("loss", [math.inf, math.nan, 20.1, 1.5e54])
def test_the_final_parameters_decide_over_every_other_reason(loss):
    stopping = begun(2.0)
    stopping.check_portion(portion(1e40))  # the last one, and the only one
    stopping.check_limit("epochs")
    stopping.check_final(EvaluationSums(19.9, 5, 1))
    assert stopping.reason == "epochs"
    stopping.check_final(EvaluationSums(loss, 5, 1))
    assert (stopping.reason, stopping.status) == ("diverged", STATUS_DIVERGED)


def shard_report(recent: int, not_finite: int, **others: int) -> np.ndarray:
    report = np.zeros((), SHARD_REPORT)
    for name, value in ({"recent": recent, "recent_not_finite": not_finite} | others).items():
        report[name] = value
    return report


@pytest.mark.parametrize(
    ("recent", "bad", "final", "diverged"),
    [
        (50, 26, False, True), (50, 25, False, False), (49, 49, False, False), (49, 49, True, True),
        (50, 25, True, False), (1, 1, True, True), (0, 0, True, False), (4, 2, True, False),
    ],
)  # fmt: skip
def test_a_shard_that_refuses_most_gradients_as_not_finite(recent, bad, final, diverged):
    stopping = begun()
    stopping.check_limit("steps")
    shards = {0: shard_report(50, 0, stale=900, too_large=900), 3: shard_report(recent, bad)}
    stopping.check_refusals(shards, final)
    assert stopping.reason == ("diverged" if diverged else "steps")
    assert ("shard 3 refused" in stopping.advice) is diverged


def test_where_it_stands_goes_into_a_checkpoint_and_back():
    told: list[str] = []
    stopping = begun(2.0, chance=2.0, examples=40, tell=into(told))
    for _ in range(PERSISTENCE - 1):
        stopping.check_portion(portion(21.0))
    stored = asdict(stopping.state())
    again = Stopping(Train(), chance=2.0, examples=40, tell=into(told))
    again.restore(build(StoppingState, json.loads(json.dumps(stored)), "stopping"))
    assert again.state() == stopping.state() and again.verdict == stopping.verdict
    again.check_portion(portion(21.0))
    assert again.reason == "diverged" and not told


def test_an_older_checkpoint_has_less():
    stopping = Stopping(Train(), chance=2.0, examples=40)
    stopping.restore(build(StoppingState, {"first_loss": 2.25, "beyond": 1}, "stopping"))
    assert stopping.state() == StoppingState(2.25, 1, EpochSums(), None, False)


def test_an_epoch_at_chance_is_told_once_and_changes_no_status():
    told: list[str] = []
    stopping = Stopping(Train(), chance=2.3, examples=40, tell=into(told))
    for n in range(12):
        stopping.check_portion(portion(2.29))
        assert len(told) == (n >= 3)
    stopping.check_limit("epochs")
    assert stopping.status == STATUS_OK and stopping.verdict["learned"] is False
    assert "stays at 2.29, and one and the same answer for every example would cost 2.3" in told[0]
    assert "downpour.learning_rate" in told[0]


@pytest.mark.parametrize(
    "losses",
    [
        [9.0, 5.0, 3.0, 2.2],  # the mean is above chance, but it learns
        [2.2, 2.2, 2.2, 2.35],  # the last ones are hard
        [math.nan, 2.2, 2.2, 2.2, 2.2],
    ],
)
def test_what_learns_is_not_told_that_it_does_not(losses):
    told: list[str] = []
    stopping = Stopping(Train(), chance=2.3, examples=40, tell=into(told))
    for loss in losses:
        stopping.check_portion(portion(loss))
    assert not told and stopping.verdict["learned"] is True


def test_less_than_an_epoch_and_an_unknown_chance_tell_nothing():
    told: list[str] = []
    for chance, portions in ((2.3, 3), (0.0, 50)):
        stopping = Stopping(Train(), chance=chance, examples=40, tell=into(told))
        for _ in range(portions):
            stopping.check_portion(portion(5.0))
        assert not told and stopping.verdict["learned"] is None


def test_a_batch_method_is_told_after_some_iterations_or_when_it_has_converged():
    told: list[str] = []
    stopping = Stopping(Train(algorithm="sandblaster"), chance=2.3, examples=1000, tell=into(told))
    for n in range(ITERATIONS):
        assert not told, n
        stopping.check_iterate(2.31)
    assert len(told) == 1 and "model.l2" in told[0] and "downpour" not in told[0]
    stopping = Stopping(Train(algorithm="sandblaster"), chance=2.3, examples=1000, tell=into(told))
    stopping.check_iterate(2.31)
    stopping.check_optimizer("converged")
    assert len(told) == 2 and stopping.verdict["learned"] is False


def test_a_batch_method_that_learned_is_silent():
    told: list[str] = []
    stopping = Stopping(Train(), chance=2.3, examples=1000, tell=into(told))
    for loss in (2.6, 2.4, 0.1):
        stopping.check_iterate(loss)
    stopping.check_optimizer("converged")
    assert not told and stopping.verdict == {
        "first_loss": 2.6, "chance_loss": 2.3, "learned": True, "diverged_by": None,
    }  # fmt: skip


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
        stopping.check_portion(portion(math.nan))
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


def test_a_loss_above_chance_that_falls_is_not_told_and_one_that_stays_is():
    for losses, tells in (([14.0, 6.0, 3.0, 1.0], False), ([14.0, 14.1, 13.9, 14.0], True)):
        told = list[str]()
        stopping = Stopping(Train(), chance=0.4, examples=40, tell=into(told))
        for loss in losses:
            stopping.check_portion(portion(loss))
        assert bool(told) is tells and stopping.verdict["learned"] is False


def test_what_is_learned_by_heart_is_told():
    told = list[str]()
    stopping = Stopping(Train(), chance=2.0, examples=40, tell=into(told))
    for _ in range(4):
        stopping.check_portion(portion(0.1))
    stopping.check_final(EvaluationSums(1.9 * 5, 1, 5))
    assert not told
    stopping.check_final(EvaluationSums(2.5 * 5, 1, 5))
    assert len(told) == 1 and "learned by heart" in told[0] and not stopping.lost


def test_patience_counts_evaluations_without_a_better_result_over_all_jobs():
    stopping = Stopping(Train(patience=3))
    found = [stopping.improves(EvaluationSums(1.0, right, 100)) for right in (50, 70, 70, 60)]
    assert found == [True, True, False, False] and not stopping.reason
    again = Stopping(Train(patience=3))
    again.restore(build(StoppingState, json.loads(json.dumps(asdict(stopping.state()))), "stopping"))
    assert not again.improves(EvaluationSums(math.nan, 69, 100))
    assert (again.reason, again.status, again.finished) == ("patience", STATUS_OK, True)
    for patience, reason in ((3, "patience"), (4, "")):  # the same command again, and with more of it
        third = Stopping(Train(patience=patience))
        third.restore(again.state())
        assert third.reason == reason
    assert not Stopping(Train()).improves(EvaluationSums(1.0, 50, 100))
