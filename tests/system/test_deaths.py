"""Ranks that die under `mpirun --with-ft ulfm`: the run goes on without them, or it ends at once.

Not with MPICH, whose launcher ends the job in any case (tests/system/test_failures.py).
"""

import random
from itertools import pairwise

import h5py
import numpy as np
import pytest

from dbmpi.checkpoint import manifest, resume
from dbmpi.checkpoint.directory import CHECKPOINTS, INDEX, checkpoint_directory
from dbmpi.checkpoint.vector_names import AVERAGE_VECTOR, PARAMETER_VECTOR
from scripts import launcher
from scripts.chaos.victims import Killer
from tests.system.conftest import launch_in
from tests.system.faulty import NO_SHARING
from tests.system.reading import QUIET, messages, one_message, parameters, records, summary

FAULTY = "tests.system.faulty"
FT = "--with-ft ulfm --mca coll ^han --mca mpi_preconnect_mpi 1 --mca mpi_yield_when_idle 1".split()
ALGORITHMS = {
    "downpour": ("train.epochs=20",),
    "sync": ("train.algorithm=sync", "train.epochs=20"),
    "sandblaster": (
        "train.algorithm=sandblaster",
        "train.minibatch=60",
        "sandblaster.iterations=40",
        "model.dtype=float64",
        "model.l2=0.01",
    ),
}
OTHERS = "downpour", "sandblaster"  # for what rounds make no difference to
SHAPES = {1: (5, "cluster.replicas=3"), 2: (6, "cluster.replicas=2")}  # partitions: ranks, with 1 shard
POINT = 0.01
BOUND_S = 60.0  # start-up on a busy machine included
LONG = ("train.epochs=4000", "evaluation.every_epochs=0")


class Tolerant(launcher.Environment):
    """An environment whose launcher lets ranks die."""

    def mpiexec(self, ranks: int) -> list[str]:
        """See `Environment.mpiexec`."""
        program, *flags = super().mpiexec(ranks)
        return [program, *FT, *flags]


@pytest.fixture(scope="module")
def launch_in_ft(environment):
    """Return `launch_in` of a directory, under ULFM."""
    if environment.mpi != "openmpi":
        pytest.skip("MPICH ends the job when a rank dies")
    return lambda directory: launch_in(Tolerant(environment.mpi, environment.directory), directory)


def settings(algorithm, partitions):
    ranks, replicas = SHAPES[partitions]
    cluster = ("cluster.shards=1", replicas, f"cluster.partitions={partitions}")
    return ranks, ("--run-dir", "run", *QUIET, *cluster, *ALGORITHMS[algorithm])


@pytest.fixture(scope="module")
def undisturbed(launch_in_ft, tmp_path_factory):
    """For each algorithm the directory of a run in which nobody dies."""
    found = {}
    for algorithm in ALGORITHMS:
        folder = tmp_path_factory.mktemp(algorithm)
        ranks, arguments = settings(algorithm, 1)
        done = launch_in_ft(folder)(ranks, *arguments, timeout=BOUND_S)
        assert (done.status, messages(done)) == (0, [])
        found[algorithm] = folder / "run"
    return found


def assert_good(run, calm, rank):
    """The run ended as if nothing had happened, but for the replica that left."""
    (left,) = (record["text"] for record in records(run, "event") if record["text"].startswith("replica"))
    assert f"has left: rank {rank} died; its work goes to the others" in left
    (number,) = (record["replica"] for record in records(run, "event") if "replica" in record)
    learned = records(run, "replicas")[-1]["learned"]
    assert [one is None for one in learned] == [replica == number for replica in range(len(learned))]
    content, expected = summary(run), summary(calm)
    assert content["stop_reason"] == expected["stop_reason"]
    spread = POINT if records(run, "iteration") else 2 * POINT  # undisturbed runs of Downpour lie 1.1 apart
    assert content["test_accuracy"] == pytest.approx(expected["test_accuracy"], abs=spread)
    assert set(parameters(run)) == set(parameters(calm))
    losses = [[record["loss"] for record in records(of, "iteration")] for of in (run, calm)]
    if losses[1]:  # a portion left out or counted twice would change them
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    else:
        assert (content["steps"], content["examples"]) == (expected["steps"], expected["examples"])


