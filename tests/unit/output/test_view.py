"""A moment of a run in words, in windows of any width."""

import math

import pytest

from dbmpi.output.view import ProgressLimits, View, cut, drawn, duration, parts, width

BLOCKS = "█", "░"
NONE = ProgressLimits(None, None, None)
HALF = ProgressLimits(1000, None, None)


def view(**values: float) -> View:
    base = {"time_s": 10.0, "step": 50, "examples": 500, "loss": 0.25, "accuracy": 0.9}
    base |= {"test_loss": 0.5, "test_accuracy": 0.875, "examples_per_s": 1234.5}
    return View(**(base | values))


@pytest.mark.parametrize(
    ("limits", "share"),
    [
        (NONE, 0.0),
        (ProgressLimits(1000, None, None), 0.5),
        (ProgressLimits(1000, 60, None), 50 / 60),
        (ProgressLimits(1000, 60, 11.0), 10 / 11),
        (ProgressLimits(400, None, None), 1.0),
    ],
)
def test_share_is_that_of_the_nearest_limit(limits, share):
    assert limits.share(view()) == pytest.approx(share)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (41.3, "41 s"),
        (59.4, "59 s"),
        (59.6, "1:00"),
        (185, "3:05"),
        (3599.7, "1:00:00"),
        (7385, "2:03:05"),
        (360_000, "100:00:00"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_a_time_limit_is_one_of_each_job():
    limits = ProgressLimits(10_000, None, 10.0)
    later = view(time_s=104.0, since_s=100.0)
    assert limits.share(later) == pytest.approx(0.4)
    assert limits.left_s(later) == pytest.approx(6.0)
    assert limits.left_s(view(time_s=1.0)) == pytest.approx(9.0)
    assert NONE.left_s(later) == math.inf


def test_a_moment_in_words():
    assert parts(view(staleness=1.25), ProgressLimits(2000, None, None)) == [
        " 25%",
        "loss 0.25",
        "accuracy 90.00%",
        "test 87.50%",
        "1,234 examples/s",
        "staleness 1.2",
        "30 s left",
    ]


def test_what_is_not_known_is_not_said():
    said = parts(view(accuracy=math.nan, test_accuracy=math.nan), NONE)
    assert said == ["  0%", "loss 0.25", "test loss 0.5", "1,234 examples/s"]
    assert not any("test" in part for part in parts(view(test_loss=math.nan, test_accuracy=math.nan), NONE))


def test_a_loss_that_is_not_finite_can_be_shown():
    assert "loss nan" in parts(view(loss=math.nan), NONE)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (200, "█" * 10 + "░" * 10 + "  50% loss 0.25 accuracy 90.00% test 87.50% 1,234 examples/s 10 s left"),
        (80, "████░░░░░  50% loss 0.25 accuracy 90.00% test 87.50% 1,234 examples/s 10 s left"),
        (70, " 50% loss 0.25 accuracy 90.00% test 87.50% 1,234 examples/s 10 s left"),
        (60, "50% loss 0.25 acc 90.00% test 87.50% 1,234/s 10 s left"),
        (40, "50% loss 0.25 acc 90.00% 10 s left"),
        (16, "50% loss 0.25"),
        (10, "50%"),
    ],
)
def test_a_narrow_window_gets_less_but_whole_words(columns, text):
    said = drawn(view(), HALF, columns, BLOCKS)
    assert width(said) < columns
    assert said == text


def test_wide_characters_count_for_two_columns():
    assert width("数据 e\u0301") == 6
    assert cut("数据", 3) == "数"
    assert cut("abc", 0) == ""


def test_a_limit_beyond_all_time_tells_no_time() -> None:
    """As of a run that has one only because there must be one."""
    endless = ProgressLimits(None, None, 1e300)
    assert not [part for part in parts(view(), endless) if part.endswith("left")]
    assert len(drawn(view(), endless, 40, "#-")) < 40
