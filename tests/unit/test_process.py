"""A process is killed if it is the one that was recorded, and no other."""

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dbmpi import process
from dbmpi.process import NOBODY, Process, kill, this_process


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that sleeps."""
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


def recorded(pid: int) -> Process:
    return Process(pid, process.started(pid) or 0, this_process().space)


def test_a_process_that_is_stopped_is_killed(sleeper):
    os.kill(sleeper.pid, signal.SIGSTOP)
    assert kill(recorded(sleeper.pid))
    assert sleeper.wait(5) == -signal.SIGKILL


def test_it_is_killed_where_there_is_no_pidfd(sleeper, monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert kill(recorded(sleeper.pid))
    assert sleeper.wait(5) == -signal.SIGKILL


def test_another_process_of_that_number_is_left_alone(sleeper):
    earlier = replace(recorded(sleeper.pid), started=1)
    assert kill(earlier)  # that one is gone
    assert sleeper.poll() is None


def test_what_is_not_to_be_seen_from_here_is_not_reached(sleeper):
    assert not kill(replace(recorded(sleeper.pid), space="another host"))
    assert not kill(NOBODY)
    assert sleeper.poll() is None


def test_a_process_that_is_gone_needs_no_killing(sleeper):
    there = recorded(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert kill(there)


def test_this_process_is_recorded_by_its_start(sleeper):
    assert this_process() == recorded(os.getpid())
    assert this_process().started <= recorded(sleeper.pid).started
