"""The launcher of this process, among those that it descends from. Without MPI."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from dbmpi.screen import make_room

# By their names: Open MPI's (of version 4 too), MPICH's, Slurm's.
LAUNCHERS = {"prterun", "prted", "prte", "mpirun", "mpiexec", "orterun", "orted"}
LAUNCHERS |= {"hydra_pmi_proxy", "mpiexec.hydra", "srun", "slurmstepd"}
FOREMOST = {"prterun", "mpirun", "mpiexec", "mpiexec.hydra", "orterun"}  # those that users start
DEATHS = "OMPI_MCA_mpi_ft_enable"  # "1" where ranks may die: Open MPI's launcher sets it for all
PROC = Path("/proc")
MOST = 8  # wrappers between them
ALL = 1000  # longer than any chain


def launcher(pid: int | None = None, proc: Path = PROC) -> int | None:
    """Return the process id of the nearest launcher above a process; None where none is seen. Local.

    Parameters
    ----------
    pid
        The process; None for this one.
    """
    above = islice(_above(os.getpid() if pid is None else pid, proc), MOST)
    return next((one for one, name in above if name in LAUNCHERS), None)


def foremost(pid: int | None = None, proc: Path = PROC) -> int | None:
    """Return the launcher above a process that was started by a user, not by another launcher. Local.

    None where there is none on this host, but perhaps a daemon of one.
    """
    above = islice(_above(os.getpid() if pid is None else pid, proc), 2 * MOST)
    return next((one for one, name in above if name in FOREMOST), None)


def show(text: str, proc: Path = PROC) -> None:
    """Write a line where Open MPI's launcher writes: once told to stop it passes on nothing. Local."""
    above = launcher(proc=proc)
    if above is None or "PMIX_RANK" not in os.environ:
        return
    make_room()
    with suppress(OSError):
        output = os.open(
            proc / str(above) / "fd" / "2", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY
        )
        with suppress(OSError):
            os.write(output, text.encode())
        os.close(output)


def unlaunched(pid: int | None = None, proc: Path = PROC) -> bool:
    """Return whether all that a process descends from is seen, and no launcher among it. Local."""
    above = list(islice(_above(os.getpid() if pid is None else pid, proc), ALL))
    return bool(above) and above[-1][0] == 1 and not LAUNCHERS.intersection(name for _, name in above)


def _above(pid: int, proc: Path) -> Iterator[tuple[int, str]]:
    """Yield number and name of the processes above one, the nearest first, as far as they are seen."""
    with suppress(OSError, ValueError, IndexError):
        while True:
            # The name, in brackets, may have any character in it.
            pid = int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
            yield pid, (proc / str(pid) / "comm").read_text().strip()
