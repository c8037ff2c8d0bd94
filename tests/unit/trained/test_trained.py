"""Models out of every file that holds one, of this version and of 0.1.0; and what they compute."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from dbmpi import evaluate, train
from dbmpi.data import digits
from dbmpi.errors import UserError
from dbmpi.export.writers import Asked, export
from dbmpi.inference import work
from dbmpi.layout.partitioning import Partitioning
from dbmpi.trained import answers, opening
from dbmpi.trained.forward import Forward
from dbmpi.trained.opening import open_model
from tests import ROOT

SAVED = ROOT / "tests" / "saved" / "0.1.0"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of two epochs of the digits, with a checkpoint."""
    path = tmp_path_factory.mktemp("trained") / "run"
    settings = ("train.epochs=2", "output.progress=none", "checkpoint.every_s=0.001")
    assert train.main(["--set", *settings, "--run-dir", str(path)]) == 0
    return path


def rows(split: str) -> tuple[np.ndarray, np.ndarray]:
    with h5py.File(digits.path()) as file:
        return file[split]["x"][:], file[split]["y"][:]


def test_outputs_are_those_of_numpy_and_give_the_accuracy_that_the_run_has_said(run):
    x, y = rows("test")
    with open_model(run) as trained:
        forward = Forward(trained)
        z = forward.outputs(x)
        tensors = {one.name: trained.tensor(one) for one in trained.network.tensors}
        scale, offset = trained.format.of_inputs
    a = x.reshape(len(x), -1) * scale + offset
    for layer in trained.network.layers:
        a = a @ tensors[layer.weight.name].T.astype(float) + tensors[layer.bias.name]
        if layer is not trained.network.layers[-1]:
            a = 1 / (1 + np.exp(-a)) if layer.activation == "sigmoid" else np.maximum(a, 0)
    np.testing.assert_allclose(z, a, rtol=1e-4, atol=1e-4)
    said = json.loads((run / "summary.json").read_text())["test_accuracy"]
    assert np.mean(answers.classes(z) == y) == pytest.approx(said, abs=1e-9)
    assert answers.probabilities(z, trained.network.loss).sum(axis=1) == pytest.approx(1)


def test_a_checkpoint_is_the_model(run):
    x, _ = rows("test")
    saved = sorted((run / "checkpoints").iterdir())[-1]
    with open_model(saved) as one, open_model(run / "model.h5") as other:
        assert one.format == other.format
        np.testing.assert_array_equal(Forward(one).outputs(x), Forward(other).outputs(x))


def test_a_checkpoint_is_of_its_run_whatever_it_is_called(run, tmp_path, monkeypatch):
    saved = sorted((run / "checkpoints").iterdir())[-1]
    (tmp_path / "latest").symlink_to(saved)
    with open_model(saved) as trained:
        expected = trained.format, trained.which
    for place, name in ((saved.parent, saved.name), (saved, "."), (tmp_path, "latest")):
        monkeypatch.chdir(place)
        monkeypatch.setattr("dbmpi.trained.opening._of_data", None)  # which only early runs need
        with open_model(Path(name)) as trained:
            assert (trained.format, trained.which) == expected


def test_a_run_without_a_model_is_its_best_checkpoint(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "model.h5").unlink()
    with open_model(tmp_path / "run") as trained:
        assert trained.which == "best" and trained.path.parent.name == "checkpoints"


@pytest.fixture
def running(run, tmp_path) -> Path:
    """A run that goes on, and has two checkpoints."""
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "model.h5").unlink()
    assert len([*(tmp_path / "run" / "checkpoints").glob("0*")]) == 2
    return tmp_path / "run"


def test_a_model_is_read_whose_checkpoint_the_run_removes_meanwhile(run, running):
    with open_model(running) as trained, open_model(trained.path) as twice, open_model(run) as expected:
        shutil.rmtree(trained.path)
        for one in trained.network.tensors:
            np.testing.assert_array_equal(trained.tensor(one), expected.tensor(one))
    assert twice.path == trained.path


def removing(monkeypatch, number: int) -> None:
    """Let a run remove the checkpoints that are chosen, so many times."""
    choose, removed = opening._chosen, []

    def chosen(run_dir: Path) -> Path:
        path = choose(run_dir)
        if len(removed) < number:
            removed.append(path)
            shutil.rmtree(path)
        return path

    monkeypatch.setattr(opening, "_chosen", chosen)


def test_a_checkpoint_that_the_run_removes_before_it_is_open_gives_way_to_the_next(running, monkeypatch):
    removing(monkeypatch, 1)
    with open_model(running) as trained:
        assert trained.path.exists()
    removing(monkeypatch, 1)
    with pytest.raises(UserError, match="no checkpoint that is whole"):
        open_model(running)


