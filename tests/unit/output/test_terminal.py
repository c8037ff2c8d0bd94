"""Which terminal is a run's, and whether somebody looks at it."""

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbmpi.output import terminal
from dbmpi.output.terminal import COLUMNS, find, opened


class Processes:
    """A /proc of some processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, pid: int, name: str, parent: int, output: str, **of: object) -> None:
        """Add one; its state, process group, and that of its terminal's foreground."""
        (self.path / str(pid) / "fd").mkdir(parents=True, exist_ok=True)
        fields = [of.get("state", "S"), parent, pid, pid, 34816, of.get("front", pid), *range(7, 22)]
        fields[19] = of.get("began", 555)
        (self.path / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(map(str, fields))}\n")
        (self.path / str(pid) / "comm").write_text(f"{name}\n")
        link = self.path / str(pid) / "fd" / "1"
        link.unlink(missing_ok=True)
        link.symlink_to(output)


@pytest.fixture
def proc(tmp_path) -> Processes:
    return Processes(tmp_path)


@pytest.fixture
def pair() -> Iterator[tuple[int, str]]:
    """What is read of a terminal, and its name."""
    master, slave = pty.openpty()
    yield master, os.ttyname(slave)
    os.close(master)
    os.close(slave)


def below(proc: Processes, *names: str, output: str) -> None:
    """Make this process the last of a chain of others, whose first has an output, and the others none."""
    pids = [*range(900_001, 900_001 + len(names)), os.getpid()]
    for i, (pid, name) in enumerate(zip(pids, [*names, "python"], strict=True)):
        proc.add(pid, name, pids[i - 1] if i else 1, output if i == 0 else "/dev/null")


@pytest.mark.parametrize("names", [("prterun",), ("mpiexec", "hydra_pmi_proxy"), ("mpirun", "sh")])
def test_the_terminal_is_that_of_the_launcher(proc, pair, names):
    below(proc, *names, output=pair[1])
    found = find({"TERM": "xterm", "PMIX_RANK": "0"}, proc.path)
    assert found is not None and found.watched()
    found.write("█ 数\n")
    assert os.read(pair[0], 100).decode() == "█ 数\r\n"


@pytest.mark.parametrize(
    ("names", "output", "term"),
    [
        (("prterun",), "/dev/null", "xterm"),  # its output goes to a file
        (("prterun",), "/gone", "xterm"),
        (("sshd", "prted"), None, "xterm"),  # a daemon on another host
        (("prterun",), None, "dumb"),
        (("prterun",), None, ""),
    ],
)
def test_there_is_none(proc, pair, names, output, term):
    below(proc, *names, output=output or pair[1])
    assert find({"TERM": term, "PMIX_RANK": "0"}, proc.path) is None


def test_who_is_alone_has_its_own(proc, pair):
    proc.add(os.getpid(), "python", 1, pair[1])
    assert find({"TERM": "xterm"}, proc.path) is not None


def test_it_says_how_wide_it_is(proc, pair):
    proc.add(900_001, "mpirun", 1, pair[1])
    found = opened(900_001, proc.path)
    assert found is not None and found.columns() == COLUMNS  # nobody has said
    for columns in (40, 132):
        fcntl.ioctl(pair[0], termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        assert found.columns() == columns


@pytest.mark.parametrize(
    ("of", "watched"),
    [
        ({}, True),
        ({"front": -1}, True),  # no job control
        ({"front": 77}, False),  # in the background
        ({"state": "T"}, False),  # stopped by Ctrl-Z
        ({"state": "Z"}, False),
        ({"began": 556}, False),  # another process has its number
    ],
)
def test_who_looks_at_it(proc, pair, of, watched):
    proc.add(900_001, "mpirun", 1, pair[1])
    found = opened(900_001, proc.path)
    proc.add(900_001, "mpirun", 1, pair[1], **of)
    assert found is not None and found.watched() is watched


def test_a_launcher_that_is_gone_is_not_watched(proc, pair):
    proc.add(900_001, "mpirun", 1, pair[1])
    found = opened(900_001, proc.path)
    (proc.path / "900001" / "stat").unlink()
    assert found is not None and not found.watched()


def test_a_terminal_that_is_held_loses_what_is_drawn_and_one_that_is_gone_gets_no_more(proc):
    master, slave = pty.openpty()
    proc.add(900_001, "mpirun", 1, os.ttyname(slave))
    found = opened(900_001, proc.path)
    assert found is not None
    for _ in range(1000):
        found.write("x" * 100)  # nobody reads
    assert found.watched()
    os.close(slave)
    os.close(master)
    found.write("x")
    assert not found.watched()


def test_no_terminal_becomes_that_of_this_process(proc, pair):
    """A daemon of a batch system that opened one would get its signals."""
    assert terminal.OPENED & os.O_NOCTTY and terminal.OPENED & os.O_NONBLOCK
