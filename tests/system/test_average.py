"""Averaged parameters (`train.average`): what they are, and that evaluations and the model are of them."""

import h5py
import numpy as np
import pytest

from dbmpi.checkpoint import pruning
from dbmpi.checkpoint.directory import INDEX, checkpoint_numbers
from dbmpi.data import digits
from tests.system.reading import QUIET, one_message, outputs, parameters, split, summary

pytestmark = pytest.mark.beside

LAYERS = 'model.layers=[{type="dense",units=20,activation="tanh"},{type="dense",units=10}]'
COMMON = (*QUIET, LAYERS, "train.minibatch=50", "train.average=0.99")


def vector(run):
    """Return the model of a run as the vector that one partition has."""
    return np.concatenate(
        [parameters(run)[f"layers.{n}.{part}"].ravel() for n in (0, 1) for part in ("weight", "bias")]
    )


def accuracy(run):
    """Return what the model gets right of the held-out digits, by NumPy."""
    x, y = split(digits.path(), "test")
    return float((outputs(run, x, ["tanh", "identity"]).argmax(axis=1) == y).mean())


def averaged(run):
    """Return whether a model says that it is an average."""
    with h5py.File(run / "model.h5") as file:
        return bool(file.attrs["averaged"])


def test_the_average_of_a_serial_run_is_that_of_its_parameters_after_each_step(launch, tmp_path):
    done = launch(
        0,
        *COMMON,
        "train.average=0.98",
        "train.steps=600",
        "--run-dir",
        "run",
        module="tests.system.stepwise",
    )
    assert done.status == 0
    average, *steps = np.load(tmp_path / "steps.npy").astype(np.float64)
    assert len(steps) == 600
    for t, values in enumerate(steps, start=1):
        kept = min(0.98, (1 + t) / (10 + t))
        if t <= 512:
            average = kept * average + (1 - kept) * values
        elif (t - 512) % 16 == 0:
            average = kept**16 * average + (1 - kept**16) * values
    np.testing.assert_allclose(vector(tmp_path / "run"), average, rtol=1e-5, atol=1e-6)
    assert np.abs(average - steps[-1]).max() > 1e-3 and averaged(tmp_path / "run")
    assert summary(tmp_path / "run")["test_accuracy"] == pytest.approx(accuracy(tmp_path / "run"), abs=1e-9)


@pytest.mark.both_mpis
def test_an_average_goes_on_to_two_partitions_and_two_shards_as_if_serial(launch, tmp_path):
    cluster = ("cluster.shards=2", "cluster.replicas=1", "cluster.partitions=2")
    rate = ("downpour.learning_rate=0.05", "downpour.schedule.warmup_epochs=0")
    fixed = (*COMMON, *rate, "model.dtype=float64", "train.algorithm=sync")
    for ranks, steps, more in ((0, 300, ("serial",)), (0, 150, ("parts",)), (5, 300, ("parts", *cluster))):
        name, *shape = more
        done = launch(ranks, *fixed, f"train.steps={steps}", *shape, "--run-dir", name)
        assert done.status == 0 and ("goes on from checkpoint" in done.out) == (ranks > 0)
    np.testing.assert_allclose(vector(tmp_path / "parts"), vector(tmp_path / "serial"), rtol=1e-7, atol=1e-9)
    losses = [summary(tmp_path / name)["test_loss"] for name in ("serial", "parts")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_a_run_goes_on_with_an_average_without_and_on_another_shape(launch, tmp_path):
    run, plain = tmp_path / "run", "train.average=none"
    for ranks, steps, more in ((0, 100, plain), (4, 200, ""), (5, 300, "cluster.shards=2"), (0, 400, plain)):
        given = (f"train.steps={steps}", *([more] if more else []))
        done = launch(ranks, *COMMON, *given, "--run-dir", "run")
        assert done.status == 0 and ("goes on from checkpoint" in done.out) == (steps > 100)
        assert averaged(run) == (more != plain)
        assert summary(run)["test_accuracy"] == pytest.approx(accuracy(run), abs=1e-9)
        newest = max(checkpoint_numbers(run))
        with h5py.File(run / "checkpoints" / f"{newest:06d}" / INDEX) as saved:
            assert ("rule.average" in saved) == (more != plain)


def test_the_best_checkpoint_and_the_model_of_it_are_of_the_average(launch, tmp_path):
    run = tmp_path / "run"
    done = launch(4, *COMMON, "cluster.shards=1", "train.epochs=30", "train.patience=3", "--run-dir", "run")
    assert done.status == 0
    score, number = pruning.best_of(run)
    assert score == pytest.approx(accuracy(run), abs=1e-9) and averaged(run)
    with h5py.File(run / "checkpoints" / f"{number:06d}" / INDEX) as saved:
        for name, values in parameters(run).items():
            assert np.array_equal(values, saved[f"rule.average/{name}"][:])


def test_a_batch_method_has_none(launch):
    done = launch(0, *COMMON, "train.algorithm=sandblaster")
    assert done.status == 2
    one_message(done, "train.average = 0.99", 'train.algorithm = "sandblaster"', "leave it out")
