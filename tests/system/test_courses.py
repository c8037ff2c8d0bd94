"""A run that goes on on other shapes learns from each row of each epoch once, as real ranks read them."""

import shutil
from collections import Counter
from dataclasses import replace

import h5py
import numpy as np
import pytest

from dbmpi.checkpoint import manifest
from dbmpi.checkpoint.directory import checkpoint_directory, construction_directory
from dbmpi.coordinator.portion_scheduler import PortionScheduler
from dbmpi.data.portions import PortionPlan
from tests.doubles.owner import owner
from tests.system.followed import learned
from tests.system.reading import QUIET, messages, summary

ROWS, EPOCHS = 400, 3
FOLLOWED = "tests.system.followed"
SETTINGS = (
    *QUIET, "train.minibatch=10", "train.portion=2", f"train.epochs={EPOCHS}", "train.divergence_factor=1e9",
    'model.layers=[{type="dense", units=4}]', "downpour.learning_rate=1e-9", "evaluation.every_epochs=0",
)  # fmt: skip


@pytest.fixture
def data(tmp_path):
    """A data file in which the first value of a row is its number."""
    draw = np.random.default_rng(0)
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        for name, rows in (("train", ROWS), ("test", 8)):
            x = draw.normal(size=(rows, 3)).astype("f4")
            x[:, 0] = np.arange(rows)
            file[f"{name}/x"], file[f"{name}/y"] = x, np.arange(rows) % 4
    return "data.path=rows.h5"


def coordinator_dies(run, plan):
    """Go on from checkpoint 1 by a plan until epoch 1 has begun, with nothing reported; write checkpoint 2.

    This is the state that shards save when the coordinator has died. Returns what was outstanding.
    """
    said = manifest.read(checkpoint_directory(run, 1)).manifest
    scheduler = PortionScheduler(plan, EPOCHS * ROWS, None)
    scheduler.restore(said.state.downpour.scheduler)
    while scheduler.epoch < 1:
        scheduler.next(0)
    state = scheduler.state()
    owned = owner(run)
    shutil.copytree(checkpoint_directory(run, 1), construction_directory(owned, 2))
    downpour = replace(said.state.downpour, scheduler=state)
    manifest.publish(owned, replace(said, number=2, state=replace(said.state, downpour=downpour)))
    return state.outstanding


def test_five_replicas_stop_three_lose_their_coordinator_and_three_go_on(launch, tmp_path, data):
    """In epoch 1 portions of epoch 0 are to be done again, which five replicas had cut."""
    run = tmp_path / "run"
    arguments = (*SETTINGS, data, "cluster.shards=1")
    first = launch(
        7, *arguments, "cluster.replicas=5", "train.steps=13", "--run-dir", run, module=FOLLOWED, timeout=60
    )
    assert (first.status, messages(first)) == (0, [])
    outstanding = coordinator_dies(run, PortionPlan(ROWS, 10, 3, 1, 2))
    assert {portion.part for portion in outstanding if portion.epoch == 0} >= {3, 4}
    last = launch(5, *arguments, "cluster.replicas=3", "--run-dir", run, module=FOLLOWED, timeout=60)
    assert (last.status, messages(last)) == (0, [])
    assert learned(tmp_path) == Counter({(epoch, row): 1 for epoch in range(EPOCHS) for row in range(ROWS)})
    content = summary(run)
    assert (content["examples"], content["stop_reason"]) == (EPOCHS * ROWS, "epochs")
    assert content["rows_again"] == sum(portion.examples for portion in outstanding)
    assert content["rows_lost"] == 0
