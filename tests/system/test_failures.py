"""No failure hangs; every failure has a non-zero status and one readable message.

tests/system/faulty.py makes things fail. `launch` fails a test whose program outlives its deadline, or leaves
a process behind.
"""

import os
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from dbmpi.data import digits
from tests import runner
from tests.system.faulty import FREED_S, SLOW_DISK_S
from tests.system.reading import QUIET, messages, one_message, parameters, records, split, summary

FAULTY = "tests.system.faulty"
LONG = ("--set", "train.epochs=4000", "evaluation.every_epochs=0", "output.progress=none")
BOUND_S = 40.0  # start-up on a busy machine included
ROLES = {  # world ranks of 4 = 1 coordinator + 1 shard + 1 replica x 2 partitions
    "coordinator": ("booking", 0, "rank 0 (coordinator)"),
    "shard": ("shard", 1, "rank 1 (shard 0)"),
    "replica": ("replica", 3, "rank 3 (replica 0 partition 1)"),
    "thread": ("reader", 2, "rank 2 (replica 0 partition 0)"),
}
SHAPE = ("cluster.shards=1", "cluster.replicas=1", "cluster.partitions=2")


@pytest.fixture
def break_it(launch):
    """Return break_it(n, fault, place, rank, call, *args): `launch` of a program with that fault."""

    def run(n, fault, place, rank, call, *arguments, **keywords):
        return launch(n, fault, place, rank, call, *arguments, module=FAULTY, timeout=BOUND_S, **keywords)

    return run


@pytest.mark.both_mpis
@pytest.mark.parametrize("role", ROLES)
def test_exception_ends_the_job_with_one_message(break_it, role):
    place, rank, name = ROLES[role]
    done = break_it(4, "raise", place, rank, 5, *LONG, *SHAPE)
    assert done.status == 1
    message = one_message(done, "Broken: for the test", traceback=True)
    assert message.startswith(f"dbmpi: {name} on {os.uname().nodename}: Broken: for the test")


def test_exception_that_every_rank_meets_is_told_once(break_it):
    done = break_it(4, "raise", "replica", -1, 5, *LONG, *SHAPE)
    assert done.status == 1
    one_message(done, "Broken: for the test", traceback=True)


@pytest.mark.parametrize("place", ["replica", "reader", "saving"])
def test_exception_in_one_process(break_it, place):
    done = break_it(0, "raise", place, 0, 1, "--set", "train.epochs=2")
    assert done.status == 1
    one_message(done, "rank 0 (serial)", "Broken: for the test", traceback=True)


@pytest.mark.parametrize(("place", "rank"), [("start", 2), ("saving", 1)])
def test_exception_before_and_after_training(break_it, place, rank):
    done = break_it(4, "raise", place, rank, 1, "--set", "train.epochs=1", *QUIET)
    assert done.status == 1
    one_message(done, f"rank {rank}", "Broken: for the test", traceback=True)


@pytest.mark.both_mpis
@pytest.mark.parametrize("role", ["coordinator", "shard", "replica"])
def test_killed_rank_ends_the_job(break_it, role):
    place, rank, _ = ROLES[role]
    done = break_it(4, "kill", place, rank, 5, *LONG, *SHAPE)
    assert done.status not in (0, 2, 3)
    assert messages(done) == [] and "Traceback" not in done.err  # the launcher says it: signal 9


@pytest.mark.both_mpis
@pytest.mark.parametrize("role", ["coordinator", "shard"])
def test_silent_rank_is_named_by_its_deadline(break_it, role):
    place, rank, name = ROLES[role]
    done = break_it(4, "stop", place, rank, 20, *LONG, *SHAPE, "cluster.timeout_s=2")
    assert done.status == 1
    message = one_message(done)
    assert f"no sign of life for 3 s from {name}; the job ends with status 1: there is no ch" in message
    assert message.endswith("if it was only slow, raise cluster.timeout_s = 2")
    assert "most recent call" not in done.err


def test_silent_shard_is_named_before_those_who_wait_for_it(break_it):
    settings = ("cluster.shards=2", "cluster.replicas=1", "cluster.partitions=2", "cluster.timeout_s=2")
    done = break_it(5, "stop", "shard", 2, 20, *LONG, *settings)
    assert done.status == 1
    assert "from rank 2 (shard 1)" in one_message(done)


