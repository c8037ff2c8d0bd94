"""What the user sees: bar, plain lines or nothing."""

import io
import math
import sys

import pytest

from dbmpi import screen
from dbmpi.config.sections import Train
from dbmpi.output import progress
from dbmpi.output.live import LiveLine
from dbmpi.output.progress import Bar, Plain, Silent, make
from dbmpi.output.view import ProgressLimits
from tests.doubles.terminals import FakeTerminal
from tests.unit.output.test_view import HALF, view


@pytest.fixture
def out(monkeypatch):
    """Standard output, which takes away what is drawn before a line, as the real one does; at once."""
    monkeypatch.setattr("dbmpi.output.live.SETTLE_S", 0.0)

    class Out(io.StringIO):
        def write(self, text: str) -> int:
            screen.make_room()
            return super().write(text)

    return Out()


def bar(out: io.StringIO, terminal: FakeTerminal) -> Bar:
    return Bar(out, HALF, LiveLine(terminal), Plain(out, HALF, 30.0))


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
    for time_s in (0.5, 1.0, 20.0, 30.9, 31.0, 60.0, 61.0):
        if time_s >= shown.next_s:
            shown.show(view(time_s=time_s))
    lines = out.getvalue().splitlines()
    assert len(lines) == 3 and all(line.startswith("dbmpi:  50%, loss 0.25") for line in lines)


def test_the_bar_makes_room_for_lines_and_comes_again(out):
    terminal = FakeTerminal(200)
    shown = bar(out, terminal)
    shown.show(view())
    assert terminal.line.startswith("█" * 10 + "░" * 10 + "  50% loss")
    assert 10.0 < shown.next_s < 11.0
    shown.line("something")
    assert terminal.line == "" and shown.next_s == 0.0
    shown.show(view(examples=1000))
    assert terminal.line.startswith("█" * 20)
    shown.close()
    shown.close()
    assert terminal.line == "" and out.getvalue() == "dbmpi: something\n"
    assert not screen.drawn


def test_in_the_background_there_are_plain_lines(out):
    terminal = FakeTerminal(80, seen=False)
    shown = bar(out, terminal)
    for time_s in (1.0, 2.0, 31.0):
        shown.show(view(time_s=time_s))
    assert terminal.written == "" and len(out.getvalue().splitlines()) == 2
    terminal.seen = True
    shown.show(view(time_s=32.0))
    shown.close()
    assert "50%" in terminal.written and len(out.getvalue().splitlines()) == 2


@pytest.mark.parametrize(
    ("encoding", "language", "blocks"),
    [("utf-8", "de_DE.UTF-8", "█░"), ("ascii", "", "#-"), ("utf-8", "ja_JP.UTF-8", "#-")],
)
def test_blocks_are_those_that_the_terminal_has(monkeypatch, encoding, language, blocks):
    monkeypatch.setenv("LC_ALL", language)
    terminal, out = FakeTerminal(200), io.TextIOWrapper(io.BytesIO(), encoding)
    shown = bar(out, terminal)
    shown.show(view())
    shown.close()
    assert blocks[0] * 10 + blocks[1] * 10 in terminal.written


@pytest.mark.parametrize(
    ("setting", "there", "kind"),
    [
        ("none", True, Silent),
        ("plain", True, Plain),
        ("auto", True, Bar),
        ("auto", False, Plain),
        ("bar", True, Bar),
        ("bar", False, Bar),
    ],
)
def test_make(monkeypatch, setting, there, kind):
    monkeypatch.setattr(progress, "find", lambda: FakeTerminal(80) if there else None)
    shown = make(setting, 30.0, Train(), 100)
    assert type(shown) is kind
    shown.close()


def test_a_bar_that_is_asked_for_goes_to_any_output(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(progress, "find", lambda: None)
    shown = make("bar", 30.0, Train(epochs=10), 100)
    shown.show(view())
    shown.close()
    assert " 50% loss" in out.getvalue()


def test_make_knows_the_limits(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    make("plain", 30.0, Train(epochs=2.5), 400).show(view())
    assert " 50%" in out.getvalue()
