"""Environments that runs are started in, as shell commands before the program; see `chaos environments`."""

from collections.abc import Callable
from dataclasses import dataclass

USER = "exec unshare -U --map-user=54321 --map-group=54321"  # without a passwd entry; modes count for it
MOUNT = (
    'mkdir -p m; exec unshare -m sh -c \'mount -t tmpfs -o {options} none {where}; {then}exec "$@"\' sh "$@"'
)
GROUP = "g=/sys/fs/cgroup/{kind}/dbmpi-$$; mkdir $g && echo {value} > $g/{file} && echo $$ > $g/tasks"
FULL = "mkdir -p m/dbmpi-kernels-0; chmod 777 m/dbmpi-kernels-0; "


def mounted(options: str, where: str, then: str = "") -> str:
    """Return commands that mount a file system for the program alone; needs root."""
    return MOUNT.format(options=options, where=where, then=f"{then}; " if then else "")


def grouped(kind: str, file: str, value: int) -> str:
    """Return commands that limit the program by a control group of version 1; needs root."""
    return GROUP.format(kind=kind, file=file, value=value)


@dataclass(frozen=True)
class Surrounding:
    """One environment.

    Attributes
    ----------
    name, shell
        What it is, and the commands that make it.
    status
        How the program ends there.
    says
        What it says then, in its warning or error.
    command
        "dry" for a dry run, "run" for some steps in one process, "ranks" for 3 ranks under Open MPI.
    slow
        Whether it compiles kernels, starts ranks, needs root, or differs little from another one, so that it
        is not tried in every test.
    """

    name: str
    shell: str
    status: int = 0
    says: str = ""
    command: str = "dry"
    slow: bool = False


def _run(name: str, shell: str, status: int = 0, says: str = "") -> Surrounding:
    return Surrounding(name, shell, status, says, "run")


def _slow(name: str, shell: str, status: int = 0, says: str = "", command: str = "run") -> Surrounding:
    return Surrounding(name, shell, status, says, command, True)


def _set(
    variable: str, value: str, what: str = "", says: str = "", make: Callable[..., Surrounding] = _run
) -> Surrounding:
    """Return an environment in which a variable has a value; `what` stands for that in the name."""
    return make(f"{variable}: {what or value}", f"export {variable}={value}", says=says)


