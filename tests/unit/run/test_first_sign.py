"""Who shows that a run starts."""

import pytest

from dbmpi import phases
from dbmpi.output import starting
from dbmpi.run.start import first_sign
from tests.doubles.terminals import FakeTerminal


@pytest.mark.parametrize(("words", "shown"), [(["m", "d", "out.csv"], True), (["m", "d", "-"], False)])
def test_a_command_that_finds_something_shows_it_beside_that(monkeypatch, words, shown):
    asked, terminal = [], FakeTerminal(80)
    monkeypatch.setattr(starting.terminal, "find", lambda output: asked.append(output) or terminal)
    try:
        first_sign.show_beside("predict", words, {})
        assert terminal.line.startswith("dbmpi: predict, 0 s: ") is shown
        assert asked == [2] * shown
    finally:
        phases.over()


@pytest.mark.parametrize(
    ("words", "env", "shown"),
    [
        (["run.toml"], {}, True),
        ([], {"OMPI_COMM_WORLD_RANK": "0"}, True),
        ([], {"OMPI_COMM_WORLD_RANK": "1"}, False),
        ([], {"PMI_RANK": "63"}, False),
        (["run.toml", "--dry-run"], {}, False),
        (["--help"], {}, False),
    ],
)
def test_rank_0_of_a_run_alone_shows_it(monkeypatch, words, env, shown):
    terminal = FakeTerminal(80)
    monkeypatch.setattr(starting.terminal, "find", lambda output: terminal)
    try:
        first_sign.show(words, env)
        assert bool(terminal.line) is shown
    finally:
        phases.over()
