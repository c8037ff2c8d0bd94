"""Start a program under a deadline and leave nothing of it behind. Standard library only.

MPI launchers put ranks in process groups or sessions of their own, so neither of those finds them all. What
every descendant inherits is the environment: each launch adds a token to one variable, and whoever carries it
is ours.
"""

import contextlib
import math
import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TOKENS = "DBMPI_TEST_LAUNCH"
# How long a launcher may take to clean up after SIGTERM, and ranks to vanish after their launcher.
GRACE_S = 5.0
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """A signal asks this program to end; `status` is what it should end with, the text names the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.status = 128 + number


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Let the signals that end a program raise Ended meanwhile, so that `run` ends what it has started.

    The first one counts: the way out is not disturbed. What is ignored, as by nohup, stays ignored. Main
    thread only.
    """
    before = {number: signal.getsignal(number) for number in ENDING}
    caught = [number for number, handler in before.items() if handler != signal.SIG_IGN]

    def end_once(number: int, frame: object) -> None:
        for one in caught:
            signal.signal(one, signal.SIG_IGN)
        raise Ended(number)

    try:
        for number in caught:
            signal.signal(number, end_once)
        yield
    finally:
        for number in caught:
            signal.signal(number, before[number])


@dataclass(frozen=True)
class Finished:
    """How a program ended; `out` and `err` are empty when they were not captured."""

    command: list[str]
    status: int
    out: str
    err: str
    wall_s: float
    timed_out: bool
    survivors: list[str]

    def __str__(self) -> str:
        ended = "timed out" if self.timed_out else f"status {self.status}"
        return f"{' '.join(self.command)}\n{ended} after {self.wall_s:.1f} s\n{self.out}\n{self.err}"


def carriers(token: str) -> list[int]:
    """Return the process ids of every other living process whose environment holds the token."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if token.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # gone meanwhile, or not ours to read
                continue
    return found


def describe(pid: int) -> str:
    """Return the process id and command line, for a message."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        command = "(gone)"
    return f"{pid}: {command}"


def wait_for_none(token: str, limit_s: float) -> list[int]:
    """Wait until no process carries the token; return those that still do after `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while (left := carriers(token)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def send(number: int, pids: Iterable[int]) -> list[int]:
    """Send a signal to processes; return those that were there."""
    there = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, number)
            there.append(pid)
    return there


@contextlib.contextmanager
def stopped(pids: Sequence[int]) -> Iterator[list[int]]:
    """Let processes stand still meanwhile; gives a list, of those that were there to be woken afterwards."""
    woken: list[int] = []
    send(signal.SIGSTOP, pids)
    try:
        yield woken
    finally:
        woken += send(signal.SIGCONT, pids)


def kill_all(living: Callable[[], Iterable[int]], limit_s: float = math.inf) -> None:
    """Kill processes, those that they start meanwhile included, until there are none; give up in time."""
    deadline = time.monotonic() + limit_s
    while (left := living()) and time.monotonic() < deadline:
        send(signal.SIGKILL, left)
        time.sleep(0.05)


def end(process: "subprocess.Popen[bytes]", token: str) -> None:
    """End a program that is past its deadline: politely, so that it removes its files, then surely."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):  # then surely
        process.wait(GRACE_S)
    kill_all(lambda: carriers(token))
    process.wait()


def run(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    capture: bool = True,
    during: Callable[[Callable[[], list[int]]], None] | None = None,
) -> Finished:
    """Run a command to its end, or to its deadline, and see that no process of it is left.

    `env` holds changes to this process's environment, None removes a variable. Without `capture` the
    output goes where this process's goes. `during` is called once, after the start, with a function that
    returns the ids of the processes that live at the moment, launchers included: to send signals to.
    """
    words = [str(word) for word in command]
    token = uuid.uuid4().hex
    changes = {**(env or {}), TOKENS: f"{os.environ.get(TOKENS, '')}:{token}"}
    environment = {name: text for name, text in {**os.environ, **changes}.items() if text is not None}
    started = time.monotonic()
    # Files, not pipes: a survivor that holds a pipe open would hang the reader.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process: subprocess.Popen[bytes] | None = None
        timed_out = False
        survivors: list[str] = []
        try:
            process = subprocess.Popen(
                words,
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out if capture else None,
                stderr=err if capture else None,
                start_new_session=True,
            )
            if during is not None:
                during(lambda: carriers(token))
            process.wait(max(0.0, timeout_s - (time.monotonic() - started)))
            survivors = [describe(pid) for pid in wait_for_none(token, GRACE_S)]
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:  # also when this program is interrupted
            if process is not None and process.poll() is None:
                end(process, token)
            kill_all(lambda: carriers(token))
        wall_s = time.monotonic() - started
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    assert process is not None
    return Finished(words, process.returncode, texts[0], texts[1], wall_s, timed_out, survivors)
