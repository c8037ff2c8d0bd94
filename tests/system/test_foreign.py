"""Runs on files that others have written: names, labels, cuts, validation and patience, on real ranks."""

import h5py
import numpy as np
import pytest

from dbmpi.checkpoint import pruning
from dbmpi.checkpoint.directory import INDEX
from dbmpi.data import digits
from tests.system.reading import QUIET, one_message, outputs, parameters, records, summary

LAYERS = 'model.layers=[{type="dense",units=20,activation="tanh"},{type="dense",units=10}]'
COMMON = (*QUIET, LAYERS, "train.epochs=4", "checkpoint.keep=99")
WORDS = np.array([f"digit {one}".encode() for one in range(10)])


@pytest.fixture
def foreign(tmp_path):
    """Return a file with the digits of both splits under other names: texts, and no test set."""
    with h5py.File(digits.path()) as file, h5py.File(tmp_path / "foreign.h5", "w") as out:
        x = np.concatenate([file["train/x"][:], file["test/x"][:]])
        out["images"] = x
        out["images"].attrs["scale"] = file["train/x"].attrs["scale"]
        out["labels"] = WORDS[np.concatenate([file["train/y"][:], file["test/y"][:]])]
        out["who"] = np.arange(len(x)) // 45
    (tmp_path / "two.toml").write_text(
        '[data]\npath = "foreign.h5"\ninputs = "images"\ntargets = "labels"\nlayout = "channels_last"\n'
    )
    return tmp_path / "foreign.h5"


def same(one, other):
    """Whether two runs have left the same model, bit by bit."""
    a, b = parameters(one), parameters(other)
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_other_names_and_texts_make_the_same_model(launch, tmp_path):
    with h5py.File(digits.path()) as file, h5py.File(tmp_path / "a.h5", "w") as out:
        for split in ("train", "test"):
            x = file[f"{split}/x"]
            out.create_dataset(f"{split}/pixels", data=x[:][:, None], chunks=(x.chunks[0], 1, 8, 8))
            out[f"{split}/pixels"].attrs["scale"] = x.attrs["scale"]
            out[f"{split}/words"] = WORDS[file[f"{split}/y"][:]]
    keys = ("data.path=a.h5", "data.inputs=pixels", "data.targets=words", "data.layout=channels_first")
    assert launch(0, *COMMON, "--run-dir", "whole").status == 0
    done = launch(0, *COMMON, *keys, "--run-dir", "foreign")
    assert done.status == 0 and '10 classes: 0: "digit 0"' in done.out
    assert same(tmp_path / "whole", tmp_path / "foreign")
    with h5py.File(tmp_path / "foreign" / "model.h5") as file:
        assert file.attrs["class_names"].tolist() == [word.decode() for word in WORDS]
        assert file.attrs["parameters"] == "last" and tuple(file.attrs["input_shape"]) == (8, 8, 1)


@pytest.mark.both_mpis
def test_a_cut_survives_resume_on_another_shape(launch, foreign, tmp_path):
    keys = ("two.toml", *COMMON, "data.validation_fraction=0.1", "data.groups=who", "train.minibatch=50")
    done = launch(4, *keys, "train.steps=60", "--run-dir", "run")
    assert done.status == 0 and "for validation, " in done.out
    assert "test_fraction = 0.1" in (tmp_path / "run" / "config.toml").read_text()
    done = launch(0, *keys, "data.cut_seed=2", "--run-dir", "run")
    assert done.status == 2 and "the rows cut from the training set are others there" in done.err
    done = launch(0, *keys, "train.steps=120", "--run-dir", "run")
    assert done.status == 0 and "goes on from checkpoint" in done.out
    said = summary(tmp_path / "run")
    assert said["validation_accuracy"] > 0.5 and said["test_accuracy"] > 0.5
    evaluations = records(tmp_path / "run", "eval")
    looks = [one for one in evaluations if one["split"] == "test"]
    assert len(looks) == 2 and evaluations[-1] == looks[-1]  # once at the end of each
    assert all(one["rows"] < 300 for one in evaluations) and len(evaluations) > 4


@pytest.mark.parametrize(
    ("ranks", "settings"),
    [
        (4, ("cluster.shards=1", "train.minibatch=50")),
        (3, ("train.algorithm=sync",)),
        (0, ("train.algorithm=sandblaster",)),
    ],
)
def test_with_patience_the_model_is_the_best_and_test_is_of_it(launch, foreign, tmp_path, ranks, settings):
    keys = ("two.toml", *COMMON, "train.epochs=50", "train.patience=2", "data.validation_fraction=0.2")
    done = launch(ranks, *keys, "sandblaster.iterations=15", *settings, "--run-dir", "run")
    run = tmp_path / "run"
    said = summary(run)
    assert done.status == 0 and said["stop_reason"] in ("patience", "converged", "iterations")
    score, number = pruning.best_of(run)
    watched = [one["accuracy"] for one in records(run, "eval") if one["split"] == "validation"]
    assert score == max(watched) >= said["validation_accuracy"]
    with (
        h5py.File(run / "checkpoints" / f"{number:06d}" / INDEX) as saved,
        h5py.File(run / "model.h5") as file,
    ):
        assert file.attrs["parameters"] == "best"
        for name, values in parameters(run).items():
            assert np.array_equal(values, saved[f"parameters/{name}"][:])
    assert len([one for one in records(run, "eval") if one["split"] == "test"]) == 1


def test_figures_are_of_the_rows_that_they_name(launch, foreign, tmp_path):
    """Those of validation and test, by numpy alone, on the rows that the file's description names."""
    from dbmpi.config.load import load
    from dbmpi.data.describe import describe
    from dbmpi.data.fields import fields_of
    from dbmpi.data.split import Split

    assert launch(0, "two.toml", *COMMON, "data.validation_fraction=0.2", "--run-dir", "run").status == 0
    said = summary(tmp_path / "run")
    data = describe(foreign, False, fields_of(load(tmp_path / "run" / "config.toml")))
    for name in ("validation", "test"):
        with Split(foreign, name, view=data.view(name)) as split:
            x, y = split.read([(0, split.rows)]) * split.scale, split.labels([(0, split.rows)])
        right = outputs(tmp_path / "run", x, ["tanh", "identity"]).argmax(axis=1) == y
        assert right.mean() == pytest.approx(said[f"{name}_accuracy"], abs=1e-6)


def test_wrong_names_end_the_run_with_one_message(launch, foreign):
    done = launch(3, *QUIET, "data.path=foreign.h5")
    assert done.status == 2
    one_message(
        done, "no group 'train', only images, labels, who; name yours by data.inputs and data.targets"
    )
