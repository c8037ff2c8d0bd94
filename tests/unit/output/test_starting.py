"""What is shown before training."""

import time

import pytest

from dbmpi import phases
from dbmpi.output import starting
from dbmpi.output.starting import Starting
from tests.doubles.terminals import FakeTerminal


@pytest.fixture(autouse=True)
def nothing_else():
    yield
    phases.over()


def started(monkeypatch, terminal: FakeTerminal | None, seconds: float = 0.0) -> Starting:
    monkeypatch.setattr(starting.terminal, "find", lambda output: terminal if output == 1 else None)
    made = Starting(time.monotonic() - seconds)
    made.begin()
    return made


def test_something_is_there_at_once_and_each_phase_after_it(monkeypatch):
    terminal = FakeTerminal(80)
    monkeypatch.setattr(starting, "SHORTEST_S", 0.0)
    started(monkeypatch, terminal, 3.0)
    assert terminal.line == "dbmpi: starting, 3 s: loading libraries"
    phases.phase("looking at the data")
    assert terminal.line == "dbmpi: starting, 3 s: looking at the data"
    phases.over()
    assert terminal.line == ""
    phases.phase("training")
    assert terminal.line == ""


@pytest.mark.parametrize("asked", ["plain", "none"])
def test_who_asks_for_no_bar_gets_no_line(monkeypatch, asked):
    terminal = FakeTerminal(80)
    started(monkeypatch, terminal)
    phases.asked(asked)
    assert terminal.line == ""


def test_without_a_terminal_one_line_says_what_takes_long(monkeypatch, capsys):
    started(monkeypatch, None, starting.PATIENCE_S)
    phases.phase("looking at the data")
    phases.over()
    said = capsys.readouterr().out
    assert said == f"dbmpi: still starting after {starting.PATIENCE_S:.0f} s: loading libraries\n"


def test_the_time_goes_by_while_nothing_else_happens(monkeypatch):
    terminal = FakeTerminal(80)
    monkeypatch.setattr(starting, "TICK_S", 0.01)
    started(monkeypatch, terminal)
    before = terminal.written
    while terminal.written == before:
        time.sleep(0.01)
