"""One host cannot read what rank 0 found whole: no number instead, one message, and the same command later.

The run has come to its end: the command only loads its checkpoint, evaluates, and writes the model anew.
"""

import errno
import os
import shutil
import subprocess

import numpy as np
import pytest

from tests import ROOT
from tests.system.conftest import launch_in
from tests.system.reading import QUIET, one_message, parameters, summary

pytestmark = pytest.mark.beside

RANKS, RANK, SHARD = 4, 2, 1
COMMAND = (
    *QUIET, "cluster.shards=2", "cluster.replicas=1", "train.epochs=1", "downpour.rule=adagrad",
    "checkpoint.best=false", "checkpoint.keep=1", "--run-dir", "run",
)  # fmt: skip
FILE = f"000001/shard-{SHARD:04d}.h5"


@pytest.fixture(scope="module")
def finished(environment, tmp_path_factory):
    """A run of two shards, at its end."""
    directory = tmp_path_factory.mktemp("finished")
    assert launch_in(environment, directory)(RANKS, *COMMAND).status == 0
    return directory / "run"


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it, which the test may change. It does not say that it is over: the command loads it anew."""
    copy = shutil.copytree(finished, tmp_path / "run")
    (copy / "finished").unlink()
    return copy


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """The library that lets one rank's calls of open fail."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("shim") / "unreadable.so"
    source = ROOT / "tests" / "system" / "damage" / "unreadable.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=60)
    return library


def contents(run):
    """Return the names and the bytes of everything that is saved."""
    files = [*run.glob("checkpoints/*/*"), run / "model.h5", run / "summary.json", run / "metrics.jsonl"]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def assert_refused(done, *words):
    assert done.status == 1, done.err
    one_message(done, f"rank {RANK} (shard {SHARD}) on ", FILE, "the same command goes on", *words)


def assert_goes_on(launch, run, finished):
    """The same command again: what it loads and writes is what was saved."""
    done = launch(RANKS, *COMMAND)
    assert done.status == 0 and "goes on from checkpoint 1" in done.out
    assert "warning: checkpoint" not in done.err
    before, after = parameters(finished), parameters(run)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert summary(run)["test_loss"] == pytest.approx(summary(finished)["test_loss"])


@pytest.mark.both_mpis
def test_a_file_that_one_rank_cannot_open(launch, run, finished, shim):
    fails = {"FAIL_NAME": FILE, "FAIL_RANK": str(RANK), "FAIL_ERRNO": str(errno.ESTALE)}
    before = contents(run)
    done = launch(RANKS, *COMMAND, env={"LD_PRELOAD": str(shim), **fails})
    assert_refused(done, os.strerror(errno.ESTALE))
    assert contents(run) == before
    assert_goes_on(launch, run, finished)


def test_a_file_that_changes_when_rank_0_has_looked(launch, run):
    path = run / "checkpoints" / FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.with_name(f"{path.name}.other").write_bytes(content)
    before = {name: content for name, content in contents(run).items() if FILE not in name}
    program = "tests.system.faulty"
    words = "replace", "restoring", RANK, 1
    done = launch(RANKS, *words, *COMMAND, module=program, env={"DBMPI_TEST_DATA": str(path)})
    assert_refused(done, "checksum differs")
    assert {name: content for name, content in contents(run).items() if FILE not in name} == before