def test_evaluate_chooses_anew_when_the_checkpoint_is_gone_that_it_has_chosen(running, monkeypatch, capsys):
    plan, plans = work.plan, []

    def planned(*given):
        plans.append(plan(*given))
        if len(plans) == 1:
            shutil.rmtree(plans[0].model)
        return plans[-1]

    monkeypatch.setattr(work, "plan", planned)
    assert evaluate.main([str(running)]) == 0
    assert len(plans) == 2 and plans[1].model.name in capsys.readouterr().out


def test_a_partition_reads_its_own_part(run):
    with open_model(run) as trained:
        cut = Partitioning(trained.network, 3)
        whole = trained.vector(Partitioning(trained.network, 1), 0)
        parts = [trained.vector(cut, partition) for partition in range(3)]
    assert sum(map(len, parts)) == len(whole)
    assert sorted(np.concatenate(parts)) == sorted(whole)


@pytest.mark.parametrize("name", ["downpour", "finished", "sandblaster"])
def test_models_of_the_first_version(name):
    path = SAVED / name
    places = [path / "model.h5", *sorted((path / "checkpoints").iterdir())]
    for place in places:
        with open_model(place) as trained:
            assert trained.format.outputs == "classes"
            x, y = rows("test")
            z = Forward(trained).outputs(x) if trained.format.input_shape == x.shape[1:] else None
            assert z is None or np.mean(answers.classes(z) == y) > 0.3


def spoil_shape(file):
    del file["layers.0.bias"]
    file["layers.0.bias"] = np.zeros(3)


def spoil_value(file):
    file["layers.0.bias"][0] = np.nan


def spoil_place(file):
    del file["layers.0.bias"]
    file.create_dataset("layers.0.bias", (128,), "f4", external=[("elsewhere", 0, 512)])


def spoil_source(file):
    shape = file["layers.0.bias"].shape
    del file["layers.0.bias"]
    layout = h5py.VirtualLayout(shape, "f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "bias", shape)
    file.create_virtual_dataset("layers.0.bias", layout)


def spoil_attribute(name, value=None):
    def spoil(file):
        if name in file.attrs:
            del file.attrs[name]
        if value is not None:
            file.attrs[name] = value

    return spoil


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (spoil_shape, "layers.0.bias should have the shape"),
        (spoil_source, "layers.0.bias lies in other files"),
        (spoil_place, "layers.0.bias"),
        (spoil_value, "layers.0.bias holds what is no number"),
        (spoil_attribute("configuration"), "is no model"),
        (spoil_attribute("configuration", "a = ["), "configuration"),
        (spoil_attribute("configuration", ""), "says no number of outputs"),
        (spoil_attribute("format", 9), "another version"),
        (spoil_attribute("input_dtype"), "input_dtype is absent"),
        (spoil_attribute("scale", "wide"), "scale"),
        (spoil_attribute("outputs", "horses"), "outputs"),
        (spoil_attribute("outputs", "labels"), "outputs = labels of a softmax"),
        (spoil_attribute("format", [1, 2]), "another version"),
        (spoil_attribute("configuration", b"a = '\xff'"), "configuration"),
        (spoil_attribute("scale", 0.0), "scale holds 0"),
        (spoil_attribute("class_names", ["a\nb"] * 10), "class_names holds"),
    ],
)
def test_what_is_no_model_is_one_message(run, tmp_path, spoil, text):
    path = tmp_path / "model.h5"
    shutil.copy(run / "model.h5", path)
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(UserError, match=text) as raised, open_model(path) as trained:
        Forward(trained)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_what_is_not_there_or_of_another_kind_is_one_message(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no model")
    for name in ("absent", "empty", "text"):
        with pytest.raises(UserError, match=str(tmp_path / name)):
            open_model(tmp_path / name)
    with pytest.raises(UserError, match="is no model"):
        open_model(digits.path())


def test_answers_of_each_loss():
    z = np.array([[0.0, 1000.0], [-1000.0, 0.0]], np.float32)
    np.testing.assert_allclose(answers.probabilities(z, "softmax"), [[0, 1], [0, 1]])
    np.testing.assert_allclose(answers.probabilities(z, "logistic"), [[0.5, 1], [0, 0.5]])
    np.testing.assert_allclose(answers.probabilities(z, "squared"), [[0, 1], [0, 0]])
    assert answers.labels(z).tolist() == [[False, True], [False, False]]


def test_tensors_of_types_that_numpy_has_not_are_one_message(run, tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    export(run, Asked(tmp_path / "model.safetensors"))
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content.replace(b'"F32"', b'"I32"'))
    with pytest.raises(UserError, match="has type I32; store it as F16, F32 or F64"):
        open_model(tmp_path / "model.safetensors")
