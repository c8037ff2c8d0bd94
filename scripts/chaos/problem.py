"""What the runs learn: clusters in 64 dimensions that overlap, so that all good runs end near one accuracy.

The test set is large, so that one example more or less is a fortieth of a point, and the training is long
enough for what a fault costs to be made good again where the run is as good as undisturbed.
"""

from pathlib import Path

import h5py
import numpy as np

CLASSES, INPUTS, SPREAD = 10, 64, 2.2
ROWS, TEST_ROWS = 1600, 4000
SEED = 7
PORTION = 8  # minibatches
MINIBATCH = 16
EPOCHS = {"downpour": 100, "sync": 40}  # rounds take longer
ITERATIONS = 60

CHECKPOINT_S, MIRROR_S = 1.0, 0.2
COMMON = [
    'model.layers=[{type="dense",units=16,activation="relu"},{type="dense",units=10}]',
    f"checkpoint.every_s={CHECKPOINT_S}",
    f"checkpoint.mirror_s={MIRROR_S}",
    "checkpoint.keep=3",
    "checkpoint.best=false",
    "evaluation.every_epochs=0",
    "output.progress=none",
    "output.every_s=0.2",
    "cluster.threads=1",
    "model.l2=0.01",
]


def portions(epochs: int) -> list[str]:
    """Return the settings of a run that learns so many epochs, portion by portion."""
    return [
        f"train.minibatch={MINIBATCH}",
        f"train.portion={PORTION}",
        f"train.epochs={epochs}",
        # A rate that falls: the end of a run depends little on the order in which gradients came.
        "downpour.schedule.kind=linear",
        f"downpour.schedule.decay_epochs={epochs}",
        "downpour.schedule.final=0.02",
    ]


ALGORITHMS = {
    "downpour": portions(EPOCHS["downpour"]),
    "sync": ["train.algorithm=sync", *portions(EPOCHS["sync"])],
    "sandblaster": [
        "train.algorithm=sandblaster",
        "train.minibatch=50",
        f"sandblaster.iterations={ITERATIONS}",
        "sandblaster.gradient_tolerance=0",
        "sandblaster.decrease_tolerance=0",
        "train.epochs=none",
        "model.dtype=float64",
    ],
}


def write(path: Path) -> None:
    """Write the data file: the same one always."""
    rng = np.random.default_rng(SEED)
    centers = rng.normal(size=(CLASSES, INPUTS))
    with h5py.File(path, "w") as out:
        for name, rows in (("train", ROWS), ("test", TEST_ROWS)):
            y = rng.integers(0, CLASSES, rows)
            x = centers[y] + SPREAD * rng.normal(size=(rows, INPUTS))
            out[f"{name}/x"], out[f"{name}/y"] = x.astype(np.float32), y
