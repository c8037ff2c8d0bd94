"""Runs that are ended before their end and go on: by signals, limits, kills and a full disk, on any shape."""

import json
import os
import re
import signal
import time
import tomllib

import numpy as np
import pytest

from dbmpi.checkpoint import manifest, resume
from dbmpi.checkpoint.directory import (
    MANIFEST,
    checkpoint_directory,
    checkpoint_numbers,
    shard_file_name,
    under_construction,
)
from scripts.chaos.victims import by_rank
from tests.system.reading import QUIET, messages, one_message, parameters, records, summary

LONG = (*QUIET, "train.epochs=3000", "evaluation.every_epochs=50")
SHORT = (*QUIET, "train.epochs=40")
DROPOUT = (
    'model.layers=[{type="dense", units=32, activation="relu"}, {type="dropout", rate=0.2}, '
    '{type="dense", units=10}]'
)
SERIAL = {
    "adam-dropout": (
        DROPOUT, "downpour.schedule.kind=cosine", "downpour.rule=adam", "downpour.learning_rate=0.002",
        "train.epochs=100",
    ),
    "lbfgs": ("train.algorithm=sandblaster", "train.minibatch=200", "train.epochs=none"),
    "lbfgs-samples": ("train.algorithm=sandblaster", "sandblaster.sample=0.3", "sandblaster.iterations=60"),
}  # fmt: skip