@pytest.fixture
def data(tmp_path):
    """The digits as a file of 32-bit floats in chunks, to be spoilt."""
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        for name in ("train", "test"):
            x, y = split(digits.located("digits"), name)
            file.create_dataset(f"{name}/x", data=x.astype(np.float32), chunks=(64, x.shape[1]))
            file[f"{name}/y"] = y
    return path


@pytest.mark.parametrize("ranks", [0, 4])
def test_data_file_that_shrinks_during_training(break_it, data, ranks):
    rank = 3 if ranks else 0
    done = break_it(
        ranks, "truncate", "replica", rank, 20, *LONG, f"data.path={data}", env={"DBMPI_TEST_DATA": str(data)}
    )
    assert done.status == 2
    # Another replica may open the file only after it was cut, and says so first.
    one_message(done, f"{data}: ")
    assert "shrank" in done.err or ranks and "has no data set" in done.err


@pytest.fixture
def other(data):
    """Another data file of the same shapes, as large as the first."""
    path = data.with_name(f"{data.name}.other")
    path.write_bytes(data.read_bytes())
    with h5py.File(path, "r+") as file:
        file["train/x"][...] = file["train/x"][...][::-1]
    assert path.stat().st_size == data.stat().st_size
    return path


@pytest.mark.parametrize("ranks", [0, 4])
def test_data_file_that_is_written_over_during_training(break_it, data, other, ranks):
    """Of the same size, so that nothing but its time tells it, unless another rank looks meanwhile."""
    rank, spoilt = 3 if ranks else 0, {"DBMPI_TEST_DATA": str(data)}
    done = break_it(ranks, "rewrite", "replica", rank, 20, *LONG, f"data.path={data}", env=spoilt)
    assert done.status == 2
    one_message(done, f"{data}: train/")
    assert "was changed after it was opened" in done.err or "the file shrank" in done.err


@pytest.mark.parametrize("fault", ["remove", "replace"])
def test_data_file_whose_name_goes_is_read_on_to_the_same_end(break_it, launch, data, other, tmp_path, fault):
    few, spoilt = ("--set", "train.epochs=2", "output.progress=none"), {"DBMPI_TEST_DATA": str(data)}
    assert launch(0, *few, f"data.path={data}", "--run-dir", "whole", timeout=BOUND_S).status == 0
    done = break_it(0, fault, "replica", 0, 20, *few, f"data.path={data}", "--run-dir", "spoilt", env=spoilt)
    assert done.status == 0 and messages(done) == []
    whole, spoilt = parameters(tmp_path / "whole"), parameters(tmp_path / "spoilt")
    assert whole and all(np.array_equal(whole[name], spoilt[name]) for name in whole)


@pytest.fixture
def gathered(data):
    """A data file that holds no rows: those to train on are taken from another, which holds only them."""
    path, rows = data.with_name("gathered.h5"), data.with_name("rows.h5")
    with h5py.File(data) as file, h5py.File(rows, "w") as source, h5py.File(path, "w") as gather:
        for key in ("x", "y"):
            source[key] = file["train"][key][...]
            layout = h5py.VirtualLayout(source[key].shape, source[key].dtype)
            layout[...] = h5py.VirtualSource(rows.name, key, source[key].shape)
            gather.require_group("train").create_virtual_dataset(key, layout)
        gather["test"] = h5py.ExternalLink(data.name, "/test")
    return path, rows


@pytest.mark.parametrize("ranks", [0, 4])
def test_source_of_the_data_that_goes_during_training(break_it, gathered, ranks):
    """HDF5 goes on with zeros."""
    path, rows = gathered
    rank, spoilt = 3 if ranks else 0, {"DBMPI_TEST_DATA": str(rows)}
    done = break_it(ranks, "remove", "replica", rank, 20, *LONG, f"data.path={path}", env=spoilt)
    assert done.status == 2
    one_message(done, f"{path}: train", rows.name)


def test_rows_that_lie_in_other_files_are_learned(launch, gathered, tmp_path):
    few = ("--set", "train.epochs=4", f"data.path={gathered[0]}", *QUIET)
    assert launch(4, *few, "--run-dir", "run", timeout=BOUND_S).status == 0
    assert summary(tmp_path / "run")["test_accuracy"] > 0.85


