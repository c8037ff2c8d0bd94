"""The files of slurm/: that bash can read them, and that they agree with one another."""

import re
import shutil
import subprocess

import pytest

from tests import ROOT

SLURM = ROOT / "slurm"
BATCH = sorted(SLURM.glob("*.sbatch"))
SHELL = sorted([*BATCH, *SLURM.glob("*.sh")])
BASH = shutil.which("bash")


@pytest.mark.skipif(BASH is None, reason="no bash")
@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_bash_can_read_it(script):
    done = subprocess.run([BASH, "-n", script], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, done.stderr
    assert "\t" not in script.read_text() and max(map(len, script.read_text().splitlines())) <= 110


def options(path):
    """Return the #SBATCH options of a file."""
    return dict(re.findall(r"^#SBATCH --([\w-]+)=?(\S*)$", path.read_text(), re.MULTILINE))


def test_batch_files_are_there_for_both_algorithms_on_one_node_and_on_many():
    places = ("one-node", "many-nodes")
    expected = {f"{who}-{where}" for who in ("downpour", "sandblaster") for where in places}
    assert {path.stem for path in BATCH} == expected


@pytest.mark.parametrize("path", BATCH, ids=lambda path: path.stem)
def test_batch_files_agree(path):
    algorithm, many = path.stem.split("-")[0], path.stem.endswith("many-nodes")
    first = options(BATCH[0])
    assert options(path) == first | {"job-name": algorithm, "nodes": "2-4" if many else "1"}
    assert not [name for name in options(path) if "ntasks" in name]
    other = next(other for other in BATCH if other != path and other.stem.startswith(algorithm))
    differing = set(path.read_text().splitlines()) ^ set(other.read_text().splitlines())
    assert len(differing) == 6  # the title, how to submit it, the nodes
    assert path.read_text().splitlines()[-1].endswith(f'/run.sh" {algorithm} "$@"')
    assert f"sbatch slurm/{path.name} " in path.read_text()


def test_job_is_warned_earlier_than_run_sh_waits():
    warned = re.fullmatch(r"B:USR1@(\d+)", options(BATCH[0])["signal"])
    waits = re.search(r"^STOP_WITHIN_S=(\d+)$", (SLURM / "site.sh").read_text(), re.MULTILINE)
    assert int(waits[1]) + 10 < int(warned[1])  # 10: to remove the copy of the data
    assert {"requeue", "open-mode"} <= set(options(BATCH[0]))