@pytest.mark.parametrize("partitions", SHAPES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_replica_that_is_killed_leaves_and_the_run_goes_on(
    launch_in_ft, undisturbed, tmp_path, algorithm, partitions
):
    ranks, arguments = settings(algorithm, partitions)
    rank, call = 3, random.randrange(20, 100)
    fault = ("kill", "gradient", rank, call)
    done = launch_in_ft(tmp_path)(ranks, *fault, *arguments, module=FAULTY, timeout=BOUND_S)
    assert (done.status, messages(done)) == (0, [])
    assert f"rank {rank} died" in done.out and "Traceback" not in done.err
    assert_good(tmp_path / "run", undisturbed[algorithm], rank)


@pytest.mark.parametrize("algorithm", OTHERS)
def test_a_rank_killed_from_outside_at_any_moment(launch_in_ft, undisturbed, tmp_path, algorithm):
    ranks, arguments = settings(algorithm, 2)
    killer = Killer(tmp_path / "run", list(range(2, ranks)), 0.3, random.Random())
    done = launch_in_ft(tmp_path)(ranks, *arguments, timeout=BOUND_S, during=killer)
    killer.clean()
    assert (done.status, messages(done)) == (0, [])
    assert_good(tmp_path / "run", undisturbed[algorithm], killer.rank)


@pytest.mark.parametrize(
    ("no_sharing", "rule"), [(None, "adagrad"), ("1", "adarevision")], ids=["shared", "messages, adarevision"]
)
@pytest.mark.parametrize(
    ("algorithm", "shards", "replicas", "victim"),
    [("downpour", 2, 2, 0), ("downpour", 3, 1, 1), ("sync", 2, 2, 0)],
    ids=["shard 0 of 2", "shard 1 of 3", "sync"],
)
def test_the_heir_of_a_shard_that_is_killed_goes_on_with_its_parameters(
    launch_in_ft, undisturbed, tmp_path, algorithm, shards, replicas, victim, no_sharing, rule
):
    if no_sharing and shards == 3:
        pytest.skip("one of both is enough")
    partitions = 3 - replicas
    cluster = f"cluster.shards={shards}", f"cluster.replicas={replicas}", f"cluster.partitions={partitions}"
    keys = *cluster, "checkpoint.mirror_s=0.2", *ALGORITHMS[algorithm]
    rules = [] if algorithm == "sync" else [f"downpour.rule={rule}"]
    rules += ["train.average=0.99"] if shards == 3 else []
    arguments = "--run-dir", "run", *QUIET, *keys, *rules
    fault, place = ("half", "reply") if no_sharing else ("kill", "shard")
    fault = fault, place, 1 + victim, 300  # of some 1000 requests or more
    ranks = 1 + shards + replicas * partitions
    env = {NO_SHARING: no_sharing}
    done = launch_in_ft(tmp_path)(ranks, *fault, *arguments, module=FAULTY, timeout=BOUND_S, env=env)
    assert (done.status, messages(done)) == (0, [])
    assert f"shard {victim} has died (rank {1 + victim}): shard {victim + 1}" in done.out
    run, calm = tmp_path / "run", summary(undisturbed[algorithm])
    (death,) = [record for record in records(run, "event") if "heir" in record]
    assert (death["shard"], death["heir"]) == (victim, victim + 1)
    assert 0 <= death["mirror_age_s"] < 2 and death["updates_lost"] >= 0
    assert (summary(run)["steps"], summary(run)["stop_reason"]) == (calm["steps"], "epochs")
    assert summary(run).get("versions_unknown", 0) <= 10  # at most what was on its way, and from before
    assert summary(run)["test_accuracy"] == pytest.approx(calm["test_accuracy"], abs=2 * POINT)
    assert_saved_as_ended(run)


def assert_saved_as_ended(run):
    """The last checkpoint is whole, and holds the model, though a shard has no file in it."""
    newest = next(resume.whole(run))
    assert isinstance(newest, manifest.Checkpoint), newest
    with h5py.File(newest.path / INDEX) as index:
        vector = AVERAGE_VECTOR if AVERAGE_VECTOR in index else PARAMETER_VECTOR
        saved = {name: values[...] for name, values in index[vector].items()}
    model = parameters(run)
    assert set(saved) == set(model)
    assert all(np.array_equal(saved[name], model[name]) for name in model)
    assert not list((run / CHECKPOINTS).glob(".*"))


@pytest.mark.parametrize("algorithm", OTHERS)
def test_the_model_is_written_again_when_another_shard_dies_meanwhile(
    launch_in_ft, undisturbed, tmp_path, algorithm
):
    """The coordinator speaks only with the first shard then."""
    cluster = "cluster.shards=2", "cluster.replicas=1", "cluster.partitions=1", "checkpoint.mirror_s=0.2"
    arguments = ("--run-dir", "run", *QUIET, *cluster, *ALGORITHMS[algorithm])
    fault = ("kill next", "saving", 1, 1)
    done = launch_in_ft(tmp_path)(4, *fault, *arguments, module=FAULTY, timeout=BOUND_S)
    assert (done.status, messages(done)) == (0, [])
    assert "shard 1 has died (rank 2): shard 0 (rank 1)" in done.out
    assert set(parameters(tmp_path / "run")) == set(parameters(undisturbed[algorithm]))


def test_the_model_is_that_of_the_last_checkpoint_when_a_shard_died_after_it(launch_in_ft, tmp_path):
    """The mirror is of the first parameters."""
    cluster = "cluster.shards=2", "cluster.replicas=1", "cluster.partitions=1", "checkpoint.mirror_s=100"
    fault = ("kill next", "saving", 1, 1)
    arguments = ("--run-dir", "run", *QUIET, *cluster, "train.epochs=5")
    done = launch_in_ft(tmp_path)(4, *fault, *arguments, module=FAULTY, timeout=BOUND_S)
    assert done.status == 0 and "shard 1 has died" in done.out
    newest = checkpoint_directory(tmp_path / "run", 1)
    with h5py.File(newest / INDEX) as saved:
        for name, values in parameters(tmp_path / "run").items():
            assert np.array_equal(values, saved[f"parameters/{name}"][:])


def test_a_death_while_the_model_is_written_without_mirrors_ends_the_run(launch_in_ft, tmp_path):
    cluster = "cluster.shards=2", "cluster.replicas=1", "cluster.partitions=1", "checkpoint.mirror_s=0"
    arguments = ("kill next", "saving", 1, 1, *QUIET, *cluster, "train.epochs=2")
    done = launch_in_ft(tmp_path)(4, *arguments, module=FAULTY, timeout=BOUND_S)
    assert done.status == 1
    one_message(done, "rank 2 (shard 1) has died, and the run cannot go on without it")


@pytest.mark.parametrize(
    ("shards", "victim", "request_number"),
    [(2, 1, 30), (3, 0, 300), (2, 0, 560)],
    ids=["shard 1 of 2, early", "shard 0 of 3, midway", "shard 0 of 2, late"],
)
def test_sandblaster_goes_back_to_an_iterate_when_a_shard_is_killed(
    launch_in_ft, undisturbed, tmp_path, shards, victim, request_number
):
    cluster = f"cluster.shards={shards}", "cluster.replicas=2", "cluster.partitions=1"
    arguments = ("--run-dir", "run", *QUIET, *cluster, *ALGORITHMS["sandblaster"])
    fault = ("kill", "shard", 1 + victim, request_number)
    done = launch_in_ft(tmp_path)(3 + shards, *fault, *arguments, module=FAULTY, timeout=BOUND_S)
    assert (done.status, messages(done)) == (0, [])
    successor = (victim + 1) % shards
    assert (
        f"shard {victim} has died (rank {1 + victim}): shard {successor} (rank {1 + successor})" in done.out
    )
    run, calm = tmp_path / "run", undisturbed["sandblaster"]
    numbers = [record["iteration"] for record in records(run, "iteration")]
    assert all(n - 1 <= after <= n + 1 for n, after in pairwise(numbers))
    assert len(numbers) - len(set(numbers)) <= 2  # the last one, and the one before
    losses = {record["iteration"]: record["loss"] for record in records(run, "iteration")}
    expected = [record["loss"] for record in records(calm, "iteration")]
    assert list(losses.values()) == pytest.approx(expected, rel=1e-6)
    assert_saved_as_ended(run)


@pytest.mark.parametrize(("algorithm", "shards"), [("downpour", 3), ("sandblaster", 1), ("sandblaster", 2)])
def test_when_the_coordinator_dies_the_shards_make_a_checkpoint_to_go_on_from(
    launch_in_ft, undisturbed, tmp_path, algorithm, shards
):
    cluster = f"cluster.shards={shards}", "cluster.replicas=2", "cluster.partitions=1"
    arguments = ("--run-dir", "run", *QUIET, *cluster, "checkpoint.mirror_s=0.1", *ALGORITHMS[algorithm])
    first, last = {"downpour": (120, 160), "sandblaster": (250, 500)}[algorithm]  # of some 180, 1000
    fault = ("kill", "booking", 0, random.randrange(first, last))
    ended = launch_in_ft(tmp_path)(3 + shards, *fault, *arguments, module=FAULTY, timeout=BOUND_S)
    assert ended.status == 85
    one_message(ended, "rank 0 (coordinator) has died", "checkpoint 1, after")
    run, calm = tmp_path / "run", undisturbed[algorithm]
    (saved,) = resume.whole(run)
    assert isinstance(saved, manifest.Checkpoint), saved
    assert not list((run / CHECKPOINTS).glob(".*"))
    done = launch_in_ft(tmp_path)(3 + shards, *arguments, timeout=BOUND_S)
    assert (done.status, messages(done)) == (0, [])
    assert "goes on from checkpoint 1" in done.out
    if algorithm == "sandblaster":
        losses = {record["iteration"]: record["loss"] for record in records(run, "iteration")}
        assert list(losses.values()) == pytest.approx(
            [record["loss"] for record in records(calm, "iteration")], rel=1e-6
        )
    else:
        assert summary(run)["steps"] == summary(calm)["steps"]
        assert summary(run)["test_accuracy"] > summary(calm)["test_accuracy"] - 2 * POINT


def test_a_coordinator_that_dies_early_leaves_the_checkpoint_of_the_job_before(launch_in_ft, tmp_path):
    """Nothing is learned yet; the same command goes on all the same."""
    cluster = "cluster.shards=2", "cluster.replicas=1", "cluster.partitions=1", "checkpoint.mirror_s=100"
    arguments = ("--run-dir", "run", *QUIET, *cluster, "train.minibatch=100")
    assert launch_in_ft(tmp_path)(4, *arguments, "train.epochs=1", timeout=BOUND_S).status == 0
    fault = ("kill", "booking", 0, 1)
    done = launch_in_ft(tmp_path)(4, *fault, *arguments, "train.epochs=9", module=FAULTY, timeout=BOUND_S)
    assert done.status == 85
    one_message(done, "rank 0 (coordinator) has died", "checkpoint 1 has it all")


@pytest.mark.parametrize(
    ("shards", "fault", "words"),
    [
        (1, "kill", "rank 1 (shard 0) has died, and the run cannot go on without it"),
        (
            2,
            "kill 1 2",
            "rank 1 (shard 0), rank 2 (shard 1) have died, and the run cannot go on without them",
        ),
    ],
    ids=["the only shard", "a shard and its successor"],
)
def test_a_death_that_ends_the_run_is_told_once_and_soon(launch_in_ft, tmp_path, shards, fault, words):
    cluster = (f"cluster.shards={shards}", "cluster.replicas=1", "cluster.partitions=1")
    arguments = (fault, "shard", 1, 20, *QUIET, *cluster, *LONG)
    done = launch_in_ft(tmp_path)(2 + shards, *arguments, module=FAULTY, timeout=BOUND_S)
    assert done.status == 1
    one_message(done, words, "there is no checkpoint to go on from")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_without_a_replica_the_shards_make_a_checkpoint_to_go_on_from(
    launch_in_ft, undisturbed, tmp_path, algorithm
):
    cluster = ("cluster.shards=2", "cluster.replicas=1", "cluster.partitions=1")
    arguments = ("--run-dir", "run", *QUIET, *cluster, *ALGORITHMS[algorithm])
    fault = ("kill", "gradient", 3, 100)
    done = launch_in_ft(tmp_path)(4, *fault, *arguments, module=FAULTY, timeout=BOUND_S)
    assert (done.status, messages(done)) == (85, [])
    assert "no replica is left to go on with: rank 3 died" in done.out
    again = launch_in_ft(tmp_path)(4, *arguments, timeout=BOUND_S)
    assert again.status == 0 and "goes on from checkpoint 1" in again.out
    content, expected = summary(tmp_path / "run"), summary(undisturbed[algorithm])
    assert content["stop_reason"] == expected["stop_reason"]
    if algorithm == "downpour":
        assert content["examples"] == expected["examples"]


@pytest.mark.parametrize(("algorithm", "call"), [("downpour", 1), ("sandblaster", 6)])
def test_a_shard_that_dies_before_the_first_minibatch_has_cover(
    launch_in_ft, undisturbed, tmp_path, algorithm, call
):
    """The first call is a command of before there is any work; the sixth one is of the first pass."""
    cluster = "cluster.shards=2", "cluster.replicas=1", "cluster.partitions=1", "checkpoint.mirror_s=1000"
    arguments = ("--run-dir", "run", *QUIET, *cluster, *ALGORITHMS[algorithm])
    fault = ("kill", "shard", 1, call)
    done = launch_in_ft(tmp_path)(4, *fault, *arguments, module=FAULTY, timeout=BOUND_S)
    assert (done.status, messages(done)) == (0, [])
    assert "shard 0 has died" in done.out and "shard 1) is the last shard" in done.out
    expected = summary(undisturbed[algorithm])["test_accuracy"]
    assert summary(tmp_path / "run")["test_accuracy"] == pytest.approx(expected, abs=2 * POINT)


@pytest.mark.parametrize(
    ("algorithm", "dead"), [("downpour", "0"), ("sandblaster", "0 1"), ("downpour", "0 2")]
)
def test_a_coordinator_that_dies_at_once_leaves_a_checkpoint_even_with_a_shard(
    launch_in_ft, tmp_path, algorithm, dead
):
    cluster = "cluster.shards=2", "cluster.replicas=1", "cluster.partitions=1", "checkpoint.mirror_s=1000"
    arguments = ("--run-dir", "run", *QUIET, *cluster, *ALGORITHMS[algorithm])
    fault = (f"kill {dead}", "booking", 0, 1)
    done = launch_in_ft(tmp_path)(4, *fault, *arguments, module=FAULTY, timeout=BOUND_S)
    assert done.status == 85
    one_message(done, "rank 0 (coordinator) has died", "checkpoint 1, after 0 examples")
    (saved,) = resume.whole(tmp_path / "run")
    assert isinstance(saved, manifest.Checkpoint), saved
    assert not list((tmp_path / "run" / CHECKPOINTS).glob(".*"))


def test_several_shards_that_die_at_once_go_back_to_one_iterate(launch_in_ft, undisturbed, tmp_path):
    cluster = "cluster.shards=4", "cluster.replicas=1", "cluster.partitions=1"
    arguments = ("--run-dir", "run", *QUIET, *cluster, *ALGORITHMS["sandblaster"])
    fault = ("kill 1 3", "shard", 1, random.randrange(40, 200))
    done = launch_in_ft(tmp_path)(6, *fault, *arguments, module=FAULTY, timeout=BOUND_S)
    assert (done.status, messages(done)) == (0, [])
    assert "shard 0 has died" in done.out and "shard 2 has died" in done.out
    run, calm = tmp_path / "run", undisturbed["sandblaster"]
    losses = {record["iteration"]: record["loss"] for record in records(run, "iteration")}
    expected = [record["loss"] for record in records(calm, "iteration")]
    assert list(losses.values()) == pytest.approx(expected, rel=1e-6)
    assert_saved_as_ended(run)


def test_a_rank_that_does_not_come_before_the_roles_split_is_named(launch_in_ft, tmp_path):
    arguments = ("stop", "survey", 2, 1, *QUIET, "cluster.timeout_s=1")
    done = launch_in_ft(tmp_path)(4, *arguments, module=FAULTY, timeout=BOUND_S)
    assert done.status == 1
    one_message(done, "no sign of life for 1 s from rank 2 (the survey of the ranks)")


def test_a_rank_that_dies_while_mpi_starts_ends_the_job(launch_in_ft, tmp_path):
    done = launch_in_ft(tmp_path)(4, "kill", "library", 2, 1, *QUIET, module=FAULTY, timeout=BOUND_S)
    assert done.status == 1
    assert "1 of the 4 ranks of this host died while MPI started" in done.err


def test_the_death_of_all_shards_is_told_once_and_soon(launch_in_ft, tmp_path):
    """Each dies at a request of its own, and the last has nobody to go on for it."""
    cluster = ("cluster.shards=2", "cluster.replicas=2", "cluster.partitions=1", "checkpoint.mirror_s=0.2")
    arguments = ("kill", "shard", -1, 500, *QUIET, *cluster, *LONG)
    done = launch_in_ft(tmp_path)(5, *arguments, module=FAULTY, timeout=BOUND_S)
    assert done.status == 1
    one_message(done, "died, and the run cannot go on without")


def test_other_failures_end_the_job_where_ranks_may_die(launch_in_ft, tmp_path):
    """MPI's own Abort would end one process, and leave the launcher waiting."""
    cluster = ("cluster.shards=1", "cluster.replicas=2", "cluster.partitions=1")
    arguments = ("raise", "gradient", 2, 20, *QUIET, *cluster, *LONG)
    done = launch_in_ft(tmp_path)(4, *arguments, module=FAULTY, timeout=BOUND_S)
    assert done.status == 1
    one_message(done, "rank 2 (replica 0 partition 0)", "Broken: for the test", traceback=True)
