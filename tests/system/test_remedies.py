"""What messages tell to do, done word by word: the run begins, and says no more about it."""

import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from dbmpi.config.load import load
from dbmpi.data.describe import describe
from dbmpi.data.fits import check_fits, doubts
from dbmpi.data.scaling import measure
from dbmpi.data.split import Split
from dbmpi.errors import STATUS_OK, STATUS_USER_ERROR, UserError
from dbmpi.layout.network import build
from dbmpi.run.plan.cautions import caution
from dbmpi.run.plan.checks import warnings
from dbmpi.run.plan.choices import complete
from dbmpi.run.plan.tasks import with_task
from tests.system.reading import QUIET, one_message

pytestmark = pytest.mark.beside

RNG = np.random.default_rng(3)
ROWS, OUTPUTS = 60, 10
X = RNG.normal(size=(ROWS, 4)).astype("f4")
CLASSES = np.arange(ROWS) % OUTPUTS


def written(path: Path, y: np.ndarray, x: np.ndarray = X) -> Path:
    """Write a data file whose splits are the same."""
    with h5py.File(path, "w") as file:
        for split in ("train", "test"):
            file[f"{split}/x"], file[f"{split}/y"] = x, y
    return path


def complaint(path: Path, outputs: int, loss: str) -> str:
    """Return what is said of a data file; nothing where all is well."""
    try:
        description = describe(path)
        check_fits(description, outputs, loss)
    except UserError as error:
        return str(error)
    return doubts(description, outputs)


def follow(said: str, y: np.ndarray, outputs: int, loss: str, choice: int) -> tuple[np.ndarray, int, str]:
    """Do what a message says: `choice` of what it leaves the choice of. Return targets, units and loss."""
    remedy = said.rpartition("; ")[2] if "; " in said else said.rpartition(": ")[2]
    if "(y.astype" in said or "labels as integers (" in said:
        remedy = said.partition("as integers (")[2]
    way = re.split(r", or (?:set|give)|\) or ", remedy)[choice]
    names = {"numpy": np, "y": y, "seen": np.unique(y), "names": np.unique(y)}
    code = re.search(r"(?:store )?((?:numpy|y)[. ][^;]*?)(?: as y|, or|, and| if |\)? or |, with|$)", way)
    if choice == 0 and code:
        y = np.asarray(eval(code[1], names))
    if units := re.search(r"(\d+)(?: units?)?(?: \(model.layers\))?$", way) if "give" in remedy else None:
        outputs = int(units[1])
    if choice and "squared" in remedy:
        loss = "squared"
    return y, outputs, loss


LABELS = {
    "gaps": (CLASSES * 10, 10, "softmax", "there are 10 labels"),
    "one gap": (np.where(CLASSES == 4, 5, CLASSES), 10, "softmax", "hold 9 labels"),
    "from 1": (CLASSES + 1, 10, "softmax", "store y - 1"),
    "from 7": (CLASSES + 7, 10, "softmax", "store y - 7"),
    "ids": (CLASSES * 10**9, 10, "softmax", "there are 10 labels"),
    "few units": (CLASSES, 1, "softmax", "has 1 unit "),
    "many units": (CLASSES, 12, "softmax", "of which 2 can learn nothing"),
    "one-hot": (np.eye(OUTPUTS, dtype="i8")[CLASSES], 10, "softmax", "argmax"),
    "one-hot bytes": (np.eye(OUTPUTS, dtype="u1")[CLASSES], 10, "softmax", "argmax"),
    "one-hot floats": (np.eye(OUTPUTS, dtype="f4")[CLASSES], 10, "softmax", "argmax"),
    "one-hot truths": (np.eye(OUTPUTS, dtype=bool)[CLASSES], 10, "softmax", "argmax"),
    "a column": (CLASSES[:, None], 10, "softmax", "reshape"),
    "a column of floats": (CLASSES[:, None].astype("f4"), 10, "softmax", "reshape"),
    "floats": (CLASSES.astype("f8"), 10, "softmax", "reshape"),
    "texts": (np.array([b"n%d" % one for one in CLASSES]), 10, "softmax", "unique"),
}


@pytest.mark.parametrize("name", LABELS)
def test_what_is_said_of_labels_is_the_end_of_it(tmp_path, name):
    y, outputs, loss, part = LABELS[name]
    said = complaint(written(tmp_path / "a.h5", y), outputs, loss)
    assert part in said
    y, outputs, loss = follow(said, y, outputs, loss, 0)
    assert complaint(written(tmp_path / "b.h5", y), outputs, loss) == ""


