"""The commands of the pages about Slurm, run as they stand there on a real Slurm (tests/system/slurm)."""

import json
from pathlib import Path

import pytest

from scripts.launcher import Environment
from tests import ROOT
from tests.system import pages
from tests.system.slurm.cluster import Cluster

pytestmark = pytest.mark.beside
NOTHING = "\0"


@pytest.fixture
def run(cluster: Cluster, environment: Environment, monkeypatch: pytest.MonkeyPatch):
    """Return run(page, skip), which runs blocks of a page where jobs are submitted; it returns where."""
    work = cluster.root / "work"
    monkeypatch.chdir(work)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    reader = pages.variables(environment)
    env = {**cluster.env, **{name: reader[name] for name in ("PATH", "PYTHONPATH")}}

    def run(page: str, skip: str = NOTHING) -> Path:
        try:
            pages.run_page(page, work, env, skip)
        finally:
            for log in sorted(work.glob("*.out")):
                print(f"== {log.name}\n{log.read_text(errors='replace')}")
        return work

    return run


def test_a_job_from_submit_to_report(run):
    work = run("tutorials/slurm.md")
    logs = [path.read_text() for path in work.glob("downpour-*.out")]
    assert sorted("8 ranks on node[1-2]" in log for log in logs) == [False, True, True]
    summary = json.loads((work / "runs" / "moved" / "summary.json").read_text())
    assert json.loads((work / "runs" / "moved" / "run.json").read_text())["resumed_from"] >= 1
    assert summary["status"] == 0 and summary["test_accuracy"] > 0.9


def test_a_search_by_a_job_array(run):
    pytest.importorskip("optuna")
    work = run("tutorials/search.md", "mpirun ")  # which test_tutorials.py runs
    assert sum((path / "finished").exists() for path in (work / "runs" / "search").iterdir()) == 4