@pytest.mark.parametrize("ranks", [0, 4])
def test_data_file_that_goes_before_the_roles_open_it(break_it, data, ranks):
    spoilt = {"DBMPI_TEST_DATA": str(data)}
    done = break_it(ranks, "remove", "warming", 0, 1, *LONG, f"data.path={data}", env=spoilt)
    assert done.status == 2
    one_message(done, f"{data}: there is no such file")


def test_value_in_the_data_that_is_not_finite(launch, data):
    with h5py.File(data, "a") as file:
        file["train/x"][700, 5] = np.nan
    done = launch(4, *LONG, f"data.path={data}", timeout=BOUND_S)
    assert done.status == 2
    one_message(done, f"{data}: train/x holds nan in row 700, column 5", "finite")


@pytest.mark.parametrize(("n", "partitions", "rank"), [(4, 2, 3), (0, 1, 0)])
def test_gradient_that_is_not_finite_is_refused_and_training_goes_on(break_it, tmp_path, n, partitions, rank):
    arguments = ("--set", "train.epochs=4", f"cluster.partitions={partitions}", *QUIET, "--run-dir", "run")
    done = break_it(n, "nan", "gradient", rank, 20, *arguments)
    assert done.status == 0 and messages(done) == []
    content = summary(tmp_path / "run")
    assert content["refused"]["not_finite"] >= 1
    assert content["stop_reason"] == "epochs" and content["test_accuracy"] > 0.85
    assert all(np.isfinite(value).all() for value in parameters(tmp_path / "run").values())


@pytest.mark.parametrize("ranks", [0, 4])
@pytest.mark.both_mpis
def test_run_that_diverges(launch, tmp_path, ranks):
    wild = ("downpour.rule=sgd", "downpour.learning_rate=1e8", "model.loss=squared")
    done = launch(ranks, "--set", *wild, "--run-dir", "run", timeout=BOUND_S)
    assert done.status == 3
    one_message(done, "diverged", "lower downpour.learning_rate")
    assert "RuntimeWarning" not in done.err
    content = summary(tmp_path / "run")
    assert (content["stop_reason"], content["status"]) == ("diverged", 3)
    assert content["diverged_by"] in done.err and content["first_loss"] < 10


@pytest.mark.parametrize("ranks", [0, 3])
@pytest.mark.parametrize("rule", ["sgd", "adagrad"])
def test_one_portion_is_enough_to_diverge(launch, tmp_path, ranks, rule):
    wild = (f"downpour.rule={rule}", "downpour.learning_rate=1e6", "train.steps=20", "train.portion=20")
    done = launch(ranks, "--set", *wild, *QUIET, "--run-dir", "run", timeout=BOUND_S)
    assert done.status == 3
    one_message(done, "the loss on the test set is", "times 2.793", "the first parameters", "learning_rate")
    assert summary(tmp_path / "run")["steps"] == 20


@pytest.mark.parametrize("ranks", [0, 3])
def test_a_run_in_which_every_gradient_is_refused(launch, tmp_path, ranks):
    still = ("downpour.learning_rate=1e39", "downpour.local_rate=0", "train.steps=3")
    done = launch(ranks, "--set", *still, *QUIET, "--run-dir", "run", timeout=BOUND_S)
    assert done.status == 3
    one_message(done, "shard 0 refused all of the last 3 gradients", "too large to compute with")
    content = summary(tmp_path / "run")
    assert (content["stop_reason"], content["updates"]) == ("diverged", 0)
    assert content["refused"] == {"stale": 0, "not_finite": 3, "too_large": 0}


def test_refusals_by_the_users_own_limit_are_no_divergence(launch, tmp_path):
    narrow = ("downpour.max_gradient_norm=1e-6", "train.epochs=1")
    done = launch(0, "--set", *narrow, *QUIET, "--run-dir", "run", timeout=BOUND_S)
    assert done.status == 0 and messages(done) == [] and done.out.count("does not learn") == 1
    content = summary(tmp_path / "run")
    assert content["refused"]["too_large"] == 90 and content["updates"] == 0 and content["learned"] is False