HOMES = [
    _run("HOME: absent", "unset HOME"),
    _set("HOME", "", what="empty", make=_slow),
    _set("HOME", "/nonexistent", what="not there"),
    _set("HOME", "/proc/self", what="cannot be written to", make=_slow),
    _set("HOME", "/etc/passwd", what="a file"),
    _slow("user: no passwd entry, no HOME", f'{USER} env -u HOME "$@"'),
    Surrounding("user: no passwd entry", f'{USER} "$@"'),
]
TEMPORARY = [
    _set("TMPDIR", "/nonexistent", what="not there", says="TMPDIR = '/nonexistent' is no directory"),
    _set("TMPDIR", "/etc/passwd", what="a file", says="is not used", make=_slow),
    _set("TMPDIR", "/proc", what="cannot be written to", says="is not used"),
    _slow("TMPDIR: blanks, no ASCII, long", 'export TMPDIR="$PWD/a é$(printf %0100d 0)"; mkdir "$TMPDIR"'),
    _slow(
        "TMPDIR: 64 kB",
        mounted("size=64k", "m", "unset NUMBA_CACHE_DIR; export TMPDIR=$PWD/m"),
        0,
        "not kept",
    ),
]
LOCALES = [
    Surrounding("locale: C", "export LC_ALL=C"),
    Surrounding("locale: unknown", "export LC_ALL=xx_YY.UTF-8"),
    _run("locale: POSIX, ASCII alone", "export LC_ALL=POSIX PYTHONUTF8=0 PYTHONCOERCECLOCALE=0"),
    _slow("encoding: ASCII", "export PYTHONIOENCODING=ascii"),
]
CACHES = [
    _run("kernel cache: not there", "export NUMBA_CACHE_DIR=/proc/nothere"),
    _slow("kernel cache: a file", "export NUMBA_CACHE_DIR=/etc/passwd"),
    _slow("kernel cache: relative", "export NUMBA_CACHE_DIR=cache"),
    _slow("kernel cache: anybody may write", FULL + "export NUMBA_CACHE_DIR=$PWD/m"),
    _slow("kernel cache: 16 kB", mounted("size=16k", "m", "export NUMBA_CACHE_DIR=$PWD/m"), 0, "not kept"),
    _slow(
        "kernel cache: pipes in place of all files",
        'export NUMBA_CACHE_DIR=$PWD/c; "$@" >/dev/null 2>&1; rm -r r; '
        "for f in c/*/*.*; do rm $f; mkfifo $f; done",
    ),
]
NUMBA = [
    _set("NUMBA_DISABLE_JIT", "1"),
    _set("NUMBA_THREADING_LAYER", "unknown"),
    _set("NUMBA_NUM_THREADS", "0", make=_slow),
    _set("NUMBA_NUM_THREADS", "many", what="text"),
    _set("NUMBA_OPT", "many", what="text", says="'NUMBA_OPT' is defined but", make=_slow),
    _slow(
        "NUMBA_OPT: text, warnings are errors",
        "export NUMBA_OPT=many PYTHONWARNINGS=error",
        says="'NUMBA_OPT'",
    ),
    _set("NUMBA_CPU_NAME", "generic", make=_slow),
    _set("NUMBA_CPU_FEATURES", "+unknown", what="unknown", make=_slow),
]
THREADS = [
    _slow("OMP, OPENBLAS: 0", "export OMP_NUM_THREADS=0 OPENBLAS_NUM_THREADS=0"),
    _slow("OMP, OPENBLAS: negative", "export OMP_NUM_THREADS=-3 OPENBLAS_NUM_THREADS=-3"),
    _run("OMP, OPENBLAS: text", "export OMP_NUM_THREADS=many OPENBLAS_NUM_THREADS=many OMP_STACKSIZE=x"),
    _set("OPENBLAS_CORETYPE", "unknown", make=Surrounding),
]
PYTHON = [
    _set("PYTHONHASHSEED", "1", make=Surrounding),
    _set("PYTHONOPTIMIZE", "2", make=_slow),
    _set("PYTHONWARNINGS", "error"),
    _set("PYTHONDEVMODE", "1", make=_slow),
    _set("PYTHONSAFEPATH", "1", make=Surrounding),
    _set("HDF5_USE_FILE_LOCKING", "TRUE", make=_slow),
    _set("HDF5_USE_FILE_LOCKING", "unknown", what="text"),
    _set("HDF5_PLUGIN_PATH", "/nonexistent", what="not there", make=Surrounding),
    Surrounding("HDF5_DRIVER: unknown", "export HDF5_DRIVER=unknown", says="is not used"),
    Surrounding(
        "NPY_ENABLE_CPU_FEATURES, NPY_DISABLE_CPU_FEATURES: both",
        "export NPY_ENABLE_CPU_FEATURES=AVX2 NPY_DISABLE_CPU_FEATURES=AVX2",
        2,
        "numpy._core cannot be loaded: Both",
    ),
]
LIMITS = [
    Surrounding("umask: 0777", f'umask 0777; {USER} "$@"', 2, "Permission denied", "run"),
    _run("umask: 0777, root", "umask 0777"),
    _run("ulimit -v: 300 MB", "ulimit -v 300000", 2, "the limit of memory addresses is"),
    _run("ulimit -v: 700 MB", "ulimit -v 700000"),
    _run("ulimit -n: 12", "ulimit -n 12", 2, "the limit of open files is 12"),
    _slow("ulimit -n: 40", "ulimit -n 40"),
    _slow("ulimit -s: unlimited", "ulimit -s unlimited"),
    _slow("ulimit -s: 40 GB", "ulimit -s 40000000"),
    _slow("ulimit -d: 150 MB", "ulimit -d 150000", 2, "the limit of data is"),
    _run("ulimit -f: 1 kB", "ulimit -f 2", 2, "File too large"),
    _slow("ulimit -l: 0", "ulimit -l 0"),
    _slow("ulimit -c: 0, -t: 60", "ulimit -c 0; ulimit -t 60"),
    _slow(
        "control group: no second thread", grouped("pids", "pids.max", 1), 2, "raise the limit of processes"
    ),
    _slow("control group: 6 threads", grouped("pids", "pids.max", 6), 0, "computes with one"),
    _slow("control group: half a core", grouped("cpu", "cpu.cfs_quota_us", 50000)),
    _slow("control group: 1 GB", grouped("memory", "memory.limit_in_bytes", 10**9)),
]
FOLDERS = [
    _run(
        "working directory: deleted, and a run", "mkdir gone; cd gone; rmdir ../gone", 2, "start in one that"
    ),
    _run(
        "modules of the user's",
        "mkdir dbmpi; echo 1 >kernels.py; cp kernels.py numpy.py; cp kernels.py random.py",
    ),
    Surrounding(
        "a numpy.py first",
        "mkdir p; echo 1 >p/numpy.py; export PYTHONPATH=$PWD/p",
        2,
        "numpy cannot be loaded",
    ),
    Surrounding("working directory: deleted", "mkdir gone; cd gone; rmdir ../gone"),
    Surrounding("working directory: unreadable", f'mkdir shut; cd shut; chmod 0 .; {USER} "$@"'),
    _run("standard input: closed", "exec <&-"),
    _slow("/dev/shm: 64 MB, 20 left", mounted("size=20m", "/dev/shm"), command="ranks"),
    _slow("/dev/shm: full", mounted("size=4k", "/dev/shm"), 0, "ranks share memory in", "ranks"),
]
LAUNCHERS = [
    _run(
        "PMIX: a launcher that is gone",
        "export PMIX_RANK=1 PMIX_SERVER_URI2='a@0.0;tcp4://127.0.0.1:1'",
        0,
        "is gone",
    ),
    _run("SLURM_NTASKS: 4", "export SLURM_NTASKS=4", 2, "SLURM_NTASKS = 4"),
    _set("SLURM_NTASKS", "many", what="text"),
    _run(
        "SLURM: a job of one task", "export SLURM_JOB_ID=1 SLURM_NODELIST=node7 SLURM_NTASKS=1 SLURM_NNODES=1"
    ),
    _run("OMPI_MCA_btl, OMPI_MCA_pml: unknown", "export OMPI_MCA_btl=unknown OMPI_MCA_pml=unknown"),
    _slow("OMPI_MCA_mpi_ft_enable: left over", "export OMPI_MCA_mpi_ft_enable=1"),
]
ALL = [*HOMES, *TEMPORARY, *LOCALES, *CACHES, *NUMBA, *THREADS, *PYTHON, *LIMITS, *FOLDERS, *LAUNCHERS]
