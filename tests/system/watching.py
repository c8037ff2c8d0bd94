"""Watch what a program shows: on a terminal, on a screen of tmux, or through a pipe.

As a program, `watching.py RECORD COLUMNS COMMAND...`, it runs a command on a terminal so wide, or through a
pipe where that is 0, and writes what comes, and when, to a file.
"""

import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

DEADLINE_S = 60.0
LINES = 40


@dataclass(frozen=True)
class Shown:
    """What came at a time (`time.time`)."""

    at: float
    text: str


def read(record: Path) -> list[Shown]:
    """Return what a program has shown."""
    return [Shown(*json.loads(line)) for line in record.read_text().splitlines()]


def watch(command: Sequence[str], columns: int, record: Path) -> int:
    """Run a command, and write down what it shows; return its status."""
    if columns:
        pid, output = pty.fork()
        if pid == 0:
            os.execvp(command[0], list(command))
        fcntl.ioctl(output, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    else:
        output, entry = os.pipe()
        pid = subprocess.Popen(list(command), stdout=entry, stderr=entry).pid
        os.close(entry)
    with record.open("w") as lines, suppress(OSError):  # a terminal whose program has ended
        while content := os.read(output, 65536):
            lines.write(json.dumps([time.time(), content.decode(errors="replace")]) + "\n")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Screen:
    """A screen of tmux, with a shell command on it."""

    def __init__(self, folder: Path) -> None:
        self._server = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]

    def do(self, *words: str) -> str:
        """Give tmux a command; return what it prints."""
        done = subprocess.run([*self._server, *words], capture_output=True, text=True, timeout=DEADLINE_S)
        return done.stdout

    def rows(self) -> list[str]:
        """Return the rows that have been there from the beginning, those that are empty too."""
        return self.do("capture-pane", "-p", "-S", "-").splitlines()

    def until(self, wanted: Callable[[list[str]], bool]) -> list[str]:
        """Return the rows once they are as wanted."""
        end = time.monotonic() + DEADLINE_S
        while not wanted(rows := self.rows()):
            assert time.monotonic() < end, "\n".join(rows)
            time.sleep(0.02)
        return rows


@contextmanager
def screen(folder: Path, command: str, columns: int, env: Mapping[str, str]) -> Iterator[Screen]:
    """Give a screen on which a shell runs a command, and then sleeps; all of it ends with the block."""
    made = Screen(folder)
    variables = [word for name, text in env.items() for word in ("-e", f"{name}={text}")]
    size = ["-x", str(columns), "-y", str(LINES)]
    made.do("new-session", "-d", *size, *variables, "-c", str(folder), f"{command}; sleep {DEADLINE_S:.0f}")
    try:
        yield made
    finally:
        made.do("kill-server")


def has_tmux() -> bool:
    """Return whether there is a tmux."""
    return shutil.which("tmux") is not None


if __name__ == "__main__":
    file, columns, *words = sys.argv[1:]
    sys.exit(watch(words, int(columns), Path(file)))
