"""Every layer, option and format: what files compute elsewhere, held to a float64 pass of NumPy."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dbmpi.config.layers import Conv, Dense, Dropout, Lcn, Local, Pool
from dbmpi.config.load import load
from dbmpi.errors import UserError
from dbmpi.export import check, npz_file, torch_check, torch_module
from dbmpi.export.interface import LOGITS, PROBABILITIES, VALUES
from dbmpi.trained import answers
from dbmpi.trained.model import TrainedModel
from tests import ROOT
from tests.doubles.trained_models import plain_outputs, scaled, trained_model

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnx_file = pytest.importorskip("dbmpi.export.onnx_file")
safetensors_file = pytest.importorskip("dbmpi.export.safetensors_file", reason="safetensors is not installed")

MOST_APART = 1e-5  # times max(1, |value|)
ACTIVATIONS = st.sampled_from(["identity", "sigmoid", "tanh", "relu"])
SIDES = st.integers(1, 3)


def pairs(of):
    return of | st.tuples(of, of)


FIELDS = {
    "filters": st.integers(1, 3),
    "size": pairs(SIDES),
    "stride": pairs(st.integers(1, 3)),
    "padding": pairs(st.integers(0, 4)),
    "activation": ACTIVATIONS,
}
KINDS = st.sampled_from(["max", "l2", "average"])
IMAGE_LAYERS = st.one_of(
    st.builds(Local, **FIELDS),
    st.builds(Conv, **FIELDS),
    st.builds(Pool, kind=KINDS, size=pairs(SIDES), stride=pairs(st.integers(1, 4))),
    st.builds(Lcn, size=st.sampled_from([1, 3, 5, 9]), floor=st.sampled_from([0.01, 0.1, 1.0])),
    st.builds(Dropout, rate=st.just(0.5)),
)
DENSE = st.builds(Dense, units=st.integers(1, 5), activation=ACTIVATIONS)
FLAT_LAYERS = DENSE | st.builds(Dropout, rate=st.just(0.3))


@st.composite
def models(draw) -> TrainedModel:
    """Draw a network, and what its data look like."""
    loss = draw(st.sampled_from(["softmax", "logistic", "squared"]))
    last = draw(DENSE) if loss == "squared" else Dense(units=draw(st.integers(1, 5)))
    image = draw(st.booleans())
    layers = [*(draw(st.lists(IMAGE_LAYERS, min_size=1, max_size=3)) if image else ())]
    layers += [*draw(st.lists(FLAT_LAYERS, max_size=2)), last]
    sides = draw(st.tuples(st.integers(2, 8), st.integers(2, 8)))
    deep = draw(st.integers(0, 3))
    shape = sides + (deep,) * bool(deep) if image else (draw(st.integers(1, 6)),)
    form = draw(formats(shape, loss, last.units))
    layout = draw(st.sampled_from(["channels_last", "channels_first"])) if deep and image else "channels_last"
    dtype = draw(st.sampled_from(["float32", "float32", "float64"]))
    try:
        return trained_model(tuple(layers), shape, loss=loss, dtype=dtype, layout=layout, **form)
    except UserError:  # a window that does not fit
        assume(False)
        raise


@st.composite
def formats(draw, shape: tuple[int, ...], loss: str, units: int) -> dict[str, object]:
    """Draw what stored inputs and targets are: by a number, or by one for each column, far from 0."""
    dtype = draw(st.sampled_from(["uint8", "float32", "float64"]))
    rng, columns = np.random.default_rng(draw(st.integers(0, 99))), int(np.prod(shape))
    form: dict[str, object] = {"input_dtype": dtype}
    if draw(st.booleans()):
        form["scale"], form["offset"] = ((1 / 255,), (0.0,)) if dtype == "uint8" else ((2.0,), (-1.0,))
    else:
        most, least = (0.02, -2) if dtype == "uint8" else (0.5, -300)  # scaled inputs are some units in size
        form["scale"] = rng.uniform(most / 4, most, columns).tolist()
        form["offset"] = rng.uniform(least, 0, columns).tolist()
    if loss == "squared":
        form["outputs"] = draw(st.sampled_from(["targets", "classes"]))
        if form["outputs"] == "targets" and draw(st.booleans()):
            form["target_scale"] = rng.uniform(0.1, 10, units).tolist()
            form["target_offset"] = rng.uniform(-50, 50, units).tolist()
    elif loss == "logistic":
        form["outputs"] = draw(st.sampled_from(["labels", "classes"]))
    return form


def expected(trained: TrainedModel, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a model says, computed in float64."""
    factors = [np.asarray(one) for one in trained.format.of_inputs]
    scale, offset = (one if one.ndim == 0 else one.reshape(trained.format.input_shape) for one in factors)
    tensors = {one.name: trained.tensor(one) for one in trained.network.tensors}
    z = plain_outputs(trained.network, tensors, scaled(rows, scale, offset))
    if trained.format.outputs == "targets":
        return {VALUES: answers.targets(z, trained.format)}
    return {LOGITS: z, PROBABILITIES: answers.probabilities(z, trained.network.loss)}


