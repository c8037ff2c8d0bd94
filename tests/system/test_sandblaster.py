"""Whole runs of Sandblaster: what they write, that its numbers are right, and every way to end."""

import re

import numpy as np
import pytest

from dbmpi.data import digits
from tests.system.conftest import launch_in
from tests.system.reading import QUIET, messages, one_message, outputs, parameters, records, split, summary

BATCH = ("--set", "train.algorithm=sandblaster", "train.minibatch=60")
PARTS = ("passes_s",), ("commands_s", "bookkeeping_s")
RELU = ["relu", "identity"]  # of the default layers
L2 = 0.01


def objective(run, l2=0.0):
    """Mean loss of the saved model on the training set, and its penalty, by NumPy alone."""
    x, labels = split(digits.located("digits"), "train")
    z = outputs(run, x, RELU)
    z -= z.max(axis=1, keepdims=True)
    loss = float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(labels)), labels]))
    weights = [v for name, v in parameters(run).items() if name.endswith("weight")]
    return loss + l2 / 2 * sum(float((w.astype(np.float64) ** 2).sum()) for w in weights)


def losses(run):
    return [record["loss"] for record in records(run, "iteration")]


@pytest.fixture(scope="module")
def run_of_seven(environment, tmp_path_factory):
    """2 shards and 2 replicas of 2 partitions; the run's directory, and what it printed."""
    directory = tmp_path_factory.mktemp("seven")
    cluster = ("cluster.shards=2", "cluster.replicas=2", "cluster.partitions=2")
    settings = ("sandblaster.iterations=25", "evaluation.every_epochs=4", f"model.l2={L2}")
    done = launch_in(environment, directory)(7, *BATCH, *cluster, *settings, "--run-dir", "run")
    assert done.status == 0, done
    return directory / "run", done


@pytest.mark.both_mpis
def test_a_run_minimizes_the_loss_and_says_so(run_of_seven):
    run, done = run_of_seven
    assert messages(done) == []
    assert "7 ranks = 1 coordinator + 2 shards + 2 replicas x 2 partitions" in done.out
    assert "gradients are added up as they come" in done.out
    assert "ended by iterations after 25 iterations" in done.out
    content = summary(run)
    assert content["test_accuracy"] > 0.9 and content["iterations"] == 25
    assert losses(run)[-1] < 0.2 * losses(run)[0]


def test_numpy_gets_the_last_loss_from_the_saved_model(run_of_seven):
    run, _ = run_of_seven
    assert losses(run)[-1] == pytest.approx(objective(run, L2), rel=1e-5)


def test_every_pass_counts_every_example_once(run_of_seven):
    run, _ = run_of_seven
    content, moments = summary(run), records(run, "iteration")
    assert content["passes"] == sum(moment["evaluations"] for moment in moments) >= 26
    assert content["examples"] == content["passes"] * 1437
    portions = content["passes"] * 24  # of 60 examples
    assert sum(replica["won"] for replica in records(run, "replica")) == portions
    assert [moment["examples"] for moment in moments[:2]] == [1437, 1437 * (1 + moments[1]["evaluations"])]


def test_what_is_seen_of_an_iteration(run_of_seven):
    run, _ = run_of_seven
    fields = {
        "iteration", "loss", "gradient_norm", "step_length", "evaluations", "restarted", "examples_per_s",
        "passes_s", "commands_s", "bookkeeping_s", "waited_s",
    }  # fmt: skip
    moments = records(run, "iteration")
    assert [moment["iteration"] for moment in moments] == list(range(26))
    assert all(fields <= moment.keys() and moment["passes_s"] > 0 for moment in moments)
    assert all(moment["commands_s"] + moment["bookkeeping_s"] > 0 for moment in moments)
    passes, others = (sum(moment[name] for moment in moments for name in names) for names in PARTS)
    assert others < passes
    replicas = records(run, "replica")
    assert [replica["replica"] for replica in replicas] == [0, 1]
    content = summary(run)
    assert 0 <= content["copies_used"] <= content["copies"]
    assert sum(replica["lost"] for replica in replicas) >= content["copies_used"]
    assert len(records(run, "eval")) >= 6 and records(run, "eval")[-1]["final"]


def test_one_process_does_the_same(launch, tmp_path, run_of_seven):
    run, _ = run_of_seven
    settings = ("sandblaster.iterations=25", f"model.l2={L2}", *QUIET[1:])
    as_a_user = {"OMPI_MCA_pml": None, "OMPI_MCA_btl": None}  # with all transports that there are
    assert launch(0, *BATCH, *settings, "--run-dir", "serial", env=as_a_user).status == 0
    np.testing.assert_allclose(losses(tmp_path / "serial")[:8], losses(run)[:8], rtol=1e-3)


def test_conjugate_gradients(launch, tmp_path):
    settings = ("sandblaster.method=conjugate_gradient", "sandblaster.iterations=30", *QUIET[1:])
    assert launch(4, *BATCH, *settings, "--run-dir", "run").status == 0
    assert losses(tmp_path / "run")[-1] < 0.1 * losses(tmp_path / "run")[0]


def test_samples_are_seen_at_both_ends_of_a_step(launch, tmp_path):
    settings = ("sandblaster.sample=0.5", "sandblaster.iterations=20", *QUIET[1:])
    assert launch(4, *BATCH, *settings, "--run-dir", "run").status == 0
    run = tmp_path / "run"
    assert all(moment["evaluations"] >= 2 for moment in records(run, "iteration")[1:])
    assert summary(run)["examples"] == summary(run)["passes"] * 720
    assert objective(run) < 0.3


