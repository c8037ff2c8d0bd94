"""The learning rate over the run."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbmpi.config.algorithms import Schedule
from dbmpi.replica.learning_rate import LearningRate

ROWS = 1000
KINDS = ["constant", "linear", "cosine", "exponential", "step"]


def rate(kind: str, **keys: float) -> LearningRate:
    return LearningRate(0.5, Schedule(**({"kind": kind, "warmup_epochs": 0.0} | keys)), ROWS)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("linear", [1, 0.8, 0.6, 0.2, 0.2]),
        ("cosine", [1, 0.2 + 0.4 * (1 + math.sqrt(0.5)), 0.6, 0.2, 0.2]),
        ("exponential", [1, 0.5**0.25, 0.5**0.5, 0.5, 0.25]),
        ("step", [1, 1, 1, 0.5, 0.25]),
    ],
)
def test_course_over_the_decay(kind, expected):
    made = rate(kind, decay_epochs=8.0, decay_factor=0.5, final=0.2)
    at = [made.at(epoch * ROWS) / 0.5 for epoch in (0, 2, 4, 8, 16)]
    assert at == pytest.approx(expected)


def test_step_holds_until_the_period_is_over():
    made = rate("step", decay_epochs=2.0, decay_factor=0.1)
    assert made.at(2 * ROWS - 1) == 0.5 and made.at(2 * ROWS) == pytest.approx(0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_warmup_rises_linearly_and_comes_before_the_decay(kind):
    made = rate(kind, warmup_epochs=2.0, decay_epochs=4.0)
    rising = [made.at(n) for n in range(2 * ROWS)]
    assert rising[0] > 0 and rising[999] == pytest.approx(0.25) and rising[-1] == pytest.approx(0.5)
    steps = [b - a for a, b in zip(rising, rising[1:], strict=False)]
    assert steps == pytest.approx([0.5 / (2 * ROWS)] * 1999)
    assert made.at(2 * ROWS) == pytest.approx(0.5)
    without = rate(kind, decay_epochs=4.0)
    expected = [without.at(epoch * ROWS) for epoch in (1, 3, 7)]
    assert [made.at(epoch * ROWS) for epoch in (3, 5, 9)] == pytest.approx(expected)


@given(
    kind=st.sampled_from(KINDS),
    warmup=st.floats(0, 5),
    decay=st.floats(0.01, 20),
    factor=st.floats(0.01, 1),
    final=st.floats(0, 1),
    examples=st.integers(0, 50_000),
)
def test_never_negative_and_never_above_the_base(kind, warmup, decay, factor, final, examples):
    schedule = Schedule(kind=kind, warmup_epochs=warmup, decay_epochs=decay, decay_factor=factor, final=final)
    at = LearningRate(0.5, schedule, ROWS).at(examples)
    assert 0 <= at <= 0.5
