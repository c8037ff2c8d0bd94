"""Lines that wait for the disk."""

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from dbmpi.output import lines
from dbmpi.output.lines import LineFile


def test_lines_wait_and_come_in_order_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, real, full, path = list[str](), os.write, [False], tmp_path / "a"

    def write(file: int, data: bytes) -> int:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data[:5])

    monkeypatch.setattr(lines.os, "write", write)
    file = LineFile(path, said.append)
    file.write("the first\n")
    file.flush()
    full[0] = True
    for n in range(3):
        file.write(f"{n}\n")
    file.flush()
    assert path.read_text() == "the first\n" and len(said) == 1 and "No space" in said[0]
    full[0] = False
    file.write("last\n")
    file.close()
    assert path.read_text() == "the first\n0\n1\n2\nlast\n"
    assert len(said) == 2 and "can be written again" in said[1]


def test_what_never_can_be_written_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    file = LineFile(tmp_path / "a", said.append)

    def write(file: int, data: bytes) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(lines.os, "write", write)
    monkeypatch.setattr(lines, "MOST_BYTES", 10)
    for _ in range(4):
        file.write("1234\n")
    file.close()
    assert said[-1].endswith("lacks 4 records")


def test_a_slow_disk_does_not_keep_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, go_on = os.write, threading.Event()

    def write(file: int, data: bytes) -> int:
        go_on.wait()
        return real(file, data)

    monkeypatch.setattr(lines.os, "write", write)
    file = LineFile(tmp_path / "a", lambda text: None)
    for n in range(100):
        file.write(f"{n}\n")
    assert (tmp_path / "a").read_text() == ""
    go_on.set()
    file.close()
    assert (tmp_path / "a").read_text().split() == [str(n) for n in range(100)]


def test_an_unfinished_line_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\ntw")
    file = LineFile(tmp_path / "a", lambda text: None)
    file.write("three\n")
    file.close()
    assert (tmp_path / "a").read_text() == "one\nthree\n"


def test_a_line_that_comes_too_late_is_lost_and_nobody_waits_for_it(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "a", lambda text: None)
    file.write("one\n")
    file.close()
    taken = os.open(tmp_path / "b", os.O_RDWR | os.O_CREAT)  # by the descriptor that is free now
    file.write("late\n")
    file.flush()
    file.close()
    os.close(taken)
    assert (file.lost, (tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == (1, "one\n", "")


def test_a_line_that_is_wanted_soon_waits_for_no_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PAUSE_S", 60.0)
    file, path = LineFile(tmp_path / "a", print), tmp_path / "a"
    for text in ("one\n", "two\n", "three\n"):
        file.write(text, soon=True)
        deadline = time.monotonic() + 20
        while not path.read_text().endswith(text) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert path.read_text().endswith(text)
    file.close()