def as_stored(trained: TrainedModel, rows: np.ndarray) -> np.ndarray:
    first = trained.config.data.layout == "channels_first"
    return np.ascontiguousarray(rows.transpose(0, 3, 1, 2)) if first else rows


def hold(found: dict[str, np.ndarray], said: dict[str, np.ndarray], who: str) -> None:
    assert found.keys() == said.keys()
    for name, values in said.items():
        apart = np.abs(found[name] - values) / np.maximum(1, np.abs(values))
        assert found[name].shape == values.shape and apart.max() <= MOST_APART, (who, name, apart.max())


def run_onnx(path: Path, trained: TrainedModel, rows: np.ndarray) -> Iterator[tuple[str, dict]]:
    """Yield what each reader of ONNX that is there computes."""
    onnx_file.write(path, trained, external=False)
    onnx.checker.check_model(str(path), full_check=True)
    given = {"input": as_stored(trained, rows)}
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    yield "onnx.reference", dict(zip(evaluator.output_names, evaluator.run(None, given), strict=True))
    try:
        import onnxruntime
    except ImportError:
        return
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    for count in (1, len(rows)):
        found = session.run(names, {"input": given["input"][:count]})
    yield "onnxruntime", dict(zip(names, found, strict=True))


def by_onnx(trained: TrainedModel) -> None:
    rows = check.random_rows(trained)
    said = expected(trained, rows)
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        for who, found in run_onnx(Path(folder) / "model.onnx", trained, rows):
            hold(found, said, who)


def by_torch(trained: TrainedModel) -> None:
    rows = check.random_rows(trained)
    said = expected(trained, rows)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "model.safetensors"
        safetensors_file.write(weights, trained)
        text = torch_module.source(trained, Path(folder) / "network.py", weights)
        found = torch_check.run(text, weights, as_stored(trained, rows), list(said))
    hold({name: values.numpy() for name, values in found.items()}, said, "torch")


def by_numpy(trained: TrainedModel) -> None:
    """Nothing but the file, and what the layers are."""
    rows = check.random_rows(trained)
    said = expected(trained, rows)
    with tempfile.TemporaryDirectory() as folder:
        npz_file.write(Path(folder) / "model.npz", trained)
        with np.load(Path(folder) / "model.npz") as file:
            arrays = dict(file)
    x = scaled(rows, arrays["scale"], arrays["offset"]).astype(trained.dtype)
    z = plain_outputs(trained.network, arrays, x)
    if arrays["outputs"] == "targets":
        hold({VALUES: (z - arrays["target_offset"]) / arrays["target_scale"]}, said, "numpy")
        return
    hold({LOGITS: z, PROBABILITIES: answers.probabilities(z, str(arrays["loss"]))}, said, "numpy")


@settings(max_examples=80)
@given(trained=models())
def test_onnx_computes_what_the_model_does(trained):
    by_onnx(trained)


@settings(max_examples=30)
@given(trained=models())
def test_torch_computes_what_the_model_does(trained):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    by_torch(trained)


@settings(max_examples=20)
@given(trained=models())
def test_numpy_computes_what_the_model_does(trained):
    by_numpy(trained)


SHAPES = {"mnist": (28, 28), "mnist-lbfgs": (28, 28), "image-28": (28, 28), "image-32": (32, 32, 3)}
# The network of the paper, whose 1.7e9 parameters are too many for a test, is cut down.
SMALLER, FEWER = (52, 52, 3), {"filters": 2, "units": 50}


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples(path):
    config = load(path)
    layers, shape = config.model.layers, SHAPES.get(path.stem, SMALLER)
    if path.stem not in SHAPES:
        layers = tuple(
            replace(one, **{name: few for name, few in FEWER.items() if hasattr(one, name)}) for one in layers
        )
    bytes_ = {"input_dtype": "uint8", "scale": (1 / 255,)}
    trained = trained_model(layers, shape, loss=config.model.loss.replace("auto", "softmax"), **bytes_)
    by_onnx(trained)
    by_numpy(trained)
    if torch_check.possible():
        by_torch(trained)
