"""Ranks that stand still: a job that is suspended as a whole goes on; a rank that is silent is fenced."""

import pytest

from dbmpi.checkpoint import manifest, resume
from dbmpi.checkpoint.directory import CHECKPOINTS
from tests.system.conftest import launch_in
from tests.system.faulty import OUT_OF_REACH
from tests.system.pausing import Pauser
from tests.system.reading import QUIET, messages, one_message, records, summary
from tests.system.test_deaths import ALGORITHMS, FAULTY, Tolerant

TIMEOUT_S = 1.0
TRAINED = b'"kind": "train"'  # by then there are mirrors, and the shards know the coordinator's state
BOUND_S = 60.0  # start-up on a busy machine included
CLUSTER = ("cluster.shards=2", "cluster.replicas=2", "cluster.partitions=1")
COMMON = ("--run-dir", "run", *QUIET, *CLUSTER, f"cluster.timeout_s={TIMEOUT_S}", "checkpoint.mirror_s=0.1")


@pytest.fixture
def launch_ft(environment, tmp_path):
    """Return `launch`, under ULFM."""
    if environment.mpi != "openmpi":
        pytest.skip("MPICH ends the job when a rank dies")
    return launch_in(Tolerant(environment.mpi, environment.directory), tmp_path)


@pytest.mark.both_mpis
def test_a_job_that_is_suspended_as_a_whole_goes_on(launch, tmp_path):
    pauser = Pauser(tmp_path / "run", 2 * TIMEOUT_S)
    done = launch(5, *COMMON, *ALGORITHMS["downpour"], timeout=BOUND_S, during=pauser)
    assert (done.status, messages(done)) == (0, [])
    assert len(pauser.left) >= 5 and "no sign of life" not in done.out
    assert summary(tmp_path / "run")["test_accuracy"] > 0.9


def test_so_it_does_where_ranks_may_die(launch_ft, tmp_path):
    pauser = Pauser(tmp_path / "run", 2 * TIMEOUT_S)
    done = launch_ft(5, *COMMON, *ALGORITHMS["sandblaster"], timeout=BOUND_S, during=pauser)
    assert (done.status, messages(done)) == (0, [])
    assert len(pauser.left) >= 5 and "no sign of life" not in done.out


@pytest.mark.parametrize(
    ("place", "rank", "call", "words"),
    [
        ("gradient", 3, 20, ("from rank 3 (replica 0 partition 0): it is killed", "replica 0 has left")),
        ("shard", 2, 300, ("from rank 2 (shard 1): it is killed", "shard 1 has died (rank 2): shard 0")),
    ],
    ids=["replica", "shard"],
)
def test_a_silent_rank_is_killed_and_the_run_goes_on(launch_ft, tmp_path, place, rank, call, words):
    fault = ("stop", place, rank, call)
    done = launch_ft(5, *fault, *COMMON, *ALGORITHMS["downpour"], module=FAULTY, timeout=BOUND_S)
    assert (done.status, messages(done)) == (0, [])
    assert all(word in done.out for word in words)
    assert summary(tmp_path / "run")["stop_reason"] == "epochs"


def test_a_silent_shard_that_nobody_can_kill_finds_out_when_it_wakes(launch_ft, tmp_path):
    """As one on a host of its own: it counts as dead, and changes nothing any more."""
    pauser = Pauser(tmp_path / "run", 4 * TIMEOUT_S, [2], TRAINED)
    arguments = (
        "none",
        "shard",
        2,
        0,
        *COMMON,
        "train.epochs=4000",
        "train.max_time=8",
        "output.every_s=0.1",
    )
    done = launch_ft(5, *arguments, module=FAULTY, timeout=BOUND_S, during=pauser, env={OUT_OF_REACH: "1"})
    assert pauser.left and done.status == 85
    assert "shard 1 has died (rank 2): shard 0" in done.out
    one_message(done, "rank 2 (shard 1)", "the run goes on without it, and it leaves")


@pytest.mark.parametrize(("fault", "too"), [("stop", ""), ("stop 0 1 3", "; also silent: shard 0")])
def test_a_silent_coordinator_is_killed_and_the_shards_write_its_checkpoint(launch_ft, tmp_path, fault, too):
    """Also if the shard that would lead them is silent itself, and a replica, which has to be ended then."""
    arguments = fault, "booking", 0, 140, *COMMON, *ALGORITHMS["downpour"]
    done = launch_ft(5, *arguments, module=FAULTY, timeout=BOUND_S)
    assert done.status == 85
    one_message(done, "no sign of life for 1.5 s from rank 0 (coordinator)", f"{too}; checkpoint ")
    assert "rank 0 has died" not in done.err
    (saved,) = resume.whole(tmp_path / "run")
    assert isinstance(saved, manifest.Checkpoint), saved
    assert not list((tmp_path / "run" / CHECKPOINTS).glob(".*"))


def test_a_coordinator_that_wakes_while_its_checkpoint_is_written_leaves_alone(launch_ft, tmp_path):
    """Nobody could kill it. Its lease tells it first, and that it is of its own job that the directory is."""
    pauser = Pauser(tmp_path / "run", 4 * TIMEOUT_S, [0], TRAINED)
    settings = ("train.epochs=4000", "output.every_s=0.1", "output.lease_s=0.1")
    fault, away = ("slow disk", "slice", 1, 1), {OUT_OF_REACH: "1"}
    done = launch_ft(5, *fault, *COMMON, *settings, module=FAULTY, timeout=BOUND_S, during=pauser, env=away)
    assert done.status == 85
    assert "no sign of life for 1.5 s" in done.err and "checkpoint 1, after" in done.err
    assert pauser.left and "rank 0 (coordinator)" in done.err and "and it leaves" in done.err
    (saved,) = resume.whole(tmp_path / "run")
    assert isinstance(saved, manifest.Checkpoint), saved
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == pauser.metrics


@pytest.mark.parametrize("partitions", [pytest.param(1, marks=pytest.mark.both_mpis), 2])
def test_where_ranks_may_not_die_a_silent_replica_means_a_checkpoint(
    launch, environment, tmp_path, partitions
):
    """Also of the only replica, whose other partition waits for the silent one.

    MPICH's launcher may give the status of the rank that stood still, and is killed at the end, as its own.
    """
    rank, shape = 2 + partitions, (f"cluster.partitions={partitions}", f"cluster.replicas={3 - partitions}")
    fault = ("stop", "gradient", rank, 20)
    done = launch(5, *fault, *COMMON, *shape, *ALGORITHMS["downpour"], module=FAULTY, timeout=BOUND_S)
    statuses = (85, 9) if environment.mpi == "mpich" else (85,)
    assert done.status in statuses and "Traceback" not in done.err
    assert f"from rank {rank} (replica 0 partition {partitions - 1}): the run goes on" in done.out
    assert summary(tmp_path / "run")["stop_reason"] == "silence"
    assert records(tmp_path / "run", "checkpoint")
    if partitions == 2:
        return
    done = launch(5, *COMMON, *ALGORITHMS["downpour"], timeout=BOUND_S)
    assert (done.status, messages(done)) == (0, [])
    assert summary(tmp_path / "run")["stop_reason"] == "epochs"


def test_a_silent_spare_rank_does_not_change_how_a_run_ends(launch_ft, tmp_path):
    pauser = Pauser(tmp_path / "run", 3 * TIMEOUT_S, [5])
    done = launch_ft(6, *COMMON, "train.epochs=2", timeout=BOUND_S, during=pauser)
    assert (done.status, messages(done)) == (0, [])
    assert (tmp_path / "run" / "finished").exists()
