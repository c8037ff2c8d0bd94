"""Two jobs on one run directory: one runs, or takes it over; and what reads only takes nothing."""

import json
import os
import random
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from scripts.chaos import two_jobs
from tests import ROOT
from tests.system.test_failures import FAULTY, wait_for


def test_one_job_runs_and_the_other_says_who_has_the_directory(environment, tmp_path, monkeypatch):
    # The first must still run when the other, on a busy machine, has come so far as to look.
    monkeypatch.setattr(two_jobs, "RUN_S", 6.0)
    outcome = two_jobs.attempt(environment, tmp_path, random.Random(4), "at once", 4)
    assert outcome.good, outcome


@pytest.mark.parametrize(
    ("ranks", "way"),
    [
        (3, "a rank fails"),  # not with MPICH, whose launcher kills rank 0 then
        pytest.param(3, "a signal", marks=pytest.mark.both_mpis),
        (0, "a signal"),
    ],
)
def test_a_job_that_leaves_before_training_gives_its_directory_up(launch, tmp_path, ranks, way):
    def stop(living):
        wait_for(lambda: (tmp_path / "run" / "run.json").exists())
        for pid in living():
            os.kill(pid, signal.SIGTERM)

    fault = ("sleep", "warming", -1) if way == "a signal" else ("raise", "warming", 2)
    during = stop if way == "a signal" else None
    done = launch(ranks, *fault, 1, "--run-dir", "run", module=FAULTY, during=during)
    (record,) = (tmp_path / "run").glob(".owner/*/owner.json")
    assert done.status and json.loads(record.read_text())["ended"]


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
        assert launch(0, "run/config.toml", "--run-dir", "run", word).status == 0
    assert sorted(run.rglob("*")) == before
