"""Temporary directories: who uses one holds it, and what a kill leaves goes with the next."""

import os
import signal
import subprocess
import sys

import dbmpi.ownership.temporary as temporary_module
from dbmpi.ownership.temporary import made, temporary

KILLED = (
    "import os, sys; from pathlib import Path; from dbmpi.ownership.temporary import made\n"
    "path, _ = made(Path(sys.argv[1]), 'a.')\n"
    "(path / 'file').touch(); os.kill(os.getpid(), 9)"
)


def test_what_a_killed_process_leaves_goes_with_the_next(tmp_path):
    held, lock = made(tmp_path, "a.")
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path])
    assert killed.returncode == -signal.SIGKILL and len([*tmp_path.iterdir()]) == 2
    with temporary(tmp_path, "a.") as mine:
        (mine / "file").touch()
        assert {*tmp_path.iterdir()} == {held, mine}
    assert [*tmp_path.iterdir()] == [held]
    os.close(lock)


def test_what_is_not_such_a_directory_stays(tmp_path):
    (tmp_path / "a.real").mkdir()
    (tmp_path / "a.link.tmp").symlink_to(tmp_path / "a.real")
    (tmp_path / "a.file.tmp").touch()
    (tmp_path / "b.other.tmp").mkdir()
    before = {*tmp_path.iterdir()}
    with temporary(tmp_path, "a."):
        pass
    assert {*tmp_path.iterdir()} == before


def test_a_directory_that_another_process_cleans_away_is_made_again(tmp_path, monkeypatch):
    opened, failures = temporary_module._opened, [FileNotFoundError]

    def cleaned_away_once(path):
        if failures and path.parent == tmp_path:
            path.rmdir()
            raise failures.pop()
        return opened(path)

    monkeypatch.setattr(temporary_module, "_opened", cleaned_away_once)
    with temporary(tmp_path, "a.") as mine:
        assert [*tmp_path.iterdir()] == [mine]
