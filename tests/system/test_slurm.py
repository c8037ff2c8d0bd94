"""Jobs of slurm/*.sbatch on a real Slurm: preempted, short of a node, on twice the ranks; each ends well.

The nodes are virtual, see slurm_cluster.py. Each run must be as good as one that nobody disturbed.
"""

import json
import time

import pytest

from tests.system.reading import records, summary
from tests.system.slurm import packages
from tests.system.slurm.jobs import Job

TOLERANCE = 0.02  # of the accuracy, on 360 examples


@pytest.fixture(scope="module")
def jobs(cluster):
    """Return submit(file, run, *options of sbatch)."""
    submitted = []

    def submit(*arguments):
        submitted.append(Job(cluster, *arguments))
        return submitted[-1]

    submit.all = submitted
    return submit


@pytest.fixture
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
    assert json.loads((job.run / "run.json").read_text())["resumed_from"] >= 1
    assert abs(content["test_accuracy"] - accuracy) <= TOLERANCE


def test_where_there_is_no_slurm_the_reason_is_given(monkeypatch, tmp_path):
    monkeypatch.setattr(packages, "PROGRAMS", ("slurmd-of-nobody",))
    monkeypatch.setattr(packages, "CGROUPS", tmp_path)
    monkeypatch.setattr(packages, "PATH", "")
    monkeypatch.setattr(packages.os, "geteuid", lambda: 0)
    assert "without cgroups" in packages.provide()
    (tmp_path / "cgroup.procs").touch()
    monkeypatch.setattr(packages, "APT", "apt-get-of-nobody")
    assert "no slurmd-of-nobody here, and no apt-get" in packages.provide()
    monkeypatch.setattr(packages, "APT", "false")
    assert "could not install munge" in packages.provide()
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    assert "needs root" in packages.provide()


@pytest.mark.usefixtures("shown")
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


@pytest.mark.usefixtures("shown")
def test_job_that_is_preempted_goes_back_into_the_queue(cluster, jobs, undisturbed):
    job = jobs("sandblaster-many-nodes", "preempted", "--nodes=2", "--mincpus=2")
    job.await_checkpoint()
    urgent = ("--partition=urgent", "--nodelist=node[1-2]", "--exclusive", "--wrap=sleep 1")
    assert cluster.ask("sbatch", *urgent, "--output=urgent.out", cwd=job.work)
    accuracy = undisturbed("sandblaster")
    job.await_end()
    assert_finished(job, restarts=1)
    assert "stopped before its end: back into the queue" in job.log.read_text()
    assert_as_good(job, accuracy)


@pytest.mark.usefixtures("shown")
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
