"""What exported files hold, how they appear, and what is said where one cannot be."""

import json
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import dbmpi.export
from dbmpi.config.layers import Conv, Dense, Dropout, Lcn, Local, Pool
from dbmpi.config.load import loads
from dbmpi.config.sections import Config, Model
from dbmpi.errors import UserError
from dbmpi.export import command, writers
from dbmpi.export.writers import Asked, export
from dbmpi.trained.opening import open_model
from tests import ROOT
from tests.unit.checkpoint.test_model_file import written

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed")

LAYERS = (
    Local(filters=3, size=(3, 2), padding=1, activation="tanh"),
    Pool(size=2, stride=2),
    Lcn(size=3),
    Conv(filters=4, size=2),
    Dropout(rate=0.5),
    Dense(units=2),
)
IMAGE = (7, 6, 2)


def model_file(path: Path, partitions: int = 1, grid: tuple[int, int] | None = None) -> Path:
    """Write a model.h5, as so many partitions and two shards do."""
    written(path, Config(model=Model(layers=LAYERS, loss="softmax")), IMAGE, partitions, 2, 50, grid)
    return path


@pytest.fixture
def model(tmp_path):
    return model_file(tmp_path / "model.h5")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".npz"])
def test_the_file_is_the_same_whatever_the_partitions(tmp_path, suffix):
    files = []
    for number, grid in enumerate([(1, 1), (2, 2), (3, 1)]):
        made = model_file(tmp_path / f"{number}.h5", grid[0] * grid[1], grid)
        export(made, Asked(tmp_path / f"{number}{suffix}"))
        files.append((tmp_path / f"{number}{suffix}").read_bytes())
    assert files[0] == files[1] == files[2]


def test_onnx_says_what_it_is(model, tmp_path):
    told = export(model, Asked(tmp_path / "out.onnx"))
    made = onnx.load(tmp_path / "out.onnx")
    said = {one.key: one.value for one in made.metadata_props}
    assert json.loads(said["class_names"]) == ["cat", "dög"] and said["input_dtype"] == "uint8"
    assert loads(said["configuration"].encode()).model.layers == LAYERS
    assert made.opset_import[0].version == 18 and "opset 18" in told and "onnx.reference" in told
    assert "input (N, 7, 6, 2) uint8" in told and "probabilities (N, 2) float32" in told
    assert made.producer_name == "dbmpi"


def test_external_data_appear_beside_the_file(model, tmp_path):
    out, data = tmp_path / "out.onnx", tmp_path / "out.onnx.data"
    told = export(model, Asked(out, external=True))
    assert names(tmp_path) == ["model.h5", "out.onnx", "out.onnx.data"] and "out.onnx.data" in told
    assert out.stat().st_size < 12_000
    loaded = onnx.load(out)
    export(model, Asked(tmp_path / "inside.onnx"))
    inside = {
        one.name: onnx.numpy_helper.to_array(one)
        for one in onnx.load(tmp_path / "inside.onnx").graph.initializer
    }
    for one in loaded.graph.initializer:
        assert np.array_equal(onnx.numpy_helper.to_array(one), inside[one.name])
    with pytest.raises(UserError, match="is there already"):
        export(model, Asked(out))
    export(model, Asked(out, replace=True))  # without, and none is left
    assert not data.exists() and onnx.load(out).graph.initializer[0].raw_data


