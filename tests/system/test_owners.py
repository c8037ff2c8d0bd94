"""Two jobs on one run directory: one runs, or takes it over; and what reads only takes nothing."""

import random
import shutil
from concurrent.futures import ThreadPoolExecutor

from scripts.chaos import two_jobs
from tests import ROOT


def test_one_job_runs_and_the_other_says_who_has_the_directory(environment, tmp_path, monkeypatch):
    # The first must still run when the other, on a busy machine, has come so far as to look.
    monkeypatch.setattr(two_jobs, "RUN_S", 6.0)
    outcome = two_jobs.attempt(environment, tmp_path, random.Random(4), "at once", 4)
    assert outcome.good, outcome


def test_a_job_takes_over_and_the_one_before_changes_nothing(environment, tmp_path, monkeypatch):
    """Three pairs of jobs, side by side: most of the time they wait."""
    monkeypatch.setattr(two_jobs, "RUN_S", 1.5)

    def attempt(kind, ranks):
        (tmp_path / kind).mkdir()
        return two_jobs.attempt(environment, tmp_path / kind, random.Random(ranks), kind, ranks)

    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(attempt, ["requeued", "waiting", "killed"], [4, 1, 1]))
    assert all(one.good for one in outcomes), outcomes


def test_what_only_reads_takes_no_ownership(launch, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(ROOT / "tests" / "saved" / "0.1.0" / "finished", run)
    before = sorted(run.rglob("*"))
    assert launch(0, "run", module="dbmpi.checkpoint").status == 0
    for word in ("--dry-run", "--print-config"):
        assert launch(0, "--run-dir", "run", word).status == 0
    assert sorted(run.rglob("*")) == before
