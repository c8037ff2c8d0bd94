"""Two jobs on one run directory: one runs, or takes it over; and what reads only takes nothing."""

import random
import shutil

import pytest

from scripts.chaos import two_jobs
from tests import ROOT


@pytest.mark.parametrize(("kind", "ranks"), [("at once", 4), ("killed", 1), ("requeued", 4), ("waiting", 1)])
def test_one_job_runs_and_the_other_changes_nothing(environment, tmp_path, monkeypatch, kind, ranks):
    # At once the first must still run when the other, on a busy machine, has come so far as to look.
    monkeypatch.setattr(two_jobs, "RUN_S", 6.0 if kind == "at once" else 1.5)
    outcome = two_jobs.attempt(environment, tmp_path, random.Random(ranks), kind, ranks)
    assert outcome.good, outcome


def test_what_only_reads_takes_no_ownership(launch, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(ROOT / "tests" / "saved" / "0.1.0" / "finished", run)
    before = sorted(run.rglob("*"))
    assert launch(0, "run", module="dbmpi.checkpoint").status == 0
    for word in ("--dry-run", "--print-config"):
        assert launch(0, "--run-dir", "run", word).status == 0
    assert sorted(run.rglob("*")) == before