def test_a_warmstart_comes_first(launch, tmp_path):
    settings = ("sandblaster.warmstart_examples=3000", "sandblaster.iterations=5", *QUIET[1:])
    assert launch(4, *BATCH, *settings, "--run-dir", "run").status == 0
    first, *rest = records(tmp_path / "run", "iteration")
    assert 3000 + 1437 <= first["examples"] <= 3060 + 1437 and first["loss"] < 1.0
    assert rest[-1]["loss"] < first["loss"]
    assert records(tmp_path / "run", "shard")[-1]["updates"] > 0  # of the warmstart


def test_time_ends_a_run_within_a_pass_at_the_best_that_was_found(launch, tmp_path):
    slow = ("slow", "gradient", 2, 1)
    settings = ("train.max_time=2.5", "sandblaster.backup=false", "train.minibatch=100", *QUIET[1:])
    done = launch(4, *slow, *BATCH, *settings, "--run-dir", "run", module="tests.system.faulty")
    assert done.status == 85 and "ended by max_time" in done.out
    run = tmp_path / "run"
    assert summary(run)["train_s"] < 4.0  # a pass takes more than half a second
    assert losses(run)[-1] == pytest.approx(objective(run), rel=1e-5)


def test_a_target_ends_a_run(launch, tmp_path):
    done = launch(4, *BATCH, "train.target.accuracy=0.9", *QUIET[1:], "--run-dir", "run")
    assert done.status == 0 and "ended by target" in done.out
    assert summary(tmp_path / "run")["test_accuracy"] >= 0.9 and summary(tmp_path / "run")["iterations"] < 50


def test_epochs_end_a_run_where_they_are_given(launch, tmp_path):
    done = launch(3, *BATCH, "train.epochs=5", *QUIET[1:], "--run-dir", "run")
    assert done.status == 0 and "ended by epochs" in done.out
    assert 5 <= summary(tmp_path / "run")["passes"] <= 7


def test_convergence_ends_a_run(launch, tmp_path):
    settings = ("model.l2=1.0", "sandblaster.decrease_tolerance=1e-4", *QUIET[1:])
    done = launch(3, *BATCH, *settings, "--run-dir", "run")
    assert done.status == 0 and "ended by converged" in done.out
    assert summary(tmp_path / "run")["iterations"] < 100


def test_an_idle_replica_takes_over_from_a_slow_one(launch, tmp_path):
    settings = ("sandblaster.iterations=3", *QUIET[1:])
    command = ("slow", "gradient", 3, 1, *BATCH, *settings, "cluster.replicas=3", "--run-dir", "run")
    done = launch(5, *command, module="tests.system.faulty")
    assert done.status == 0
    content, replicas = summary(tmp_path / "run"), records(tmp_path / "run", "replica")
    assert content["copies_used"] > 0
    assert replicas[1]["won"] < min(replicas[0]["won"], replicas[2]["won"])
    assert sum(replica["won"] for replica in replicas) == content["passes"] * 24


def test_the_coordinator_s_memory_does_not_grow_with_the_model(launch):
    """Invariant 7; the shard's, which has 28 vectors, shows that it would be seen."""
    peaks = []
    for units in (16, 2048):
        model = f'model.layers=[{{type="dense", units={units}}}, {{type="dense", units=10}}]'
        settings = (model, "sandblaster.iterations=12", "cluster.shards=1", *QUIET[1:])
        done = launch(3, *BATCH, *settings, module="tests.system.memory", env={"NUMBA_NUM_THREADS": "1"})
        assert done.status == 0
        peaks.append({int(rank): int(kb) for rank, kb in re.findall(r"peak (\d) (\d+)", done.err)})
    small, large = peaks
    assert large[1] - small[1] > 12_000  # kilobytes: 154,000 parameters in 28 vectors
    assert large[0] - small[0] < 2_000


def test_mistakes_are_refused(launch):
    one_message(launch(0, *BATCH, "train.steps=10"), "train.steps", "sandblaster.iterations")
    layers = 'model.layers=[{type="dropout", rate=0.5}, {type="dense", units=10}]'
    one_message(launch(0, *BATCH, layers), "dropout", "train.algorithm")


def test_a_loss_that_is_not_finite_at_the_start_ends_the_run(launch):
    done = launch(3, "nan", "gradient", 2, 5, *BATCH, *QUIET[1:], module="tests.system.faulty")
    assert done.status == 3
    one_message(done, "can go no further")


@pytest.mark.both_mpis
def test_a_failing_replica_ends_the_job(launch):
    done = launch(5, "raise", "gradient", 3, 40, *BATCH, *QUIET[1:], module="tests.system.faulty", timeout=60)
    assert done.status == 1
    assert "rank 3 (replica 1 partition 0)" in one_message(done, "Broken: for the test", traceback=True)


def test_without_a_silent_replica_a_checkpoint_is_taken_and_the_job_ends(launch):
    settings = ("cluster.timeout_s=2", "sandblaster.iterations=5000", *QUIET[1:])
    done = launch(5, "stop", "gradient", 3, 40, *BATCH, *settings, module="tests.system.faulty", timeout=60)
    assert done.status == 85
    assert "rank 3 (replica 1 partition 0)" in done.out
