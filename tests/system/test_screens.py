"""Showing never ends a run, and what only shows is quiet where nobody looks any more."""

import signal
import subprocess
import sys
import time

import pytest

from dbmpi.errors import STATUS_FAILURE, STATUS_STOPPED
from scripts.chaos import screens
from scripts.processes import send
from tests.runner import ROOT

pytestmark = pytest.mark.beside

# Those left out differ little from one that is here; `scripts/chaos screens` runs all.
TRIED = [
    "all_closed", "stdout_full", "all_full", "reader_gone", "readers_gone", "reader_reads_no_more",
    "pipe_that_does_not_wait", "strictly_ascii", "connection_reset", "no_locale", "terminal_gone",
    "hangup_alone", "mistake_unseen", "ranks_terminal_gone",
]  # fmt: skip
REPORTS = {
    "help": ["-m", "dbmpi.train", "--help"],
    "dry run": ["-m", "dbmpi.train", "--dry-run", "--ranks", "64"],
    "configuration": ["-m", "dbmpi.config"],
    "scripts": ["scripts/chaos", "kinds"],
}


@pytest.mark.parametrize("name", TRIED)
def test_a_run_goes_on_without_a_screen(name, environment, tmp_path):
    way = screens.WAYS[name]
    tried = screens.attempt(way, tmp_path, str(environment.python), environment.mpiexec(way.ranks))
    assert not tried.wrong, tried.done


def report(words: list[str], shell: str) -> subprocess.CompletedProcess[str]:
    """Run a program that only prints, in a shell that says where to."""
    command = ["sh", "-c", shell, "sh", sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)


@pytest.mark.parametrize("words", REPORTS.values(), ids=REPORTS)
def test_who_reads_the_beginning_alone_sees_no_more(words):
    done = report(words, '{ "$@"; echo $? >&2; } | true')
    assert (done.stdout, done.stderr) == ("", "0\n")


def test_a_report_that_cannot_be_written_is_a_failure():
    done = report(REPORTS["configuration"], 'exec "$@" >/dev/full')
    assert done.returncode == STATUS_FAILURE
    assert done.stderr == (
        "dbmpi: error: standard output: No space left on device: it lacks what was to be printed\n"
    )


def test_a_slow_reader_gets_all_of_a_report():
    words, full = REPORTS["configuration"], 1 << 16  # bytes that a pipe holds
    slow = f'{{ head -c {full} /dev/zero; "$@"; }} | {{ sleep 1.5; tail -c +{full + 1}; }}'
    assert report(words, slow).stdout == report(words, 'exec "$@"').stdout


@pytest.mark.parametrize(("ranks", "number"), [(0, signal.SIGUSR1), (0, signal.SIGTERM), (3, signal.SIGUSR1)])
def test_a_signal_before_training_stops_the_run(launch, tmp_path, ranks, number):
    def stop(living):
        while not any(b"dbmpi.train" in _command(pid) for pid in living()):
            time.sleep(0.01)
        time.sleep(1.0 if ranks else 0.3)  # it is among imports; a launcher takes its time
        send(number, [pid for pid in living() if not ranks or b"python" not in _command(pid).split(b"\0")[0]])

    run = tmp_path / "run"
    done = launch(ranks, "--run-dir", run, "--set", "train.epochs=100000", during=stop)
    assert done.status == STATUS_STOPPED
    if not (run / "summary.json").exists():
        assert "before training: the same command starts it again" in done.err


def _command(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""