def equal(one, other):
    """Whether two runs have left the same model, bit by bit."""
    a, b = parameters(one), parameters(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", SERIAL)
def test_a_serial_run_that_was_stopped_equals_one_that_was_not(launch, tmp_path, name):
    settings = (*QUIET, *SERIAL[name])
    assert launch(0, *settings, "--run-dir", "whole").status == 0
    for limit in (0.05, 0.07):
        stopped = launch(0, *settings, f"train.max_time={limit}", "--run-dir", "parts")
        assert stopped.status == 85 and "goes on from there" in stopped.out
        assert not (tmp_path / "parts" / "finished").exists()
    done = launch(0, *settings, "--run-dir", "parts")
    assert done.status == 0 and "goes on from checkpoint" in done.out
    assert equal(tmp_path / "whole", tmp_path / "parts")
    whole, parts = summary(tmp_path / "whole"), summary(tmp_path / "parts")
    same = ("stop_reason", "test_loss")  # passes that were given up half-way count as well
    for key in same if "lbfgs" in name else (*same, "steps", "examples", "updates"):
        assert whole[key] == parts[key], key
    learned = [record["examples"] for record in records(tmp_path / "parts")]
    assert learned == sorted(learned)


@pytest.mark.both_mpis
def test_a_deterministic_run_on_six_ranks_that_was_stopped_equals_one_that_was_not(launch, tmp_path):
    settings = (
        *QUIET, "train.algorithm=sandblaster", "train.minibatch=50", "sandblaster.deterministic=true",
        "cluster.replicas=2", "cluster.partitions=2", "sandblaster.iterations=40",
    )  # fmt: skip
    assert launch(6, *settings, "--run-dir", "whole").status == 0
    assert launch(6, *settings, "train.max_time=0.4", "--run-dir", "parts").status == 85
    assert launch(6, *settings, "--run-dir", "parts").status == 0
    assert equal(tmp_path / "whole", tmp_path / "parts")


def test_a_checkpoint_holds_the_updates_of_its_own_steps(launch, tmp_path):
    """Not those of the shards' report before: with one replica that pushes every gradient, one a step."""
    cluster = ("cluster.shards=2", "cluster.replicas=1", "cluster.partitions=1")
    often = ("train.steps=300", "checkpoint.every_examples=800", "checkpoint.keep=9")
    assert launch(4, *QUIET, *cluster, *often, "--run-dir", "run").status == 0
    saved = [found for found in resume.whole(tmp_path / "run") if isinstance(found, manifest.Checkpoint)]
    counts = [json.loads((found.path / MANIFEST).read_text())["state"]["book"] for found in saved]
    assert len(counts) > 2
    assert all(count["service"]["updates"] == count["step"] for count in counts)


def send(run, rank, number, seen):
    """Return what sends a signal to one rank, once training is under way."""

    def during(processes):
        deadline = time.monotonic() + 60
        while not (run / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.4)
        os.kill(by_rank(processes())[rank], number)
        seen.append(time.monotonic())

    return during


@pytest.mark.both_mpis
@pytest.mark.parametrize("algorithm", ["downpour", "sync", "sandblaster"])
def test_a_signal_to_any_rank_stops_the_run_in_order_and_it_goes_on_on_others(launch, tmp_path, algorithm):
    """USR1 to a shard, or a partition; then one process goes on."""
    endless = ("sandblaster.iterations=100000", "sandblaster.decrease_tolerance=0")
    settings = (*LONG, f"train.algorithm={algorithm}", *endless, "sandblaster.gradient_tolerance=0")
    run, seen = tmp_path / "run", []
    rank = 1 if algorithm == "downpour" else 4
    done = launch(5, *settings, "--run-dir", "run", during=send(run, rank, signal.SIGUSR1, seen))
    assert done.status == 85 and messages(done) == [] and "ended by signal" in done.out
    assert time.monotonic() - seen[0] < 15
    learned = summary(run)["examples"]
    assert summary(run)["status"] == 85 and not (run / "model.h5").exists()
    ends = ("train.epochs=none", "train.max_time=0.8")
    again = launch(0, *settings, *ends, "--run-dir", "run")
    assert again.status in (0, 85) and summary(run)["examples"] > learned  # L-BFGS may have converged
    assert summary(run)["test_accuracy"] > 0.9 and (run / "model.h5").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_signals_to_one_process(launch, tmp_path, number):
    def during(processes):
        deadline = time.monotonic() + 60
        while not (tmp_path / "run" / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.5)
        for pid in processes():
            os.kill(pid, number)

    done = launch(0, *LONG, "checkpoint.signal=USR2", "--run-dir", "run", during=during)
    assert done.status == 85 and messages(done) == []
    assert checkpoint_numbers(tmp_path / "run") == [1]


@pytest.fixture
def break_it(launch):
    """Return what runs the program with one thing going wrong: see faulty.py."""

    def run(ranks, *arguments, **more):
        return launch(ranks, *arguments, module="tests.system.faulty", **more)

    return run


@pytest.mark.parametrize(("step", "rank"), [("slice", 2), ("index", 0), ("publish", 0)])
def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(break_it, launch, tmp_path, step, rank):
    settings = (*LONG, "cluster.shards=2", "checkpoint.every_s=0.1", "--run-dir", "run")
    killed = break_it(5, "kill", step, rank, 3, *settings)
    assert killed.status != 0
    whole = [one.manifest.number for one in resume.whole(tmp_path / "run")]
    assert whole == [2, 1]
    assert [path.name for path in under_construction(tmp_path / "run")] == ["000003.part"]
    done = launch(4, *settings[:-2], "train.max_time=0.2", "--run-dir", "run")
    assert done.status == 85 and "goes on from checkpoint 2" in done.out
    assert not under_construction(tmp_path / "run")


@pytest.mark.parametrize("step", ["slice", "index"])
def test_a_checkpoint_that_cannot_be_written_is_a_warning(break_it, tmp_path, step):
    rank = {"slice": 1, "index": 0}[step]
    settings = ("--set", "train.epochs=100", "cluster.shards=1", "checkpoint.every_s=0.1")
    settings = (*settings, "checkpoint.best=false", "--run-dir", "run")
    done = break_it(4, "full for a while", step, rank, 2, *settings)
    assert done.status == 0, done
    assert "warning: checkpoint 2 could not be taken" in done.out and "File too large" in done.out
    assert "Traceback" not in done.err
    newest, before = (one.manifest.number for one in resume.whole(tmp_path / "run"))
    assert newest == before + 1 > 3
    assert not under_construction(tmp_path / "run")


def test_what_was_chosen_is_told_saved_and_kept_on_another_number_of_replicas(launch, tmp_path):
    done = launch(4, *QUIET, "train.epochs=1", "--run-dir", "run")
    assert done.status == 0 and "train.minibatch = 16, downpour.rule = adagrad" in done.out
    first = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    again = launch(0, *QUIET, "train.epochs=2", "--run-dir", "run")
    assert again.status == 0 and "goes on from checkpoint" in again.out
    second = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert second["downpour"] == first["downpour"] and first["downpour"]["learning_rate"] == 0.052
    assert second["train"]["minibatch"] == first["train"]["minibatch"]
    launch(0, *QUIET, "train.epochs=2", "--run-dir", "alone")
    alone = tomllib.loads((tmp_path / "alone" / "config.toml").read_text())
    assert alone["downpour"]["learning_rate"] == 0.055  # of one replica


def test_a_damaged_checkpoint_is_passed_over_and_the_tool_says_so(launch, tmp_path):
    run = tmp_path / "run"
    launch(0, *SHORT, "checkpoint.every_examples=20000", "checkpoint.best=false", "--run-dir", "run")
    newest, before = checkpoint_numbers(run)[:2]
    file = checkpoint_directory(run, newest) / shard_file_name(0)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    tool = launch(0, "run", module="dbmpi.checkpoint")
    assert tool.status == 1 and "checksum differs" in tool.out and tool.out.count("whole") == 1
    (run / "finished").unlink()
    done = launch(3, *SHORT, "--run-dir", "run", "--resume")
    assert done.status == 0 and f"goes on from checkpoint {before}" in done.out
    assert "dbmpi: warning: checkpoint" in done.err and "it is not used" in done.err
    shown = launch(0, "run", "--show", checkpoint_numbers(run)[0], module="dbmpi.checkpoint")
    assert shown.status == 0 and "layers.0.weight  (128, 64)  float32" in shown.out


def test_what_cannot_go_on_is_refused(launch, tmp_path):
    for ranks, more in ((3, []), (0, ["--dry-run"])):
        nothing = launch(ranks, *SHORT, "--run-dir", "new/a", "--resume", *more)
        one_message(nothing, "--resume", "has no checkpoint")
        assert nothing.status == 2 and not (tmp_path / "new").exists()
    launch(0, *QUIET, "train.epochs=1", "--run-dir", "run")
    assert "goes on from checkpoint 1, after 1,437" in launch(0, *SHORT, "--run-dir", "run", "--dry-run").out
    for ranks, more in ((3, []), (0, ["--dry-run", "--resume"])):
        other = launch(ranks, *SHORT, "model.layers.0.units=100", "--run-dir", "run", *more)
        one_message(
            other, "another model", "layers.0.weight is (128, 64) there and (100, 64) here", "--run-dir"
        )
    stranger = launch(0, *SHORT, "--resume")
    one_message(stranger, "--resume", "--run-dir")
    assert (nothing.status, other.status, stranger.status) == (2, 2, 2)
    none = launch(0, "new", module="dbmpi.checkpoint")
    assert none.status == 2 and "new is not there; runs with checkpoints there: run" in none.err


def state(run):
    """What is there, and when it was written last."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in run.rglob("*")}


def test_the_same_command_again(launch, tmp_path):
    """A finished run has nothing left to do, says how it would have, and writes nothing; so it goes on."""
    run = tmp_path / "run"
    done = launch(4, *QUIET, "train.epochs=4", "--run-dir", "run")
    assert done.status == 0 and (run / "finished").read_text() == "epochs\n"
    before = state(run)
    for ranks, words in ((3, []), (0, ["train.epochs=3", "--resume"]), (0, ["--dry-run"])):
        done = launch(ranks, *QUIET, "train.epochs=4", *words, "--run-dir", "run")
        assert done.status == 0 and done.out.count("has come to its end (epochs)") == 1
        assert state(run) == before
    more = re.search(r"--set (train\.epochs=8)", done.out)
    done = launch(3, *QUIET, more[1], "--run-dir", "run")
    assert summary(run)["examples"] == 8 * 1437 == sum(summary(run)["replicas"]["learned"])
    assert [job.get("replicas") for job in records(run, "job")] == [2, None, 1, None]
    assert json.loads((run / "run.json").read_text())["resumed_from"] == 1


def test_from_downpour_to_sandblaster_and_back(launch, tmp_path):
    launch(3, *QUIET, "train.epochs=5", "--run-dir", "run")
    batch = ("train.algorithm=sandblaster", "sandblaster.iterations=10", "train.epochs=none")
    done = launch(4, *QUIET, *batch, "--run-dir", "run")
    assert done.status == 0 and records(tmp_path / "run", "iteration")[0]["loss"] < 0.5
    done = launch(3, *QUIET, "train.epochs=2", "--run-dir", "run")
    assert done.status == 0 and summary(tmp_path / "run")["test_accuracy"] > 0.93