@pytest.mark.parametrize("ranks", [0, 3])
def test_a_run_that_does_not_learn_says_so_once(launch, tmp_path, ranks):
    done = launch(
        ranks, "--set", "downpour.learning_rate=1e-12", "train.epochs=2", *QUIET, "--run-dir", "run"
    )
    assert done.status == 0 and messages(done) == []
    assert done.out.count("warning: the run does not learn: its training loss stays at 2.5") == 1
    assert "raise downpour.learning_rate" in done.out
    content, events = summary(tmp_path / "run"), records(tmp_path / "run", "event")
    assert content["learned"] is False and content["chance_loss"] == pytest.approx(2.3024, abs=1e-3)
    assert [("does not learn" in event["text"]) for event in events] == [True]


def test_a_batch_method_that_does_not_learn_says_so(launch, tmp_path):
    heavy = ("train.algorithm=sandblaster", "model.l2=1e6", "train.minibatch=300")
    done = launch(0, "--set", *heavy, *QUIET, "--run-dir", "run", timeout=BOUND_S)
    assert done.status == 0 and done.out.count("does not learn") == 1 and "lower model.l2" in done.out
    content = summary(tmp_path / "run")
    assert content["stop_reason"] == "converged" and content["learned"] is False
    assert content["first_loss"] == pytest.approx(2.574, abs=1e-3)  # without the penalty


@pytest.mark.parametrize(("ranks", "rank"), [(4, 1), (0, 0)])
def test_a_run_that_cannot_write_its_last_word_goes_on_later(break_it, launch, tmp_path, ranks, rank):
    settings = ("--set", "train.epochs=3", "output.progress=none", "--run-dir", "run")
    done = break_it(ranks, "full", "saving", rank, 1, *settings)
    run = tmp_path / "run"
    assert done.status == 85 and not (run / "model.h5").exists() and not (run / "finished").exists()
    assert f"{run / 'model.h5'}: cannot be written: File too large" in done.err
    assert done.err.count("look at the space") == 1 and "another place" not in done.err
    assert "what could be written is in" in done.out and not list(run.glob(".*.tmp"))
    assert "goes on from its last checkpoint" in done.err and "Traceback" not in done.err
    done = launch(ranks, *settings)
    assert done.status == 0 and (run / "model.h5").exists() and (run / "finished").exists()


def test_without_a_checkpoint_it_has_failed(break_it, tmp_path):
    done = break_it(4, "full", "slice", -1, 1, "--set", "train.epochs=3", "--run-dir", "run")
    assert done.status == 1 and "no checkpoint to go on from" in done.err and "Traceback" not in done.err


def test_records_wait_for_a_disk_that_is_full_for_a_while(break_it, tmp_path):
    settings = ("--set", "train.epochs=60", "output.every_s=0.01", "output.progress=none")
    done = break_it(4, "full for a while", "booking", 0, 1, *settings, "--run-dir", "run")
    assert done.status == 0
    assert done.out.count("metrics.jsonl cannot be written: File too large; its records wait") == 1
    times = [record["time_s"] for record in records(tmp_path / "run", "train")]
    assert len(times) > 20 and times == sorted(times) and np.diff(times).max() < FREED_S


def test_a_disk_slower_than_every_deadline_loses_nothing(break_it, tmp_path):
    timeout_s = SLOW_DISK_S / 3
    settings = ("--set", "train.epochs=3", f"cluster.timeout_s={timeout_s}", "output.progress=none")
    done = break_it(4, "slow disk", "fsync", -1, 1, *settings, "--run-dir", "run")
    assert done.status == 0 and "no answer" not in done.err
    assert (tmp_path / "run" / "model.h5").exists() and (tmp_path / "run" / "finished").exists()


@pytest.mark.both_mpis
@pytest.mark.parametrize("target", ["launcher", "all"])
def test_interrupted_job_ends_soon(launch, tmp_path, target):
    def interrupt(processes):
        wait_for(lambda: records_or_none(tmp_path / "run"))
        for pid in sorted(processes())[: 1 if target == "launcher" else None]:
            os.kill(pid, signal.SIGINT)

    started = time.monotonic()
    done = launch(4, *LONG, *SHAPE, "output.every_s=0.1", "--run-dir", "run", during=interrupt)
    assert done.status != 0 and "Traceback" not in done.err and len(messages(done)) <= 1
    assert time.monotonic() - started < BOUND_S


