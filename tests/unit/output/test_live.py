"""A line that is drawn again and again, and what is printed meanwhile."""

import pytest

from dbmpi import screen
from dbmpi.output import live
from dbmpi.output.live import ERASE, LiveLine
from tests.doubles.terminals import FakeTerminal


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    made = Clock()
    monkeypatch.setattr(live, "time", made)
    return made


def test_the_cursor_is_left_behind_the_last_column():
    """So what another rank prints begins on a line of its own."""
    terminal = FakeTerminal(20)
    LiveLine(terminal).draw("half")
    assert terminal.written == f"{ERASE}half\x1b[20G "


@pytest.mark.parametrize(("text", "shown"), [("x" * 30, "x" * 9), ("数据数据数据", "数据数据")])
def test_a_line_is_cut_before_it_wraps(text, shown):
    terminal = FakeTerminal(10)
    LiveLine(terminal).draw(text)
    assert terminal.line == shown


def test_a_window_may_be_resized_between_two_lines():
    terminal = FakeTerminal(30)
    line = LiveLine(terminal)
    line.draw("x" * 25)
    terminal.wide = 10
    line.draw("x" * 25)
    assert terminal.line == "x" * 9


@pytest.mark.parametrize(
    ("env", "rows"),
    [({"TMUX": "x"}, 2), ({"VTE_VERSION": "7800"}, 2), ({}, 0), ({"TMUX": "x", "STY": "y"}, 0)],
)
def test_a_line_that_a_narrower_window_breaks_is_taken_away_whole(env, rows):
    terminal = FakeTerminal(30)
    line = LiveLine(terminal, env)
    line.draw("x" * 25)
    terminal.wide = 10
    line.draw("y")
    line.draw("z")
    second = f"\x1b[{rows}A\r\x1b[J" if rows else ERASE
    assert terminal.written == f"{ERASE}{'x' * 25}\x1b[30G {second}y\x1b[10G {ERASE}z\x1b[10G "


def test_what_is_printed_takes_it_away_and_has_time_to_come(clock):
    terminal = FakeTerminal(20)
    line = LiveLine(terminal)
    line.begin()
    line.draw("one")
    screen.make_room()
    assert terminal.line == "" and terminal.written.endswith(ERASE)
    line.draw("two")  # a launcher may not have passed on yet what was printed
    assert terminal.line == ""
    clock.now += live.SETTLE_S
    line.draw("three")
    assert terminal.line == "three"
    line.end()
    line.draw("four")
    assert terminal.line == "" and not screen.drawn


def test_nothing_is_written_where_nobody_looks():
    """The line may be that of a shell, once a run is in the background or its launcher is gone."""
    terminal = FakeTerminal(20)
    line = LiveLine(terminal)
    line.begin()
    line.draw("one")
    terminal.seen = False
    before = terminal.written
    line.draw("two")
    line.end()
    assert terminal.written == before
