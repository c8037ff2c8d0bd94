"""A process of this host, known for certain: by its number and by when it was started. Local."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

STARTED = 21 - 2  # place of the start time in /proc/PID/stat, behind the name, whatever that holds


@dataclass(frozen=True)
class Process:
    """A process, as others on its host may find it.

    Parameters
    ----------
    pid
        Its number.
    started
        When it was started, in clock ticks since the host was: field 22 of /proc/PID/stat.
    space
        Where the number counts: host and namespace. Containers on one host have different ones.
    """

    pid: int
    started: int
    space: str


NOBODY = Process(0, 0, "")


def this_process() -> Process:
    """Return this process; `NOBODY` where there is no /proc."""
    began, space = started(os.getpid()), _space()
    return Process(os.getpid(), began, space) if began and space else NOBODY


def kill(process: Process) -> bool:
    """Kill a process for certain, stopped or not, and no other that has its number meanwhile. Local.

    Returns
    -------
    bool
        Whether it is gone, or going; not if it cannot be reached from here.
    """
    try:
        if not process.pid or process.space != _space():
            return False
        with _opened(process.pid) as send:
            began = started(process.pid)
            if began == process.started:
                send(signal.SIGKILL)
        return began is not None
    except ProcessLookupError:
        return True
    except OSError:
        return False


@contextmanager
def _opened(pid: int) -> Iterator[Callable[[int], None]]:
    """Give what sends signals to the process that has a number now; without pidfd, to whoever has it then."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except (OSError, AttributeError):  # an old kernel, or not allowed here
        os.kill(pid, 0)
        yield partial(os.kill, pid)
        return
    try:
        yield partial(signal.pidfd_send_signal, fd)
    finally:
        os.close(fd)


def started(pid: int) -> int | None:
    """Return when a process of this host was started, as `Process.started`; 0 for one that has ended.

    None where it cannot be seen.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return 0 if fields[0] in "ZX" else int(fields[STARTED])
    except (OSError, ValueError, IndexError):
        return None


def seen_to_end(process: Process) -> bool:
    """Return whether a process that could be seen here has ended. Local."""
    return bool(process.pid) and process.space == _space() and started(process.pid) != process.started


def boot() -> str:
    """Return the id of this boot of the host; empty where the system does not tell."""
    with suppress(OSError, ValueError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def namespace() -> str:
    """Return in which namespace process numbers count here; empty where the system does not tell."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _space() -> str:
    return f"{boot()} {namespace()}".strip()
