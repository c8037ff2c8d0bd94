"""The launcher of this process, among those that it descends from. Without MPI."""

import os
from pathlib import Path

# By their names: Open MPI's (of version 4 too), MPICH's, Slurm's.
LAUNCHERS = {"prterun", "prted", "prte", "mpirun", "mpiexec", "orterun", "orted"}
LAUNCHERS |= {"hydra_pmi_proxy", "mpiexec.hydra", "srun", "slurmstepd"}
DEATHS = "OMPI_MCA_mpi_ft_enable"  # "1" where ranks may die: Open MPI's launcher sets it for all
PROC = Path("/proc")
MOST = 8  # wrappers between them


def launcher(pid: int | None = None, proc: Path = PROC) -> int | None:
    """Return the process id of the nearest launcher above a process; None where none is seen. Local.

    Parameters
    ----------
    pid
        The process; None for this one.
    """
    pid = os.getpid() if pid is None else pid
    for _ in range(MOST):
        try:
            # The name, in brackets, may have any character in it.
            pid = int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
            name = (proc / str(pid) / "comm").read_text().strip()
        except (OSError, ValueError, IndexError):
            return None
        if name in LAUNCHERS:
            return pid
    return None
