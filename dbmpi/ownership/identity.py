"""Which process this is, so that another one can tell whether it still runs. Local."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST = 120  # characters of a name that the environment gives


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
    """

    host: str
    machine: str
    boot: str
    namespace: str
    pid: int
    start: int
    job: str
    restarts: int

    @classmethod
    def own(cls, env: Mapping[str, str] = os.environ) -> "Identity":
        """Return that of this process."""
        job = env.get("SLURM_JOB_ID", "")
        if job:
            job = f"{job}@{env.get('SLURM_CLUSTER_NAME', '')}"[:LONGEST].rstrip("@")
        restarts = env.get("SLURM_RESTART_COUNT", "")
        pid = os.getpid()
        return cls(*_place(), pid, start_of(pid) or 0, job, int(restarts) if restarts.isdecimal() else 0)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Identity":
        """Return what a record says. Raises KeyError, TypeError or ValueError where that is no identity."""
        names = "host", "machine", "boot", "namespace"
        host, machine, boot, namespace = (str(said[name])[:LONGEST] for name in names)
        place, job = (host, machine, boot, namespace), str(said["job"])[:LONGEST]
        return cls(*place, int(said["pid"]), int(said["start"]), job, int(said["restarts"]))

    def is_gone(self) -> bool:
        """Return whether this process, seen from here, runs no more; False where that cannot be seen."""
        host, machine, boot, namespace = _place()
        if (host, machine) != (self.host, self.machine):
            return False
        if machine and boot and self.boot and boot != self.boot:
            return True  # the host was started again
        if (boot, namespace) != (self.boot, self.namespace) or self.pid < 1:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # of another user
            pass
        start = start_of(self.pid)
        return start is not None and self.start > 0 and start != self.start

    def is_restarted_as(self, other: "Identity") -> bool:
        """Return whether `other` is the same job of the batch system, started again later."""
        return bool(self.job) and self.job == other.job and other.restarts > self.restarts

    def __str__(self) -> str:
        job = f"job {self.job}, " if self.job else ""
        return f"{job}process {self.pid} on {self.host}"


def start_of(pid: int) -> int | None:
    """Return when a process of this host began, in clock ticks since the boot; 0 for one that has ended.

    None where it cannot be seen.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return 0 if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _place() -> tuple[str, str, str, str]:
    """Return host, machine, boot and namespace of process ids."""
    namespace = ""
    with suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
    host = socket.gethostname()[:LONGEST]
    return host, _text("/etc/machine-id"), _text("/proc/sys/kernel/random/boot_id"), namespace


def _text(path: str) -> str:
    with suppress(OSError, ValueError):
        return Path(path).read_text().strip()[:LONGEST]
    return ""
