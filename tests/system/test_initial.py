"""First parameters out of a trained model, on ranks."""

from pathlib import Path

import numpy as np
import pytest

from tests.system.conftest import Launch
from tests.system.reading import QUIET, parameters

SMALL = (*QUIET, "model.layers.0.units=30", "evaluation.every_epochs=0", "downpour.rule=sgd")
STILL = ("downpour.learning_rate=1e-30", "cluster.partitions=2", "cluster.shards=2")


@pytest.mark.beside
def test_shards_begin_with_their_parts_of_a_model(launch: Launch, tmp_path: Path) -> None:
    model, run = tmp_path / "first" / "model.h5", tmp_path / "second"
    assert launch(0, *SMALL, "train.steps=9", "--run-dir", model.parent).status == 0
    begun = launch(7, *SMALL, *STILL, f"train.initial={model}", "train.steps=2", "--run-dir", run)
    assert begun.status == 0 and "first parameters from" in begun.out
    before, after = parameters(model.parent), parameters(run)
    assert before and all(np.array_equal(before[name], after[name]) for name in before)
