"""Jobs of slurm/*.sbatch on a `Cluster`: the place they are submitted from, and what can be asked of them."""

import shutil
from pathlib import Path

from dbmpi.data import digits
from scripts import launcher
from tests import runner
from tests.system.slurm.cluster import Cluster, wait_for

START_S, END_S = 90.0, 120.0
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL")
SETTINGS = {
    "downpour": ("train.epochs=60", "checkpoint.every_examples=8000"),
    "sandblaster": ("sandblaster.iterations=100", "model.l2=1e-3", "checkpoint.every_examples=20000"),
}
SHARED = ("data.path=digits.h5", "output.every_s=0.2", "output.progress=none")
SITE = """
PATH={bin}:$PATH
PYTHON={python}
export PYTHONPATH={root}
MPIRUN=(mpirun -n "$RANKS" --map-by slot:OVERSUBSCRIBE --bind-to none)      # all nodes are this machine
MPIRUN+=(--mca pml ob1 --mca btl self,sm,tcp --mca mpi_yield_when_idle 1)
NODE_SCRATCH={scratch}
STAGE_DATA=yes
"""


def furnish(cluster: Cluster, environment: launcher.Environment) -> None:
    """Give a cluster what a user has: slurm/ with its site.sh, a data file, and variables."""
    work = cluster.root / "work"
    shutil.copytree(runner.ROOT / "slurm", work / "slurm")
    scratch = work / "scratch"
    scratch.mkdir()
    kernels = Path(launcher.numba_cache())
    kernels.mkdir(parents=True, exist_ok=True)
    (scratch / "dbmpi-kernels").symlink_to(kernels)
    paths = {"bin": Path(environment.program or "").parent, "python": environment.python}
    with (work / "slurm" / "site.sh").open("a") as site:
        site.write(SITE.format(root=runner.ROOT, scratch=scratch, **paths))
    shutil.copy(digits.located("digits"), work / "digits.h5")
    cluster.env.update(environment.variables())
    # Nobody would remove those of killed ranks from /dev/shm.
    cluster.env["OMPI_MCA_btl_sm_backing_directory"] = str(cluster.root / "temporary")


class Job:
    """A job of one of the .sbatch files; `run` is the name of its run directory."""

    def __init__(self, cluster: Cluster, file: str, run: str, *options: str) -> None:
        self.cluster, self.work, self.run = cluster, cluster.root / "work", cluster.root / "work" / run
        algorithm = file.partition("-")[0]
        settings = ("--set", *SETTINGS[algorithm], *SHARED)
        command = ("sbatch", "--parsable", *options, f"slurm/{file}.sbatch", *settings)
        self.number = cluster.ask(*command, cwd=self.work, env={"RUN_DIR": run}).strip()
        assert self.number, cluster.complaint
        self.log = self.work / f"{algorithm}-{self.number}.out"

    def __getitem__(self, name: str) -> str:
        return self.cluster.job(self.number).get(name, "")

    def checkpoints(self) -> list[str]:
        """Return the names of its whole checkpoints."""
        return sorted(path.name for path in (self.run / "checkpoints").glob("[0-9]*"))

    def await_checkpoint(self) -> None:
        """Wait until there is one, while the job runs."""
        wait_for(lambda: self.checkpoints() or self.is_over(), START_S, f"a checkpoint of job {self.number}")
        assert not self.is_over()

    def is_over(self) -> bool:
        """Tell whether Slurm is done with it."""
        return self["JobState"] in OVER

    def await_end(self) -> None:
        """Wait until Slurm is done with it."""
        wait_for(self.is_over, END_S, f"the end of job {self.number}")

    def started(self) -> int:
        """Return how often it was started, as its log says."""
        return self.log.read_text().count(f"job {self.number}, restart ")
