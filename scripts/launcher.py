"""A virtual environment with one MPI: how it starts ranks on this machine. Standard library only."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NO_LAUNCHER = "The PMIx server's listener thread failed to start"  # Open MPI's, once in some 900 launches


@dataclass(frozen=True)
class Environment:
    """A virtual environment with one MPI."""

    mpi: str
    directory: Path

    @property
    def python(self) -> Path:
        """The environment's Python."""
        return self.directory / "bin" / "python"

    @property
    def program(self) -> str | None:
        """The environment's own mpiexec, or the site's."""
        return shutil.which("mpiexec", path=f"{self.directory / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def pytest(self) -> list[str]:
        """Return the words that start pytest; under mpiexec only we know whether there is a terminal."""
        color = "yes" if sys.stdout.isatty() else "no"
        return [str(self.python), "-m", "pytest", f"--color={color}", "-q"]

    def mpiexec(self, ranks: int) -> list[str]:
        """Return the words that start `ranks` ranks on this machine, however few cores it has."""
        flags = "--oversubscribe --bind-to none".split()  # Open MPI: more ranks than cores
        return [self.program or "mpiexec", *(flags if self.mpi == "openmpi" else []), "-n", str(ranks)]

    def variables(self) -> dict[str, str]:
        """Return what has to be set for this MPI: Open MPI refuses root unless told twice."""
        if self.mpi != "openmpi":
            return {}
        # No probing for fast networks, which takes 1 s a start, of one process alone too.
        quick = {"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,sm,tcp"}
        root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        return quick | (root if os.geteuid() == 0 else {})


def this_environment() -> Environment | None:
    """Return the environment of the running Python with the MPI it has; None when it has none."""
    directory = Path(sys.prefix)
    program = Environment("", directory).program
    if program is None:
        return None
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    return Environment("openmpi" if "Open MPI" in version or "OpenRTE" in version else "mpich", directory)


def numba_cache() -> str:
    """Return the directory that all passes share, so that kernels are compiled once.

    Numba looks only at the file a kernel stands in, not at those it calls into; hence a directory for each
    state of the kernels.
    """
    sources = sorted((ROOT / "kernels").rglob("*.py"))
    state = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    cache = ROOT / "build" / "numba-cache"
    for old in cache.glob("*"):
        if old.name != state:
            shutil.rmtree(old, ignore_errors=True)
    return str(cache / state)