@pytest.mark.parametrize("name", ["one-hot floats", "a column of floats", "floats"])
def test_floats_are_targets_of_another_loss(tmp_path, name):
    y, outputs, loss, _ = LABELS[name]
    said = complaint(written(tmp_path / "a.h5", y), outputs, loss)
    y, outputs, loss = follow(said, y, outputs, loss, 1)
    assert (loss, complaint(written(tmp_path / "b.h5", y), outputs, loss)) == ("squared", "")


def test_a_target_that_is_alone_is_one(tmp_path):
    said = complaint(written(tmp_path / "a.h5", CLASSES.astype("f4")), 10, "squared")
    assert "hold 1 target for each" in said and said.endswith("give it 1")


def test_a_dry_run_finds_what_a_run_refuses(launch, tmp_path):
    data = written(tmp_path / "a.h5", CLASSES.astype("f4"))
    settings = ("--set", f"data.path={data}", "model.loss=squared", "model.layers.1.units=1")
    for mode in ("--dry-run", "--resume"):
        done = launch(0, *settings, "train.target.accuracy=0.9", mode)
        assert done.status == STATUS_USER_ERROR
        assert "leave it out, or give train.target.loss instead" in one_message(done)
    assert launch(0, "--dry-run", *settings, "train.target.loss=0.1").status == STATUS_OK


def test_a_configuration_of_a_cluster_runs_alone_by_what_the_message_adds(launch):
    settings = ("--set", "cluster.shards=2", "cluster.replicas=3", "cluster.partitions=2", "train.steps=1")
    said = one_message(launch(0, *settings))
    assert "mpirun -n 9," in said
    words = said.split("add ")[1].split()
    assert launch(0, *settings, *words).status == STATUS_OK


def test_a_checkpoint_that_there_is_not_is_not_damaged(launch, tmp_path):
    assert launch(0, *QUIET, "train.epochs=1", "--run-dir", "run").status == STATUS_OK
    done = launch(0, "run", "--show", "7", module="dbmpi.checkpoint")
    assert done.status == STATUS_USER_ERROR and done.err.endswith("no checkpoint 7; give 1\n")
    assert launch(0, "run", "--show", "1", module="dbmpi.checkpoint").status == STATUS_OK


def test_a_data_file_that_is_touched_is_not_called_damaged(tmp_path):
    path = written(tmp_path / "a.h5", CLASSES)
    with Split(path, "train") as split:
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
        with pytest.raises(UserError, match="or its time was; leave it alone while a run reads it") as error:
            split.read([(0, 4)])
    assert "damaged" not in str(error.value)
    assert complaint(path, OUTPUTS, "softmax") == ""  # the same command


@pytest.mark.parametrize("loss", ["softmax", "squared"])
def test_columns_and_targets_of_unlike_sizes_are_mended_once(tmp_path, loss):
    """A constant column too: its standard deviation is 0."""

    def scaled(values):
        deviations = values.std(axis=0)
        return (values - values.mean(axis=0)) / np.where(deviations == 0, 1, deviations)

    x = np.stack([*(X * [1, 1e4, 1e-3, 7]).T, np.full(ROWS, 5.0)], axis=1)
    y = CLASSES if loss == "softmax" else 1e3 + np.stack([CLASSES, np.zeros(ROWS)], axis=1)
    path = written(tmp_path / "a.h5", y, x)
    assert all('set data.scaling = "columns"' in text for text in describe(path).warnings)
    with Split(path, "train") as train:
        found = measure(train, "columns")
    np.testing.assert_allclose(x * np.array(found.scale) + np.array(found.offset), scaled(x), atol=1e-5)
    if loss == "squared":
        mended = y * np.array(found.target_scale) + np.array(found.target_offset)
        np.testing.assert_allclose(mended, scaled(y), atol=1e-9)
    config, data = load(None, ["data.scaling=columns"]), describe(path)
    resolved = with_task(config, data)
    network = build(resolved, data.input_shape)
    chosen = complete(resolved, network, ROWS, 1)
    assert len(data.warnings) == (2 if loss == "squared" else 1)
    assert not set(data.warnings) & set(warnings(config, chosen, network, data, 1))


@pytest.mark.parametrize("average", [1, 2])
def test_a_rule_for_fewer_replicas_is_replaced_by_one_that_may_be(average):
    settings = ["train.algorithm=downpour", f"downpour.average={average}"]
    given = load(None, [*settings, "downpour.rule=momentum"])
    for rule in re.search("take (.*), or fewer", caution(given, 64))[1].split(", "):
        assert caution(load(None, [*settings, f"downpour.rule={rule}"]), 64) == ""
