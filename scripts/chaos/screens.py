"""Lose the screen in every way, and see that runs go on: `screens [NAME...] [--list]` (without a name: all).

One run each on the embedded digits; each must end with the status that is promised, leave all that a run
leaves, say once what could not be shown, and show no traceback. `mpirun` and `tmux` have ways of
their own. Prints a line a way; the status is 1 if one was not as promised. 3 minutes for all.
"""

import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dbmpi.checkpoint.manifest import Checkpoint
from dbmpi.checkpoint.resume import whole
from dbmpi.errors import STATUS_FAILURE, STATUS_OK, STATUS_USER_ERROR
from scripts import processes
from scripts.chaos import options
from scripts.training_runs import AS_ROOT, launch

RUN = "run"
UMLAUT = "läuft"  # a run directory, which some encodings cannot write
SHORT = ("train.epochs=2", "evaluation.every_epochs=0", "output.every_s=0.01", "output.plain_every_s=0.01")
BAR = ("output.progress=bar",)
UGLY = "Traceback", "BrokenPipe", "Exception ignored", "UnicodeEncodeError"
FULL_PIPE = "head -c 65536 /dev/zero"  # what a pipe holds
NO_MORE = "sh -c 'echo $$ >reader; exec sleep 60'"  # reads nothing
LARGE = "head -c 1048576 /dev/zero >out; ulimit -f 1024"  # no file may be larger
NO_WAIT = "import os, sys; os.set_blocking(1, False); os.execv(sys.argv[1], sys.argv[1:])"
UTF8_OFF = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
DEADLINE_S = 100


@dataclass(frozen=True)
class Way:
    """A way of losing the screen.

    Attributes
    ----------
    shell
        What a shell does with the command, which is `"$@"`.
    told
        Whether something cannot be shown, which must be said.
    settings, environment
        Of the run.
    status
        The promised one; None: the launcher's own, which it kills its ranks with, and a whole checkpoint.
    ranks
        1: without a launcher.
    run
        The run directory.
    """

    shell: str = 'exec "$@"'
    told: bool = True
    settings: Sequence[str] = SHORT
    environment: Mapping[str, str] = field(default_factory=dict)
    status: int | None = STATUS_OK
    ranks: int = 1
    run: str = RUN


def _piped(reader: str, before: str = "true", to: str = "") -> str:
    """Return what starts the command with a reader, and ends with the status of the command."""
    return (
        f'({before}; "$@" {to}; echo $? >status; kill $(cat reader 2>&-) 2>&-) | {reader}; exit $(cat status)'
    )


def _helped(what: str) -> str:
    """Return what starts the command on a terminal that is lost: see `main`."""
    return f'exec {sys.executable} "{Path(__file__).resolve()}" {what} "$@"'


WAYS = {
    "stdout_closed": Way('exec "$@" >&-'),
    "stderr_closed": Way('exec "$@" 2>&-'),
    "both_closed": Way('exec "$@" >&- 2>&-'),
    "all_closed": Way('exec "$@" <&- >&- 2>&-'),
    "stdout_full": Way('exec "$@" >/dev/full'),
    "all_full": Way('exec "$@" >/dev/full 2>&1'),
    "bar_full": Way('exec "$@" >/dev/full', settings=(*SHORT, *BAR)),
    "not_open_for_writing": Way('exec "$@" 1</dev/null 2</dev/null'),
    "file_too_large": Way(f'{LARGE}; exec "$@" >>out'),
    "connection_reset": Way(_helped("--reset")),
    "reader_gone": Way(_piped("true")),
    "readers_gone": Way(_piped("true", to="2>&1")),
    "reader_reads_no_more": Way(_piped(NO_MORE, FULL_PIPE)),
    "pipe_that_does_not_wait": Way(
        _piped(NO_MORE, f"{FULL_PIPE}; set -- {sys.executable} -c '{NO_WAIT}' \"$@\"")
    ),
    "ascii": Way(environment={"PYTHONIOENCODING": "ascii"}, settings=(*SHORT, *BAR), run=UMLAUT),
    "strictly_ascii": Way(
        'exec "$@" 2>/dev/full',
        environment={"PYTHONIOENCODING": "ascii:strict", "PYTHONUNBUFFERED": "1"},
        run=UMLAUT,
    ),
    "latin_1": Way(
        environment={"PYTHONIOENCODING": "latin-1"}, settings=(*SHORT, *BAR), run=UMLAUT, told=False
    ),
    "no_locale": Way(environment=UTF8_OFF, settings=(*SHORT, *BAR), told=False),
    "terminal_gone": Way(_helped("--lose"), settings=(*SHORT, *BAR, "train.epochs=60")),
    "hangup_alone": Way(_helped("--hang-up"), told=False, settings=(*SHORT, "train.epochs=60")),
    "mistake_unseen": Way('exec "$@" 2>/dev/full', settings=("train.epochs=-1",), status=STATUS_USER_ERROR),
    "failure_unseen": Way(
        'exec "$@" 2>/dev/full',
        settings=(*SHORT, "data.path=/proc/self/mem"),
        status=STATUS_USER_ERROR,
    ),
    "ranks_terminal_gone": Way(
        _helped("--lose"), settings=("train.epochs=100000", *SHORT[1:]), status=None, ranks=4
    ),
    "ranks_stdout_closed": Way('exec "$@" >&-', told=False, ranks=4),
    "ranks_stdout_full": Way('exec "$@" >/dev/full', told=False, ranks=4),
}


