"""Limits of control groups, of both versions, as files of a made-up system say them."""

from math import inf
from pathlib import Path

import pytest

from dbmpi.comm import control_groups

V1 = "4:memory:/box/a\n1:cpu,cpuacct:/box/a\n0::/\n"
# Of the hierarchy's root, as on a machine; and of the group itself, as in a container without a name space.
MOUNTS = {"machine": ("/", "box/a"), "container": ("/box/a", ".")}


def system(folder: Path, version: int, seen: str) -> tuple[Path, Path]:
    """Return what stands for /proc/self, and the directory of the group that the process is in."""
    root, below = MOUNTS[seen]
    proc, mount = folder / "proc", folder / "mount"
    proc.mkdir()
    (mount / below).mkdir(parents=True)
    kinds = ["cgroup2 none rw"] if version == 2 else ["cgroup none rw,memory", "cgroup none rw,cpu,cpuacct"]
    lines = [f"{n} 1 0:{n} {root} {mount} rw,relatime shared:9 - {kind}" for n, kind in enumerate(kinds)]
    (proc / "mountinfo").write_text("\n".join(["9 1 0:1 / / rw - ext4 /dev/a rw", *lines]) + "\n")
    (proc / "cgroup").write_text("0::/box/a\n" if version == 2 else V1)
    return proc, mount / below


@pytest.mark.parametrize("seen", MOUNTS)
def test_version_2(tmp_path, seen):
    proc, group = system(tmp_path, 2, seen)
    assert (control_groups.cores(proc), control_groups.memory(proc)) == (inf, inf)
    (group / "cpu.max").write_text("150000 100000\n")
    (group / "memory.max").write_text("2000000000\n")
    assert (control_groups.cores(proc), control_groups.memory(proc)) == (1.5, 2e9)


@pytest.mark.parametrize("seen", MOUNTS)
def test_version_1(tmp_path, seen):
    proc, group = system(tmp_path, 1, seen)
    files = {
        "cpu.cfs_quota_us": "-1",
        "cpu.cfs_period_us": "100000",
        "memory.limit_in_bytes": "9223372036854771712",
    }
    for name, text in files.items():
        (group / name).write_text(text + "\n")
    assert (control_groups.cores(proc), control_groups.memory(proc)) == (inf, inf)
    (group / "cpu.cfs_quota_us").write_text("50000\n")
    (group / "memory.limit_in_bytes").write_text("1000\n")
    assert (control_groups.cores(proc), control_groups.memory(proc)) == (0.5, 1000)


def test_a_group_above_may_give_less(tmp_path):
    proc, group = system(tmp_path, 2, "machine")
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text("5000\n")
    (group.parent / "cpu.max").write_text("max 100000\n")
    assert (control_groups.cores(proc), control_groups.memory(proc)) == (inf, 5000)


def test_what_cannot_be_read_is_no_limit(tmp_path):
    assert (control_groups.cores(tmp_path), control_groups.memory(tmp_path)) == (inf, inf)
