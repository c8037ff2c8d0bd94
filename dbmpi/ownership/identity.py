"""Which process this is, so that another one can tell whether it still runs. Local."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbmpi import process
from dbmpi.text import has_control, plain

LONGEST = 120  # characters of a name that the environment gives
LARGEST = 2**63 - 1  # of what the system counts
MOST_DIGITS = 9


@dataclass(frozen=True)
class Identity:
    """A process, and the job of the batch system that it belongs to.

    Parameters
    ----------
    host, machine, boot, namespace
        The host's name and id, the id of its boot, and in which namespace its process ids count: two
        processes see one another if all four are the same. Empty where this system does not tell.
    pid, start
        Process id, and when it began, in clock ticks since the boot; 0 where this system does not tell.
    job, restarts
        SLURM_JOB_ID with its cluster, empty without Slurm; and how often the job was put back into the queue.
    keeper, keeper_start
        As `pid` and `start`, of the launcher that keeps the job alive when this process dies; 0 for none.
    """

    host: str
    machine: str
    boot: str
    namespace: str
    pid: int
    start: int
    job: str
    restarts: int
    keeper: int = 0
    keeper_start: int = 0

    @classmethod
    def own(cls, env: Mapping[str, str] = os.environ, keeper: int = 0) -> "Identity":
        """Return that of this process, and of a launcher."""
        job = env.get("SLURM_JOB_ID", "")
        if job:
            job = plain(f"{job}@{env.get('SLURM_CLUSTER_NAME', '')}", LONGEST).rstrip("@")
        restarts = env.get("SLURM_RESTART_COUNT", "")[:MOST_DIGITS]
        count = int(restarts) if restarts.isdecimal() else 0
        (pid, start), kept = (_process(number) for number in (os.getpid(), keeper))
        return cls(*_place(), pid, start, job, count, *kept)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Identity":
        """Return what a record says. Raises KeyError, TypeError or ValueError where that is no identity."""
        names = "host", "machine", "boot", "namespace", "job"
        host, machine, boot, namespace, job = (str(said[name])[:LONGEST] for name in names)
        if has_control(f"{host}{job}"):
            raise ValueError("names that no host or job has")
        names = "pid", "start", "restarts", "keeper", "keeper_start"
        pid, start, *more = (int(said[name]) for name in names)
        if not all(0 <= number <= LARGEST for number in (pid, start, *more)):
            raise ValueError("numbers that no process has")
        return cls(host, machine, boot, namespace, pid, start, job, *more)

    def is_gone(self) -> bool:
        """Return whether this process and its launcher are seen to run no more; False where nothing is."""
        host, machine, boot, namespace = _place()
        if (host, machine) != (self.host, self.machine):
            return False
        if machine and boot and self.boot and boot != self.boot:
            return True  # the host was started again
        if (boot, namespace) != (self.boot, self.namespace) or self.pid < 1:
            return False
        return _is_gone(self.pid, self.start) and (
            not self.keeper or _is_gone(self.keeper, self.keeper_start)
        )

    def is_restarted_as(self, other: "Identity") -> bool:
        """Return whether `other` is the same job of the batch system, started again later."""
        return bool(self.job) and self.job == other.job and other.restarts > self.restarts

    def __str__(self) -> str:
        job = f"job {self.job}, " if self.job else ""
        return f"{job}process {self.pid} on {self.host}"


def _process(pid: int) -> tuple[int, int]:
    """Return a process by its number and when it began; zeros for none."""
    return pid, (process.started(pid) or 0) if pid else 0


def _is_gone(pid: int, start: int) -> bool:
    """Return whether a process of this host runs no more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is there, and another user's
        pass
    except OverflowError:  # no process has such a number
        return False
    now = process.started(pid)
    return now is not None and start > 0 and now != start


def _place() -> tuple[str, str, str, str]:
    """Return host, machine, boot and namespace of process ids."""
    machine = ""
    with suppress(OSError, ValueError):
        machine = Path("/etc/machine-id").read_text().strip()[:LONGEST]
    return plain(socket.gethostname(), LONGEST), machine, process.boot(), process.namespace()
