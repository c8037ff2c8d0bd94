"""The score of a checkpoint is that of its parameters: each is evaluated again, by NumPy alone."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from dbmpi.checkpoint import pruning, resume
from dbmpi.checkpoint.directory import INDEX
from dbmpi.data import digits
from tests.system.reading import summary

pytestmark = pytest.mark.beside

LAYERS = 'model.layers=[{type="dense",units=20,activation="tanh"},{type="dense",units=10}]'
COMMON = ("--set", LAYERS, "checkpoint.keep=999", "output.progress=none", "--run-dir", "run")


def accuracy(index: Path) -> float:
    """Return the share of the held-out digits that the parameters of a checkpoint classify rightly."""
    with h5py.File(digits.path()) as file, h5py.File(index) as saved:
        x, y = file["test/x"], file["test/y"][:]
        h = (x[:].reshape(len(y), -1) * x.attrs["scale"] + x.attrs.get("offset", 0.0)).astype(np.float32)
        tensors = {name: saved[f"parameters/{name}"][:] for name in saved["parameters"]}
    for layer in range(2):
        h = h @ tensors[f"layers.{layer}.weight"].T + tensors[f"layers.{layer}.bias"]
        h = np.tanh(h) if layer == 0 else h
    return float((h.argmax(axis=1) == y).mean())


@pytest.mark.parametrize(
    ("ranks", "settings"),
    [
        (5, ("cluster.shards=2", "train.epochs=30", "checkpoint.every_s=0.05", "downpour.n_push=3")),
        (5, ("train.epochs=30", "checkpoint.every_examples=5000", "evaluation.every_epochs=0.3")),
        (0, ("train.epochs=100", "checkpoint.every_s=0.05", "evaluation.every_s=0.03")),
        (4, ("train.algorithm=sandblaster", "sandblaster.iterations=40", "checkpoint.every_examples=4000")),
    ],
)
def test_every_score_belongs_to_its_parameters(launch, tmp_path, ranks, settings):
    done = launch(ranks, *COMMON, "--set", *settings)
    assert done.status == 0
    found = list(resume.whole(tmp_path / "run"))
    scores = [one.manifest.score for one in found]
    assert len(found) >= 5 and sum(score is not None for score in scores) >= 3
    for one, score in zip(found, scores, strict=True):
        if score is not None:
            assert accuracy(one.path / INDEX) == pytest.approx(score, abs=1e-6)
    assert scores[0] == summary(tmp_path / "run")["test_accuracy"]  # of the last parameters
    assert pruning.best_of(tmp_path / "run")[0] == max(score for score in scores if score is not None)
