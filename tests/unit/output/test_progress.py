"""What the user sees: bar, plain lines or nothing, and how far the run is."""

import io
import math
import os
import sys

import pytest

from dbmpi.config.sections import Train
from dbmpi.output import progress
from dbmpi.output.progress import Bar, Plain, ProgressLimits, Silent, View, duration, make, on_terminal, parts


def view(**values: float) -> View:
    base = {"time_s": 10.0, "step": 50, "examples": 500, "loss": 0.25, "accuracy": 0.9}
    base |= {"test_loss": 0.5, "test_accuracy": 0.875, "examples_per_s": 1234.5}
    return View(**(base | values))


NONE = ProgressLimits(None, None, None)


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


def test_a_moment_in_words():
    assert parts(view(), ProgressLimits(2000, None, None)) == [
        " 25%",
        "loss 0.25",
        "accuracy 90.00%",
        "test 87.50%",
        "1,234 examples/s",
        "30 s left",
    ]


def test_what_is_not_known_is_not_said():
    said = parts(view(accuracy=math.nan, test_accuracy=math.nan), NONE)
    assert said == ["  0%", "loss 0.25", "test loss 0.5", "1,234 examples/s"]
    assert not any("test" in part for part in parts(view(test_loss=math.nan, test_accuracy=math.nan), NONE))


def test_a_loss_that_is_not_finite_can_be_shown():
    assert "loss nan" in parts(view(loss=math.nan), NONE)


def test_silent_shows_only_lines():
    out = io.StringIO()
    shown = Silent(out)
    assert shown.next_s == math.inf
    shown.show(view())
    shown.line("something")
    shown.close()
    assert out.getvalue() == "dbmpi: something\n"


def test_plain_lines_come_at_their_interval():
    out = io.StringIO()
    shown = Plain(out, ProgressLimits(1000, None, None), every_s=30.0)
    for time_s in (1.0, 20.0, 30.9, 31.0, 60.0, 61.0):
        if time_s >= shown.next_s:
            shown.show(view(time_s=time_s))
    lines = out.getvalue().splitlines()
    assert len(lines) == 3 and all(line.startswith("dbmpi:  50%, loss 0.25") for line in lines)


def test_bar_draws_over_itself_and_makes_room_for_lines(monkeypatch):
    monkeypatch.setattr(progress.shutil, "get_terminal_size", lambda: os.terminal_size((200, 24)))
    out = io.StringIO()
    bar = Bar(out, ProgressLimits(1000, None, None))
    bar.show(view())
    bar.line("something")
    bar.show(view(examples=1000))
    bar.close()
    bar.close()
    drawn = out.getvalue().split("\r\x1b[K")
    assert drawn[1].startswith("█" * 10 + "░" * 10 + "  50% loss")
    assert drawn[2] == "dbmpi: something\n"
    assert drawn[3].startswith("█" * 20)
    assert drawn[4] == "" and len(drawn) == 5


def test_bar_fits_a_narrow_terminal(monkeypatch):
    monkeypatch.setattr(progress.shutil, "get_terminal_size", lambda: os.terminal_size((30, 24)))
    out = io.StringIO()
    Bar(out, NONE).show(view())
    assert len(out.getvalue().removeprefix("\r\x1b[K")) == 29


def test_a_file_is_no_terminal():
    assert not on_terminal(io.StringIO())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("parent_writes_to", "watched"),
    [("/dev/pts/3", True), ("/dev/tty1", True), ("/tmp/log", False), ("pipe:[7]", False)],
)
def test_a_terminal_of_the_launcher_s_making_is_not_watched(monkeypatch, parent_writes_to, watched):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress.os, "readlink", lambda path: parent_writes_to)
    assert on_terminal(Terminal()) is watched
    monkeypatch.setenv("TERM", "dumb")
    assert not on_terminal(Terminal())


def test_a_terminal_whose_parent_cannot_be_seen_is_watched(monkeypatch):
    def refuse(path: str) -> str:
        raise PermissionError

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress.os, "readlink", refuse)
    assert on_terminal(Terminal())


@pytest.mark.parametrize(("setting", "kind"), [("bar", Bar), ("plain", Plain), ("none", Silent)])
def test_make(setting, kind):
    assert type(make(setting, 30.0, Train(), 100)) is kind


@pytest.mark.parametrize(("watched", "kind"), [(True, Bar), (False, Plain)])
def test_make_chooses(monkeypatch, watched, kind):
    monkeypatch.setattr(progress, "on_terminal", lambda out: watched)
    assert type(make("auto", 30.0, Train(), 100)) is kind


def test_make_knows_the_limits(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    make("plain", 30.0, Train(epochs=2.5), 400).show(view())
    assert " 50%" in out.getvalue()
