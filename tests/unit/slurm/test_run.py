"""What slurm/run.sh does and decides.

Here mpirun and Slurm's commands are a few lines of shell; tests/system/test_slurm.py has real ones.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import ROOT

SLURM = ROOT / "slurm"
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="no bash: the scripts of slurm/ need one")

SITE = """
[ "$WARNED" != early ] || { unset STOP_WITHIN_S; kill -USR1 $$; }
PYTHON=python
MPIRUN=(bash mpirun "$RANKS" "$CORES")
NODE_SCRATCH=$PWD/scratch
STAGE_DATA=${STAGE:-no}
STOP_WITHIN_S=1
LEAVE_WITHIN_S=1
[ -z "$NOT_SET_BY_ANYBODY" ]
"""
COMMANDS = {
    # Slurm ends the shell of a job that it puts back into the queue.
    "scontrol": 'echo "$@" >>scontrol.said; [ -z "$NO_REQUEUE" ] || exit 1; kill $PPID',
    "srun": 'echo "$@" >>srun.said; [ -z "$SILENT_NODE" ]',
    "sbcast": 'echo "$@" >>sbcast.said; [ "$WARNED" != late ] || kill -USR1 $PPID; [ -z "$SILENT_NODE" ]',
    "python": "echo '[data]'; echo 'path = \"data.h5\"'",
    "sleep": "exec {sleep} 0.02",
}
BEGUN, WHOLE = "touch run/run.json; ", "touch run/run.json; echo epochs >run/finished; "
WARN = "kill -USR1 $PPID; "
HANG = "exec {sleep} 100"


@dataclass
class Outcome:
    """How a job ended: its status, None where it went back into the queue."""

    status: int | None
    out: str
    directory: Path

    def said(self, command):
        path = self.directory / f"{command}.said"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def job(tmp_path):
    """Return job(body, **environment): run downpour-one-node.sbatch with an mpirun of this body."""
    shutil.copytree(SLURM, tmp_path / "slurm")
    with (tmp_path / "slurm" / "site.sh").open("a") as site:
        site.write(SITE)
    (tmp_path / "run").mkdir()
    (tmp_path / "data.h5").touch()
    (tmp_path / "bin").mkdir()
    sleep = shutil.which("sleep")
    for name, body in COMMANDS.items():
        (tmp_path / "bin" / name).write_text(f"#!{BASH}\n" + body.replace("{sleep}", sleep) + "\n")
        (tmp_path / "bin" / name).chmod(0o755)

    def run(body, **environment):
        (tmp_path / "mpirun").write_text(body.replace("{sleep}", sleep) + "\n")
        slurm = {"JOB_ID": "7", "JOB_NAME": "downpour", "JOB_NUM_NODES": "4", "JOB_NODELIST": "node[1-4]"}
        env = {f"SLURM_{name}": text for name, text in slurm.items()}
        env |= {"SLURM_TASKS_PER_NODE": "8(x3),4", "SLURM_SUBMIT_DIR": str(tmp_path), "RUN_DIR": "run"}
        env |= {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "NO_REQUEUE": "",
            "SILENT_NODE": "",
            "WARNED": "",
        }
        command = [BASH, str(tmp_path / "slurm" / "downpour-one-node.sbatch"), "run.toml"]
        done = subprocess.run(
            command, env=env | environment, cwd=tmp_path, capture_output=True, text=True, timeout=30
        )
        print(done.stdout, done.stderr)
        queued = (tmp_path / "scontrol.said").exists() and not environment.get("NO_REQUEUE")
        assert (done.returncode == -15) == queued
        return Outcome(None if queued else done.returncode, done.stdout, tmp_path)

    return run


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (WHOLE + "exit 0", 0),
        (WHOLE + "kill -9 $$", 0),
        (WHOLE + HANG, 0),
        ("echo diverged >run/finished; exit 3", 3),
        (BEGUN + "exit 2", 2),
        (BEGUN + "exit 86", 86),
        (WHOLE + "exit 87", 87),
        (BEGUN + "exit 1", 1),
        ("exit 1", 1),
        ("exit 0", 1),  # such as after --help
        (BEGUN + f"trap 'exit 2' USR1; {WARN} while :; do sleep 1; done", 2),
        (BEGUN + "exit 85", None),
        (BEGUN + "exit 0", None),  # mpirun has lost a node
        (BEGUN + f"trap 'exit 85' USR1; {WARN} while :; do sleep 1; done", None),
        (BEGUN + f"trap '' USR1; {WARN}" + HANG, None),
        (WARN + HANG, None),  # so early that the signal itself ends it
        (BEGUN + f"trap '{WHOLE} exit 0' USR1; {WARN} while :; do sleep 1; done", 0),
    ],
)
def test_what_becomes_of_a_job(job, body, status):
    assert job(body).status == status


@pytest.mark.parametrize("when", ["early", "late"])
def test_warning_that_comes_before_the_ranks_start(job, tmp_path, when):
    assert job("touch started; " + WHOLE, STAGE="yes", WARNED=when).status is None
    assert not (tmp_path / "started").exists()


def test_failure_is_told_from_a_node_that_does_not_answer(job):
    assert job("exit 1", SILENT_NODE="yes").status == 1  # it never began
    assert job(BEGUN + "exit 1", SILENT_NODE="yes").status is None


def test_job_that_may_not_go_back_ends_with_the_status_of_the_run(job):
    assert job(BEGUN + "exit 85", NO_REQUEUE="yes").status == 85


@pytest.mark.parametrize(("newest", "status"), [("000003", 1), ("000004", 0)])
def test_job_that_comes_no_further_does_not_start_for_ever(job, tmp_path, newest, status):
    (tmp_path / "run" / "checkpoints" / newest).mkdir(parents=True)
    (tmp_path / "run" / "slurm-restarts").write_text("5 000003\n")
    outcome = job("touch started; " + WHOLE, SLURM_RESTART_COUNT="9")
    assert outcome.status == status
    assert (tmp_path / "started").exists() == (status == 0)


def test_restarts_without_a_checkpoint_are_counted_until_there_is_one(job, tmp_path):
    count = tmp_path / "run" / "slurm-restarts"
    for restart, expected in enumerate(["0 ", "1 ", "2 "]):
        job(BEGUN + "exit 1", SLURM_RESTART_COUNT=str(restart))
        assert count.read_text() == expected + "\n"
    (tmp_path / "run" / "checkpoints" / "000001").mkdir(parents=True)
    job(BEGUN + "exit 1", SLURM_RESTART_COUNT="3")
    assert count.read_text() == "0 000001\n"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "28 1"),
        ({"SLURM_NTASKS": "10"}, "10 1"),
        ({"SLURM_TASKS_PER_NODE": "2", "SLURM_CPUS_PER_TASK": "4"}, "2 4"),
    ],
)
def test_ranks_and_their_cores(job, environment, words):
    outcome = job(WHOLE + 'echo "ran $*"', **environment)
    arguments = "python -m dbmpi.train run.toml --set train.algorithm=downpour --run-dir run --wait"
    assert f"ran {words} {arguments}\n" in outcome.out


@pytest.mark.parametrize("failing", ["", "yes"])
def test_data_file_is_copied_to_the_nodes_or_read_where_it_is(job, failing):
    outcome = job(WHOLE + 'echo "ran $*"', STAGE="yes", SILENT_NODE=failing)
    assert outcome.status == 0
    copy = f"{outcome.directory}/scratch/dbmpi-7.h5"
    assert (f"--set data.path={copy}" in outcome.out) == (not failing)
    if not failing:
        assert outcome.said("sbcast") == f"--force data.h5 {copy}\n"
        assert f"rm -f {copy}" in outcome.said("srun")