def test_large_models_have_external_data(model, tmp_path, monkeypatch):
    from dbmpi.export import onnx_file

    monkeypatch.setattr(onnx_file, "MOST_INSIDE", 1000)
    told = export(model, Asked(tmp_path / "out.onnx"))
    assert (tmp_path / "out.onnx.data").exists()
    assert ("onnx.reference" in told) == (find_spec("onnxruntime") is None)


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".npz"])
def test_nothing_is_left_of_a_file_that_fails(model, tmp_path, suffix, monkeypatch):
    def fail(*ignored: object) -> None:
        raise UserError("it computes something else")

    (tmp_path / f"out{suffix}").write_text("before")
    for module, name in (
        (writers.again, "check_model"),
        (writers.again, "check_arrays"),
        (writers, "Sample"),
    ):
        monkeypatch.setattr(module, name, fail)
    with pytest.raises(UserError, match="something else"):
        export(model, Asked(tmp_path / f"out{suffix}", external=suffix == ".onnx", replace=True))
    assert names(tmp_path) == ["model.h5", f"out{suffix}"]
    assert (tmp_path / f"out{suffix}").read_text() == "before"


def test_other_outputs_are_refused(model, tmp_path, monkeypatch):
    from dbmpi.export import onnx_layers

    monkeypatch.setattr(onnx_layers, "band", lambda g, extent: np.eye(extent))
    with pytest.raises(UserError, match=r"onnx.reference computes other outputs .* by \d"):
        export(model, Asked(tmp_path / "out.onnx"))
    assert names(tmp_path) == ["model.h5"]


def test_safetensors_are_a_model_again(model, tmp_path):
    export(model, Asked(tmp_path / "out.safetensors"))
    export(tmp_path / "out.safetensors", Asked(tmp_path / "again.onnx"))
    with open_model(model) as one, open_model(tmp_path / "out.safetensors") as other:
        assert (one.config, one.format, one.which) == (other.config, other.format, other.which)
        for tensor in one.network.tensors:
            np.testing.assert_array_equal(one.tensor(tensor), other.tensor(tensor))


@pytest.mark.parametrize("name", ["downpour", "finished", "sandblaster"])
def test_models_of_the_first_version(tmp_path, name):
    saved = ROOT / "tests" / "saved" / "0.1.0" / name / "model.h5"
    assert "of 10 classes" in export(saved, Asked(tmp_path / "out.onnx"))


def rewrite(path: Path, **changes: object) -> None:
    """Write a safetensors file again, with other metadata (None: without), or tensors."""
    from safetensors.numpy import load_file, save_file

    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    for name, value in changes.items():
        into = tensors if name.startswith("layers") else metadata
        into[name] = value
    save_file(
        {name: one for name, one in tensors.items() if one is not None},
        path,
        {name: one for name, one in metadata.items() if one is not None},
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"configuration": None}, "is no model that dbmpi has written"),
        ({"configuration": "a = ["}, "configuration"),
        ({"dbmpi_format": "9"}, "another version"),
        ({"dbmpi_format": "x"}, "another version"),
        ({"scale": "wide"}, "scale"),
        ({"scale": "[1, 2]"}, "scale"),
        ({"input_shape": "[7, 6]"}, "layers.0.weight should have the shape"),
        ({"input_dtype": "int9"}, "input_dtype"),
        ({"class_names": '["a", "b", "c"]'}, "class_names"),
        ({"outputs": "horses"}, "outputs"),
        ({"layers.0.bias": np.zeros(3, np.float32)}, "layers.0.bias should have the shape"),
        ({"layers.0.bias": None}, "layers.0.bias .* is absent"),
        ({"layers.5.bias": np.full(2, np.nan, np.float32)}, "layers.5.bias holds what is no number"),
    ],
)
def test_a_spoilt_safetensors_file_is_one_message(model, tmp_path, changes, text):
    export(model, Asked(tmp_path / "out.safetensors"))
    rewrite(tmp_path / "out.safetensors", **changes)
    with pytest.raises(UserError, match=text) as raised:
        export(tmp_path / "out.safetensors", Asked(tmp_path / "out.npz"))
    assert str(tmp_path / "out.safetensors") in str(raised.value) and "\n" not in str(raised.value)


