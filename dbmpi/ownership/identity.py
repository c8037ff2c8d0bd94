"""Which process this is, so that another one can tell whether it still runs. Local."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbmpi import process

LONGEST = 120  # characters of a name that the environment gives
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
        restarts = env.get("SLURM_RESTART_COUNT", "")[:MOST_DIGITS]
        pid = os.getpid()
        return cls(
            *_place(), pid, process.started(pid) or 0, job, int(restarts) if restarts.isdecimal() else 0
        )

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
        start = process.started(self.pid)
        return start is not None and self.start > 0 and start != self.start

    def is_restarted_as(self, other: "Identity") -> bool:
        """Return whether `other` is the same job of the batch system, started again later."""
        return bool(self.job) and self.job == other.job and other.restarts > self.restarts

    def __str__(self) -> str:
        job = f"job {self.job}, " if self.job else ""
        return f"{job}process {self.pid} on {self.host}"


def _place() -> tuple[str, str, str, str]:
    """Return host, machine, boot and namespace of process ids."""
    machine = ""
    with suppress(OSError, ValueError):
        machine = Path("/etc/machine-id").read_text().strip()[:LONGEST]
    return socket.gethostname()[:LONGEST], machine, process.boot(), process.namespace()
