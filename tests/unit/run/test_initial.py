"""First parameters out of a trained model: for whichever partitions and shards; messages."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from dbmpi import train
from dbmpi.config.load import load
from dbmpi.config.sections import Train
from dbmpi.data.describe import describe
from dbmpi.errors import UserError
from dbmpi.layout import sharding
from dbmpi.layout.network import Network, build
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.placement import tensor_boxes
from dbmpi.run.plan.initial import Initial, choose, look
from dbmpi.trained.opening import open_model


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of a few minibatches of the digits."""
    path = tmp_path_factory.mktemp("initial") / "run"
    settings = ("train.steps=20", "output.progress=none", "model.layers.0.units=24")
    assert train.main(["--set", *settings, "--run-dir", str(path)]) == 0
    return path


def of(run: Path, *settings: str) -> tuple[Train, Network]:
    config = load(None, [f"train.initial={run}", "model.layers.0.units=24", *settings])
    last = replace(config.model.layers[-1], units=10)
    layers = config.model.layers if "model.layers.1.units=7" in settings else (config.model.layers[0], last)
    return config.train, build(replace(config, model=replace(config.model, layers=layers)), (8, 8))


@pytest.mark.parametrize(("partitions", "shards"), [(1, 1), (3, 2), (2, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_are_those_of_the_model_however_they_are_cut(run, partitions, shards, dtype):
    settings, network = of(run)
    cut = Partitioning(network, partitions)
    found = {one.name: np.full(one.shape, np.nan, dtype) for one in network.tensors}
    for piece in sharding.cut(cut.sizes, shards, 1 << 20):
        out = np.empty(piece.size, dtype)
        with Initial(settings, cut) as initial:
            initial.fill(piece, out)
        for box in tensor_boxes(cut, piece):
            found[box.tensor.name][box.at] = out[box.start : box.stop].reshape(box.shape)
    with h5py.File(run / "model.h5") as file:
        for name, values in found.items():
            np.testing.assert_array_equal(values, file[name][:])


def test_what_is_skipped_or_not_there_begins_anew(run):
    with open_model(run) as trained:
        choice = choose(trained, *reversed(of(run, "train.initial_skip=layers.1.bias")))
        assert choice.skipped == ("layers.1.bias",) and len(choice.taken) == 3
        choice = choose(trained, *reversed(of(run, "train.initial_skip=layers.0", "model.layers.1.units=10")))
        assert choice.taken == ("layers.1.weight", "layers.1.bias")
        other = build(load(None, ["model.layers.0.units=24", "model.layers.1.units=24"]), (8, 8))
        assert choose(trained, other, of(run, "train.initial_skip=layers.1")[0]).lacking == ()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["model.layers.1.units=7"], r"layers.1.weight has the shape \(10, 24\), and is to have \(7, 24\)"),
        (["model.layers.1.units=7"], r'train.initial_skip = "layers.1" to let'),
        (["train.initial_skip=layers.2"], "layers.2.*no such layer or tensor"),
        (['train.initial_skip="layers.0 layers.1"'], "none of its tensors"),
        (["train.initial=absent.h5"], 'train.initial = "absent.h5": absent.h5: there is no such file'),
    ],
)
def test_what_cannot_be_is_one_message(run, settings, text):
    with pytest.raises(UserError, match=text) as raised:
        Initial(of(run, *settings)[0], Partitioning(of(run, *settings)[1], 1))
    assert "\n" not in str(raised.value)


def test_what_is_to_be_left_out_of_nothing_is_refused():
    with pytest.raises(UserError, match="train.initial_skip"):
        load(None, ["train.initial_skip=layers.1"])


def test_other_scales_of_inputs_are_a_warning(run):
    data = describe("digits")
    config = load(None, [f"train.initial={run}", "model.layers.0.units=24", "model.layers.1.units=10"])
    network = build(config, data.input_shape)
    said, warnings = look(config, network, data)
    assert not warnings and "4 tensors" in said[0]
    said, warnings = look(config, network, replace(data, scale=data.scale * 2))
    assert len(warnings) == 1 and "scaled otherwise" in warnings[0]
    skips = replace(config, train=replace(config.train, initial_skip="layers.0"))
    assert not look(skips, network, replace(data, scale=data.scale * 2))[1]


def test_a_run_begins_there_and_goes_on_without_the_file(run, tmp_path, capfd):
    model, begun = tmp_path / "model.h5", tmp_path / "run"
    model.write_bytes((run / "model.h5").read_bytes())
    same = [f"train.initial={model}", "model.layers.0.units=24", "output.progress=none"]
    still = ["downpour.rule=sgd", "downpour.learning_rate=1e-30", "evaluation.every_epochs=0"]
    assert train.main(["--set", *same, *still, "train.steps=1", "--run-dir", str(begun)]) == 0
    assert f"first parameters from {model}: 4 tensors" in capfd.readouterr().out
    with h5py.File(begun / "model.h5") as ours, h5py.File(model) as theirs:
        for name in theirs:
            np.testing.assert_array_equal(ours[name][:], theirs[name][:])
    model.unlink()
    assert train.main(["--set", *same, *still, "train.steps=2", "--run-dir", str(begun)]) == 0
    assert "first parameters" not in capfd.readouterr().out