def test_what_is_no_safetensors_file_is_one_message(tmp_path):
    (tmp_path / "out.safetensors").write_bytes(b"12345678" * 9)
    with pytest.raises(UserError, match="out.safetensors: the file cannot be read"):
        open_model(tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["model.h5", "out.pt"], "should end in .onnx, .safetensors or .npz"),
        (["model.h5", "no/out.onnx"], "its folder is missing"),
        (["model.h5", "taken.onnx"], "is there already"),
        (["model.h5", "out.npz", "--external-data"], "--external-data is of .onnx files"),
        (["model.h5", "out.onnx", "--torch", "net.py"], "goes with a .safetensors file"),
        (["model.h5", "out.safetensors", "--torch", "my-net.py"], "no module can have this name"),
        (["model.h5", "out.safetensors", "--torch", "taken.py"], "taken.py: is there already"),
        (["absent.h5", "out.onnx"], "absent.h5: there is no such file"),
    ],
)
def test_mistakes_are_one_line_and_status_2(model, tmp_path, arguments, text, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("taken.onnx", "taken.py"):
        (tmp_path / name).touch()
    assert command.main(arguments) == 2
    said = capsys.readouterr().err
    assert text in said and said.count("\n") == 1
    assert names(tmp_path) == ["model.h5", "taken.onnx", "taken.py"]


@pytest.mark.parametrize(("suffix", "package"), [(".onnx", "onnx"), (".safetensors", "safetensors")])
def test_a_missing_library_is_one_message(model, tmp_path, suffix, package, monkeypatch):
    for name in ("onnx_check", "onnx_file", "safetensors_file"):
        monkeypatch.delitem(sys.modules, f"dbmpi.export.{name}", raising=False)
        monkeypatch.delattr(dbmpi.export, name, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs {package} .*pip install {package}"):
        export(model, Asked(tmp_path / f"out{suffix}"))


def test_the_module_of_torch_needs_nothing_of_dbmpi(model, tmp_path):
    (tmp_path / "code").mkdir()
    told = export(model, Asked(tmp_path / "out.safetensors", tmp_path / "code" / "network.py"))
    text = (tmp_path / "code" / "network.py").read_text()
    assert "import dbmpi" not in text and "from dbmpi" not in text and "Regressor" not in text
    assert 'Path(__file__).parent / "../out.safetensors"' in text and "network.py" in told


def test_the_module_of_torch_learns_on_and_its_parameters_are_a_model_again(model, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    export(model, Asked(tmp_path / "out.safetensors", tmp_path / "network.py"))
    module = {"__file__": str(tmp_path / "network.py"), "__name__": "network"}
    exec((tmp_path / "network.py").read_text(), module)
    network = module["load"]().train()
    assert network.classes == ["cat", "dög"]
    x = torch.zeros((2, *IMAGE), dtype=torch.uint8)  # flat: every root is that of 0
    network.probabilities(x)[:, 0].sum().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in network.parameters())
    with torch.no_grad():
        network.layers[-1].bias += 1
    module["save"](network, tmp_path / "learned.safetensors")
    with open_model(tmp_path / "learned.safetensors") as learned, open_model(model) as before:
        bias = learned.network.tensors[-1]
        np.testing.assert_allclose(learned.tensor(bias), before.tensor(bias) + 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_leaves_nothing_or_nothing_that_the_next_command_does_not_remove(model, tmp_path, number):
    text = (
        "import signal, sys\n"
        "from dbmpi.export import command, safetensors_file\n"
        f"safetensors_file.write = lambda path, trained: (path.touch(), signal.raise_signal({int(number)}))\n"
        "sys.exit(command.main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", text, str(model), str(tmp_path / "out.safetensors")]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    if number == signal.SIGKILL:
        assert ended.returncode == -number and len(names(tmp_path)) == 2
        export(model, Asked(tmp_path / "out.safetensors"))
        assert names(tmp_path) == ["model.h5", "out.safetensors"]
    else:
        assert ended.returncode == 130 and "is not written" in ended.stderr
        assert names(tmp_path) == ["model.h5"]
