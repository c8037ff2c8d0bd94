"""Memory that another process maps: seen there, refused where it is not the same, gone with its users."""

import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from dbmpi.comm.segments import AREA, Segment, attach
from tests import ROOT

F4 = np.dtype("f4")
MAKER = """
import sys
from dbmpi.comm.segments import Segment
import numpy as np
made = Segment(4000)
made.view(np.dtype("f4"))[:] = 7
sys.stdout.buffer.write(made.area.tobytes())
sys.stdout.flush()
sys.stdin.read()
"""


def test_what_one_side_writes_the_other_reads():
    made = Segment(40)
    mine, theirs = made.view(F4), attach(made.area).view(F4)
    assert mine.shape == theirs.shape == (10,) and not mine.any()
    mine[3], theirs[4] = 1.0, 2.0
    assert (theirs[3], mine[4]) == (1.0, 2.0)


def test_a_mapping_keeps_no_descriptor_open_and_ends_with_its_last_view():
    made, before = Segment(40), len(os.listdir("/proc/self/fd"))
    seen = [attach(made.area) for _ in range(5)]
    assert len(os.listdir("/proc/self/fd")) == before

    def mappings():
        with open("/proc/self/maps") as file:
            return file.read().count("/memfd:dbmpi")

    there, last = mappings(), seen[0][4:]
    del seen
    assert mappings() == there - 4 and not last.any()
    del last
    assert mappings() == there - 5


NO_PROCESS = 2**22 + 1  # beyond the largest number


@pytest.mark.parametrize(("field", "value"), [("token", 1), ("fd", 1), ("pid", NO_PROCESS), ("bytes", 48)])
def test_another_file_is_not_mapped(field, value):
    area = Segment(40).area.copy()
    area[field] = value
    with pytest.raises(OSError, match=r"^(\[Errno 2\]|/proc)"):
        attach(area)


def test_a_vector_lives_longer_than_its_segment():
    values = Segment(40).view(F4)
    values[:] = 1
    assert values.sum() == 10


def test_a_killed_process_leaves_what_others_map_and_nothing_else():
    before = set(os.listdir("/dev/shm"))
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert maker.stdout is not None
    area = np.frombuffer(maker.stdout.read(AREA.itemsize), AREA)[0]
    seen = attach(area).view(F4)
    maker.send_signal(signal.SIGKILL)
    maker.communicate()
    assert seen.shape == (1000,) and (seen == 7).all()
    with pytest.raises(OSError, match="No such"):
        attach(area)
    assert set(os.listdir("/dev/shm")) <= before


def test_a_lack_of_memory_is_an_error_when_it_is_made(monkeypatch):
    def full(fd, start, size):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="full"):
        Segment(40)
    assert len(os.listdir("/proc/self/fd")) == files