@dataclass(frozen=True)
class Tried:
    """How a run ended, and what was not as promised."""

    done: processes.Finished
    wrong: list[str]


def attempt(way: Way, folder: Path, python: str = sys.executable, launcher: Sequence[str] = ()) -> Tried:
    """Make one run, in an empty folder."""
    started = [*(launcher or launch(way.ranks))] if way.ranks > 1 else []
    command = [*started, python, "-m", "dbmpi.train", "--run-dir", way.run, "--set", *way.settings]
    changes = {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), **AS_ROOT, **way.environment}
    done = processes.run(
        ["sh", "-c", way.shell, "sh", *command], timeout_s=DEADLINE_S, env=changes, cwd=folder
    )
    return Tried(done, list(_faults(way, done, folder / way.run)))


def _faults(way: Way, done: processes.Finished, run: Path) -> Iterable[str]:
    """Yield what was not as promised."""
    if done.timed_out or done.survivors:
        yield "hangs"
    if way.status is None:
        if not any(isinstance(one, Checkpoint) for one in whole(run)):
            yield "no whole checkpoint"
    elif done.status != way.status:
        yield f"status {done.status} instead of {way.status}"
    for ugly in UGLY:
        if ugly in done.out + done.err:
            yield f"shows {ugly}"
    if way.status != STATUS_OK:
        return
    if not (run / "finished").exists():
        yield "not finished"
        return
    said = json.loads((run / "summary.json").read_text())["unshown"]
    events = [line for line in (run / "metrics.jsonl").read_text().splitlines() if "could be shown" in line]
    if bool(said) != way.told or len(events) != len(said):
        yield f"summary: {said}; events: {events}"


def main(arguments: list[str]) -> int:
    """Read the command line, and run."""
    parser = options.parser("screens", __doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="list the ways, and leave")
    given = parser.parse_args(arguments)
    if given.list:
        print("\n".join(WAYS))
        return STATUS_OK
    bad = 0
    for name in given.names or WAYS:
        with tempfile.TemporaryDirectory() as folder:
            tried = attempt(WAYS[name], Path(folder))
        bad += bool(tried.wrong)
        print(f"{name}: {', '.join(tried.wrong) or 'as promised'}", flush=True)
        if tried.wrong:
            print(tried.done, flush=True)
    return STATUS_FAILURE if bad else STATUS_OK


def lose_terminal(command: Sequence[str], hang_up: bool) -> int:
    """Start a command on a terminal of its own, take that away in training, and return its status.

    With `hang_up` the terminal stays, and the command gets SIGHUP alone.
    """
    pid, master = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.execvp(command[0], list(command))
    shown = b""
    while b" loss " not in shown:  # the first moment of training
        shown += os.read(master, 65536)
    if hang_up:
        os.kill(pid, signal.SIGHUP)
        os.set_blocking(master, False)
    else:
        os.close(master)
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if hang_up:
            _empty(master)
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(ended[1])


def reset_connection(command: Sequence[str]) -> int:
    """Start a command whose output is a connection that the other side resets, and return its status."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as output:
            started = subprocess.Popen(list(command), stdout=output.fileno())
        reader, _ = server.accept()
    with reader:
        reader.recv(1)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return started.wait()


def _empty(master: int) -> None:
    """Read what is shown, so that it can go on."""
    with suppress(OSError):  # nothing new, or the command has ended, and its terminal with it
        os.read(master, 65536)


if __name__ == "__main__":  # as a helper of a way
    what, *words = sys.argv[1:]
    sys.exit(reset_connection(words) if what == "--reset" else lose_terminal(words, what == "--hang-up"))
