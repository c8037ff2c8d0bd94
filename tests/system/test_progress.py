"""What a person sees of a run: on a terminal, in a narrow window, through a pipe; while it goes on."""

import re
import shlex
import sys
import time
from collections.abc import Callable

import pytest

from dbmpi.errors import STATUS_STOPPED
from scripts import processes
from tests.runner import ROOT
from tests.system import watching

pytestmark = pytest.mark.beside

ENDLESS = "train.epochs=100000", "evaluation.every_epochs=0"
SECONDS = 1.5
BAR = re.compile(r"\d+% loss \d")
LINE = re.compile(r"^dbmpi: +\d+%, loss", re.MULTILINE)
STARTING = "dbmpi: starting,"
needs_tmux = pytest.mark.skipif(not watching.has_tmux(), reason="there is no tmux: apt install tmux")
# A rank that prints by itself, past the program, while rank 0 draws.
TALKATIVE = """\
if [ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 2 ]; then
    (for i in 1 2 3 4 5 6 7 8 9; do sleep 0.15; echo "a line of another rank: $i."; done) &
fi
exec "$@"
"""


@pytest.fixture
def command(environment, tmp_path):
    """Return `command(ranks, *settings)`: the words that train in `run`; 0 ranks: without a launcher."""

    def words(ranks: int, *settings: str, before: tuple[str, ...] = ()) -> list[str]:
        launcher = environment.mpiexec(ranks) if ranks else []
        given = [*ENDLESS, f"train.max_time={SECONDS}", *settings]
        program = [str(environment.python), "-m", "dbmpi.train", "--run-dir", "run", "--set", *given]
        return [*map(str, launcher), *before, *program]

    return words


@pytest.fixture
def variables(environment):
    """What the environment says."""
    return {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environment.variables()}


@pytest.fixture
def watch(variables, tmp_path):
    """Return `watch(command, columns)`, which runs it and returns what it shows, until the run is over."""

    def watched(command: list[str], columns: int) -> tuple[list[watching.Shown], float]:
        record = tmp_path / "shown"
        words = [sys.executable, watching.__file__, str(record), str(columns), *command]
        done = processes.run(words, timeout_s=watching.DEADLINE_S, env=variables, cwd=tmp_path)
        assert done.status == STATUS_STOPPED and not done.survivors, done  # by its time limit
        return watching.read(record), (tmp_path / "run" / "summary.json").stat().st_mtime

    return watched


@pytest.mark.parametrize("ranks", [0, 3])
def test_the_bar_moves_while_the_run_goes_on(watch, command, tmp_path, ranks):
    shown, over = watch(command(ranks), 100)
    bars = [one for one in shown if BAR.search(one.text)]
    described = (tmp_path / "run" / "run.json").stat().st_mtime
    assert any(STARTING in one.text and one.at < described for one in shown)
    assert len({one.text for one in bars if one.at < over}) >= 3, shown
    assert not any(one.at > over for one in bars)


def test_what_goes_through_a_pipe_comes_while_the_run_goes_on(watch, command):
    shown, over = watch(command(3, "output.plain_every_s=0.2"), 0)
    lines = [one for one in shown if LINE.search(one.text)]
    assert len([one for one in lines if one.at < over]) >= 3, shown
    assert not any("\r" in one.text or "\x1b" in one.text or STARTING in one.text for one in shown)


def test_what_goes_into_a_file_comes_while_the_run_goes_on(command, variables, tmp_path):
    out, over, seen = tmp_path / "out", tmp_path / "run" / "summary.json", list[str]()

    def follow(pids: Callable[[], list[int]]) -> None:
        deadline = time.monotonic() + watching.DEADLINE_S
        while len(seen) < 3 and time.monotonic() < deadline:
            lines = LINE.findall(out.read_text() if out.exists() else "")
            if over.exists():
                return
            seen[:] = lines
            time.sleep(0.02)

    words = ["sh", "-c", 'exec "$@" > out', "sh", *command(3, "output.plain_every_s=0.2")]
    done = processes.run(words, timeout_s=watching.DEADLINE_S, env=variables, cwd=tmp_path, during=follow)
    assert done.status == STATUS_STOPPED and len(seen) >= 3, out.read_text()
    assert not set("\r\x1b") & set(out.read_text())


@needs_tmux
def test_a_narrow_window_is_never_too_narrow(command, variables, tmp_path):
    with watching.screen(tmp_path, shlex.join(command(3)), 40, variables) as screen:
        rows = screen.until(lambda rows: any(map(BAR.search, rows)))
        at = next(i for i, row in enumerate(rows) if BAR.search(row))
        assert "left" in rows[at] and not any(row.strip() for row in rows[at + 1 :])
        screen.do("resize-window", "-x", "70")
        screen.until(lambda rows: any(BAR.search(row) and len(row.rstrip()) > 40 for row in rows))
        screen.do("resize-window", "-x", "30")
        rows = screen.until(lambda rows: "everything is in" in " ".join(rows))
    assert sum(bool(BAR.search(row)) for row in rows) == 0, "\n".join(rows)
    assert not any(STARTING in row for row in rows)


@needs_tmux
def test_what_other_ranks_print_stays_whole(command, variables, tmp_path):
    words = command(3, before=("sh", "-c", TALKATIVE, "sh"))
    with watching.screen(tmp_path, shlex.join(words), 100, variables) as screen:
        rows = screen.until(lambda rows: "everything is in" in " ".join(rows))
    told = [row for row in rows if "another rank" in row]
    assert told == [f"a line of another rank: {i}." for i in range(1, 10)], "\n".join(rows)


@needs_tmux
def test_a_run_in_the_background_leaves_the_shell_alone(command, variables, tmp_path):
    """With `stty tostop`, which stops who writes; the run of rank 0 draws no bar over the prompt."""
    inner = f"{shlex.join(command(3))} & sleep 1.5; echo typed; fg"
    shell = f"bash --norc -i -c {shlex.quote(inner)}"
    with watching.screen(tmp_path, f"stty tostop; {shell}", 100, variables) as screen:
        rows = screen.until(lambda rows: "everything is in" in " ".join(rows))
    assert "typed" in rows, "\n".join(rows)
