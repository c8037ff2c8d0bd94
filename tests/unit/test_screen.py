"""Output that cannot fail: every kind of stream in place of standard output and error."""

import errno
import io
import os
import sys
import threading
from unittest.mock import Mock

import pytest

from dbmpi import screen
from dbmpi.screen import Screen, reported, screens, unshown


class Broken(io.StringIO):
    """A stream that is no file of the system, and cannot be written to."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        raise self._error


@pytest.fixture
def stdout(monkeypatch):
    """Return a function that puts a stream in place of standard output, and prints to it within `screens`."""

    def use(stream, text="läuft █"):
        monkeypatch.setattr(sys, "stdout", stream)
        with screens():
            print(text)
            print(text, flush=True)
            said, status = unshown(), reported(0)
        assert sys.stdout is stream
        return said, status

    return use


@pytest.mark.parametrize("error", [OSError(5, "no"), ValueError("closed")])
def test_a_stream_of_another_kind_that_cannot_be_written_to(stdout, error):
    (said,), _ = stdout(Broken(error))
    assert said.startswith("standard output: ")


def test_a_stream_of_another_kind_gets_all(stdout):
    stream = io.StringIO()
    assert stdout(stream) == ([], 0) and stream.getvalue() == 2 * "läuft █\n"


def test_none(stdout):
    assert stdout(None) == (["standard output: there is none"], 0)


def test_one_that_is_closed(stdout, tmp_path):
    stream = (tmp_path / "out").open("w")
    stream.close()
    (said,), _ = stdout(stream)
    assert "closed" in said


@pytest.mark.parametrize(("encoding", "lost"), [("ascii", True), ("latin-1", True), ("utf-8", False)])
def test_another_encoding(stdout, tmp_path, encoding, lost):
    with (tmp_path / "out").open("w", encoding=encoding) as stream:
        said, status = stdout(stream)
    assert (bool(said), status) == (lost, 0)
    shown = (tmp_path / "out").read_text(encoding)
    assert shown.count("\n") == 2 and ("\\u2588" in shown) is lost


@pytest.mark.parametrize(("name", "status"), [("/dev/full", 1), ("/dev/null", 0)])
def test_a_device(stdout, name, status):
    with open(name, "w") as stream:
        assert (len(stdout(stream)[0]), stdout(stream)[1]) == (status, status)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET])
def test_a_reader_that_has_left_is_no_failure(stdout, monkeypatch, number):
    monkeypatch.setattr(os, "write", Mock(side_effect=OSError(number, "gone")))
    with open(os.devnull, "w") as stream:
        assert stdout(stream) == (["standard output: gone"], 0)


def test_where_no_thread_can_be_started_the_caller_writes(stdout, monkeypatch, tmp_path):
    monkeypatch.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("can't start new thread")))
    with (tmp_path / "out").open("w", encoding="utf-8") as stream:
        assert stdout(stream) == ([], 0)
    assert (tmp_path / "out").read_text("utf-8").count("\n") == 2


def test_screens_within_screens_are_the_same(capsys):
    with screens():
        first = sys.stdout
        with screens():
            assert sys.stdout is first and isinstance(first, Screen)
        assert sys.stdout is first


def test_a_reader_that_paused_and_then_reads_gets_all(monkeypatch):
    monkeypatch.setattr(screen, "PATIENCE_S", 0.01)
    reader, writer = os.pipe()
    text = "x" * 99 + "\n"
    with os.fdopen(writer, "w") as stream, os.fdopen(reader) as read:
        shown = Screen("standard output", stream)
        for _ in range(1000):  # more than a pipe holds
            shown.write(text)
        shown.flush()
        assert shown.problem == "" and shown.unread == "it was not read for 0 s"
        assert [read.readline() for _ in range(1000)] == 1000 * [text]
        shown.drain()
        assert shown.problem == shown.unread == ""


def test_what_never_will_be_read_is_told(monkeypatch):
    monkeypatch.setattr(screen, "PATIENCE_S", 0.01)
    monkeypatch.setattr(screen, "MOST_BYTES", 1 << 17)
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        shown = Screen("standard output", stream)
        for _ in range(3):
            shown.write("x" * (1 << 17) + "\n")
            shown.flush()
        assert shown.problem.startswith("it was not read for ")
        os.close(reader)  # lets the thread go on
        shown.release()
