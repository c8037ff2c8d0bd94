"""What the launcher says in the environment: ranks started, cores given. Without MPI."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from dbmpi.comm import ancestry
from dbmpi.errors import UserError
from dbmpi.run.tables import counted

SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS")
RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
LOCAL_VARIABLES = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")
LAUNCHED = re.compile(
    "(OMPI_COMM_|PMIX_|PMI2?_|MPI_LOCAL|MV2_COMM_|PALS_|ALPS_|HYD|FLUX_|JSM_|SLURM_(NTASKS|PROCID|STEP)).*"
    "|(.*_)?(RANK|RANKID|PROCID)"
)
# BLAS gets as many threads as the rank, for where kernels cannot call it (`kernels.llvm.blas`). Where they
# can they cut its work themselves, and tell it to use one.
BLAS_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
# What else the user's environment may say of threads. Kernels have a pool of their own (`kernels.threads`);
# of Numba's, only the layer that is always there is loaded, with one thread, which sleeps. Idle threads of
# OpenMP must sleep too, and must not bind the threads of this program to their cores.
OTHER_POOLS = {
    "NUMBA_NUM_THREADS": "1",
    "NUMBA_THREADING_LAYER": "workqueue",
    "NUMBA_THREADING_LAYER_PRIORITY": "workqueue omp tbb",
    "OMP_WAIT_POLICY": "passive",
    "OMP_PROC_BIND": "false",
    "GOMP_SPINCOUNT": "0",
    "KMP_BLOCKTIME": "0",
    "KMP_AFFINITY": "disabled",
}

CROWD = 4  # ranks for a core


def launcher_size(env: Mapping[str, str]) -> tuple[str, int] | None:
    """Return the variable by which the launcher gives its number of processes, and the number.

    The launcher closest to the program is asked first: mpirun, then a PMI, then the Slurm
    allocation. None where there is none, or it says nothing readable.
    """
    for variable in SIZE_VARIABLES:
        size = number(env.get(variable))
        if size is not None:
            return variable, size
    return None


def env_rank(env: Mapping[str, str]) -> int:
    """Return the rank that the launcher gave this process; 0 where there is no launcher."""
    ranks = (number(env.get(variable)) for variable in RANK_VARIABLES)
    return next((rank for rank in ranks if rank is not None), 0)


def local_rank(env: Mapping[str, str]) -> int:
    """Return the number of this process among those on its node; its rank where the launcher does not say."""
    numbers = (number(env.get(variable)) for variable in LOCAL_VARIABLES)
    return next((local for local in numbers if local is not None), env_rank(env))


def speaks(env: Mapping[str, str], on_node: bool = False) -> bool:
    """Return whether this process says what all ranks would say: rank 0, or the first `on_node`. Local.

    One that no launcher has started says it too: the number of a rank may be left over in its environment.
    """
    return (local_rank(env) if on_node else env_rank(env)) == 0 or ancestry.launcher() is None


def launched(env: Mapping[str, str]) -> bool:
    """Return whether a launcher may have started this process, one that is known or one like them."""
    return any(LAUNCHED.fullmatch(name) for name in env)


def check_world(
    env: Mapping[str, str], size: int, words: Sequence[str] = (), program: str = "dbmpi.train"
) -> None:
    """Find the launch that made N worlds of one process instead of one world of N.

    Parameters
    ----------
    env
        The environment.
    size
        Size of the MPI world as MPI gives it.
    words, program
        Of the command line, and the module that reads it.

    Raises
    ------
    UserError
        If MPI has one rank and the launcher started more.
    """
    said = launcher_size(env)
    if size != 1 or said is None or said[1] <= 1:
        return
    import shlex  # here: signals are taken care of once this module is loaded

    variable, count = said
    raise UserError(
        f"{variable} = {count}, but the MPI world has size {size}: the launcher started {count} separate "
        "programs instead of one.\n"
        "Start it with the mpirun of the MPI that mpi4py uses, which this shows:\n"
        '    python -c "from mpi4py import MPI; print(MPI.Get_library_version())"\n'
        "With srun, give --mpi=pmix for Open MPI or --mpi=pmi2 for MPICH.\n"
        "To use one process on purpose inside an allocation:\n"
        f"    {variable}=1 python -m {shlex.join([program, *words])}"
    )


def thread_environment(n: int) -> dict[str, str]:
    """Return the variables that give this process `n` threads, and no pool beside its own that spins.

    Set them before the libraries load.
    """
    of_blas = {**dict.fromkeys(BLAS_VARIABLES, str(n)), "MKL_DOMAIN_NUM_THREADS": f"MKL_DOMAIN_ALL={n}"}
    return of_blas | OTHER_POOLS


def resolve_threads(
    setting: int | Literal["auto"], cores_available: int, ranks_on_node: int, cores_on_node: int
) -> int:
    """Choose the number of threads of this rank.

    Parameters
    ----------
    setting
        `cluster.threads`.
    cores_available
        Cores that this process may run on (its affinity).
    ranks_on_node
        Ranks on this machine.
    cores_on_node
        Cores that those ranks may run on together (the union of their affinities, which in a
        batch job may be a part of the machine).

    Returns
    -------
    int
        The setting; if "auto", the cores this rank is bound to, but no more than its share of the
        node's: mpirun binds several ranks to the same NUMA domain unless it is told otherwise.
    """
    if setting != "auto":
        return setting
    return max(1, min(cores_available, cores_on_node // max(1, ranks_on_node)))


def thread_reason(
    setting: int | Literal["auto"], cores_available: int, ranks_on_node: int, cores_on_node: int
) -> str:
    """Say how many threads a rank has, and why; the arguments are those of `resolve_threads`."""
    threads = resolve_threads(setting, cores_available, ranks_on_node, cores_on_node)
    if setting != "auto":
        return f"{threads} (cluster.threads)"
    bound = f", each bound to {cores_available}" if cores_available < cores_on_node else ""
    ranks, cores = counted(range(ranks_on_node), "rank"), counted(range(cores_on_node), "core")
    return f"{threads} (auto: {ranks} on a node with {cores} for them{bound})"


def resolve_overlap(
    setting: bool | Literal["auto"], replicas: int, nodes: int, ranks_on_node: int, cores_on_node: int
) -> bool:
    """Choose whether fetches and pushes go on while minibatches are computed.

    Parameters
    ----------
    setting
        `downpour.overlap`.
    replicas
        Number of replicas R.
    nodes
        Number of nodes.
    ranks_on_node, cores_on_node
        Of the node that has most ranks for a core.

    Returns
    -------
    bool
        The setting; if "auto", False for one replica, for one node, where an exchange goes through shared
        memory and is short, and for a node so crowded that a replica which waits leaves its core to
        others: parameters are then fresher, and little or nothing is lost.
    """
    if setting != "auto":
        return setting
    return replicas > 1 and nodes > 1 and ranks_on_node < CROWD * cores_on_node


def thread_warnings(
    threads: int, cores_available: int, computing: int, cores_on_node: int, others: int = 0
) -> list[str]:
    """Return what is wrong with the threads for the cores, each with its remedy.

    Parameters
    ----------
    threads
        Threads of this rank, as resolved.
    cores_available, cores_on_node
        As in `resolve_threads`.
    computing, others
        Ranks on this machine: partitions, or the one of a serial run, which compute all the time; and
        coordinator, shards and spare ranks, which mostly sleep.
    """
    warnings = []
    if cores_available < cores_on_node and threads > cores_available:
        bound = "one core" if cores_available == 1 else f"{cores_available} cores"
        warnings.append(
            f"{bound} bound to many threads: this rank has {threads} threads; start with mpirun --bind-to "
            f"none or --map-by slot:PE={threads}, or set cluster.threads={cores_available}"
        )
    if computing * threads > cores_on_node:
        remedies = [f"set cluster.threads={max(1, cores_on_node // computing)}"] if threads > 1 else []
        if computing > cores_on_node:
            remedies.append(f"start at most {cores_on_node + others} ranks on a node")
        ranks, cores = counted(range(computing), "rank"), counted(range(cores_on_node), "core")
        warnings.append(
            f"more threads than cores: {ranks} x {counted(range(threads), 'thread')} compute on a node with "
            f"{cores} for them; {' and '.join(remedies)}"
        )
    return warnings


def number(text: str | None) -> int | None:
    """Return the number that an environment variable holds; None where it holds none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None