@pytest.mark.parametrize("early", [True, False])
def test_interrupted_process_ends_soon(launch, tmp_path, early):
    """Before training at once; then in order, with a checkpoint."""

    def interrupt(processes):
        if early:
            wait_for(lambda: any("dbmpi" in command(pid) for pid in processes()))
            time.sleep(0.15)
        else:
            wait_for(lambda: records_or_none(tmp_path / "run"))
        sent.append(time.monotonic())
        os.kill(min(processes()), signal.SIGINT)

    sent: list[float] = []
    done = launch(0, *LONG, "output.every_s=0.1", "--run-dir", "run", timeout=BOUND_S, during=interrupt)
    assert time.monotonic() - sent[0] < 10
    if early:
        assert done.status == 130 and "interrupted" in one_message(done)
    else:
        assert done.status == 85 and messages(done) == []


SWALLOWED = """
import builtins, os, signal
load = builtins.__import__

def interrupted(name, *args, **more):
    if name == "h5py":
        builtins.__import__ = load
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            pass
    return load(name, *args, **more)

builtins.__import__ = interrupted
"""


@pytest.mark.parametrize("n", [0, 4])
def test_ctrl_c_is_not_lost_in_an_import_that_catches_everything(launch, tmp_path, n):
    (tmp_path / "sitecustomize.py").write_text(SWALLOWED)
    path = os.pathsep.join((str(tmp_path), str(runner.ROOT)))
    done = launch(n, *LONG, "--run-dir", "run", timeout=BOUND_S, env={"PYTHONPATH": path})
    assert done.status == 130 and "interrupted" in one_message(done)
    assert not (tmp_path / "run").exists()


def test_slow_shard_does_not_slow_training_that_overlaps(break_it, tmp_path):
    # Each request takes 50 ms: if they waited, two replicas could take 20 steps a second between them.
    shape = ("cluster.replicas=2", "cluster.shards=1", "cluster.partitions=1", "downpour.overlap=true")
    limits = ("train.max_time=3", "train.epochs=none", "evaluation.every_epochs=0", "output.progress=none")
    done = break_it(4, "slow", "shard", 1, 1, "--set", *shape, *limits, "--run-dir", "slow")
    assert done.status == 85  # by train.max_time
    content = summary(tmp_path / "slow")
    print(f"{content['steps']} steps in {content['train_s']:.1f} s with a shard 50 ms late")
    assert content["steps"] > 10 * 20 * content["train_s"]
    assert 0 < content["updates"] < 20 * content["train_s"] + 5


def cpu_s(pid):
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.both_mpis
def test_idle_shard_coordinator_and_replica_use_next_to_no_cpu(break_it, tmp_path):
    """One replica sleeps in the middle of its work; the other is held back by a warmstart."""
    used = {}

    def measure(processes):
        wait_for(lambda: records_or_none(tmp_path / "run"))
        time.sleep(0.5)
        ranks = {rank_of(pid): pid for pid in processes() if rank_of(pid) is not None}
        before, start = {rank: cpu_s(pid) for rank, pid in ranks.items()}, time.monotonic()
        time.sleep(2.5)
        for rank, pid in ranks.items():
            used[rank] = (cpu_s(pid) - before[rank]) / (time.monotonic() - start)

    settings = ("downpour.warmstart.time=5", "train.max_time=5", "train.epochs=none", "output.every_s=0.1")
    done = break_it(
        4, "sleep", "replica", 2, 40, "--set", *settings, *QUIET[1:], "--run-dir", "run", during=measure
    )  # fmt: skip
    print("share of a core at rest:", {rank: f"{share:.1%}" for rank, share in used.items()})
    assert done.status == 85  # by train.max_time
    assert used[0] < 0.05 and used[1] < 0.05 and used[3] < 0.05


def rank_of(pid):
    """Return the world rank of a process, as its launcher says; None for launchers."""
    environ = Path(f"/proc/{pid}/environ").read_text(errors="replace")
    found = dict(pair.partition("=")[::2] for pair in environ.split("\0"))
    rank = found.get("OMPI_COMM_WORLD_RANK", found.get("PMI_RANK"))
    return None if rank is None else int(rank)


def command(pid):
    return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")


def records_or_none(run):
    try:
        return records(run, "train")
    except (FileNotFoundError, ValueError):
        return None


def wait_for(condition):
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
