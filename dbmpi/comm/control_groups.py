"""What the control groups of this process allow it: cores and memory, of version 1 and 2. Without MPI.

A container, or a batch system, may give less than the machine has. A limit of any group above counts too.

Source: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of Linux; proc_pid_mountinfo(5).
"""

from collections.abc import Iterator
from math import inf
from pathlib import Path, PurePosixPath

PROC = Path("/proc/self")
UNLIMITED = 1 << 60  # version 1 has no word for it, but a number near 2^63


def cores(proc: Path = PROC) -> float:
    """Return how many cores may be used at a time; infinity where that is not limited. Local."""
    limits = [_quota(*_words(group / "cpu.max")) for group in _groups(proc, "cpu", 2)]
    for group in _groups(proc, "cpu", 1):
        limits.append(_quota(*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")))
    return min(limits, default=inf)


def memory(proc: Path = PROC) -> float:
    """Return the bytes of memory that may be used; infinity where that is not limited. Local."""
    limits = [_number(*_words(group / "memory.max")) for group in _groups(proc, "memory", 2)]
    for group in _groups(proc, "memory", 1):
        limits.append(_number(*_words(group / "memory.limit_in_bytes")))
    return min((limit for limit in limits if limit < UNLIMITED), default=inf)


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except (OSError, ValueError):
        return []


def _number(text: str = "", *_: str) -> float:
    return float(text) if text.isdigit() else inf


def _quota(quota: str = "", period: str = "", *_: str) -> float:
    """Return cores: microseconds of a period in which they may be used."""
    return _number(quota) / _number(period) if quota.isdigit() and _number(period) > 0 else inf


def _groups(proc: Path, controller: str, version: int) -> Iterator[Path]:
    """Yield the directories of this process's group, and of those above, as far as they are seen."""
    path = _path(proc, controller, version)
    for line in _lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, *more) = before.split(), after.split()
        mine = kind == "cgroup2" if version == 2 else kind == "cgroup" and controller in more[-1].split(",")
        if path is None or not mine or len(fields) < 5:
            continue
        root, mount = PurePosixPath(fields[3]), Path(fields[4])
        below = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
        yield from (mount / part for part in (below, *below.parents))


def _path(proc: Path, controller: str, version: int) -> PurePosixPath | None:
    """Return the name of the group of this process, from the root of its hierarchy."""
    for line in _lines(proc / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "" if version == 2 else controller in controllers.split(","):
            return PurePosixPath(path)
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:
        return []
