"""Opens a trained model by the name that a user gives: a file, a checkpoint, or a run."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from dbmpi.checkpoint import manifest, model_file, pruning, resume
from dbmpi.checkpoint.directory import MANIFEST, checkpoint_directory, checkpoint_numbers
from dbmpi.checkpoint.manifest import Checkpoint
from dbmpi.checkpoint.reader import Reader
from dbmpi.checkpoint.whole_file import Damaged
from dbmpi.config.layers import UNITS_OF_DATA, Dense
from dbmpi.config.load import loads
from dbmpi.config.sections import Config
from dbmpi.data.describe import describe
from dbmpi.data.factors import Scaling
from dbmpi.data.fields import fields_of
from dbmpi.data.format import Format, format_of
from dbmpi.data.hdf5 import explain_errors
from dbmpi.errors import UserError
from dbmpi.extras import extra
from dbmpi.layout.network import Tensor, build
from dbmpi.layout.partitioning import Partitioning
from dbmpi.output import run_directory
from dbmpi.text import listed
from dbmpi.trained.metadata import from_texts
from dbmpi.trained.model import TrainedModel
from dbmpi.trained.values import FileValues, SafetensorsValues, SavedValues
from dbmpi.typed import Unlike

OLDEST = "input_shape"  # of the attributes of data, what a model.h5 of version 0.1.0 has none of
WHAT = "name a model.h5, a .safetensors file, a checkpoint (RUN/checkpoints/000042) or a run directory"
SAFETENSORS = ".safetensors"
FLOATS = ["F16", "F32", "F64"]  # of safetensors


def open_model(path: Path) -> TrainedModel:
    """Open a model.

    Parameters
    ----------
    path
        A `model.h5`; a `.safetensors` file that `dbmpi.export` wrote; the directory of a checkpoint; or that
        of a run: its model.h5, where there is one, else its best checkpoint, or the last that is whole. The
        run may go on, and remove its checkpoints: one that is open can be read.

    Raises
    ------
    UserError
        There is no model there, or it is damaged.
    """
    while True:
        with explain_errors(f"{path}: the file"):  # some names cannot even be looked for
            place = _place(path)
            checkpoint = place.is_dir()
        try:
            return _checkpoint(place) if checkpoint else _file(place)
        except UserError:
            if place == path or place.exists():
                raise


def _place(path: Path) -> Path:
    """Return the file, or the directory of the checkpoint, that a path stands for."""
    if not path.exists():
        raise UserError(f"{path}: there is no such file; {WHAT}")
    if not path.is_dir() or (path / MANIFEST).exists():
        return path
    if (path / run_directory.MODEL).is_file():
        return path / run_directory.MODEL
    if (path / run_directory.CHECKPOINTS).is_dir():
        return _chosen(path)
    raise UserError(f"{path}: holds neither {run_directory.MODEL} nor checkpoints; {WHAT}")


def _file(path: Path) -> TrainedModel:
    """Open a model.h5, or a safetensors file."""
    if path.is_file() and path.suffix == SAFETENSORS:
        return _safetensors(path)
    with explain_errors(f"{path}: the file"):
        if not path.is_file() or not h5py.is_hdf5(path):
            raise UserError(f"{path}: is no model that dbmpi has written; {WHAT}")
        file = h5py.File(path, "r", driver="sec2", locking=False)
    try:
        with explain_errors(f"{path}: the file"):
            attributes = dict(file.attrs)
        return _of_file(path, file, attributes)
    except BaseException:
        file.close()
        raise


def _of_file(path: Path, file: h5py.File, attributes: dict[str, Any]) -> TrainedModel:
    config, form = _described(path, attributes)
    model = TrainedModel(path, config, form, _which(attributes), FileValues(path, file))

    def shape(name: str) -> tuple[int, ...] | None:
        there = file.get(name)
        if not isinstance(there, h5py.Dataset):
            return None
        if there.is_virtual or there.external:  # HDF5 gives zeros where it cannot read these
            raise UserError(f"{path}: {name} lies in other files; write it into this one, as h5repack does")
        return there.shape

    with explain_errors(f"{path}: the file"):
        return _checked(model, shape)


def _safetensors(path: Path) -> TrainedModel:
    """Open a safetensors file."""
    with extra("safetensors"):
        from safetensors import SafetensorError, safe_open
    try:
        file = safe_open(path, "numpy")
    except (SafetensorError, OSError) as problem:
        raise UserError(f"{path}: the file cannot be read: {problem}; write it again") from None
    try:
        return _of_safetensors(path, file)
    except BaseException:
        file.__exit__(None, None, None)
        raise


def _of_safetensors(path: Path, file: Any) -> TrainedModel:
    attributes = from_texts(file.metadata() or {})
    config, form = _described(path, attributes)
    model = TrainedModel(path, config, form, _which(attributes), SafetensorsValues(path, file))
    there = set(file.keys())

    def shape(name: str) -> tuple[int, ...] | None:
        if name not in there:
            return None
        tensor = file.get_slice(name)
        if tensor.get_dtype() not in FLOATS:
            raise UserError(f"{path}: {name} has type {tensor.get_dtype()}; store it as {listed(FLOATS)}")
        return tuple(tensor.get_shape())

    return _checked(model, shape)


def _which(attributes: dict[str, Any]) -> Literal["last", "best"]:
    """Return which parameters of a run a file says that it holds."""
    return "best" if str(attributes.get("parameters")) == "best" else "last"


def _described(path: Path, attributes: dict[str, Any]) -> tuple[Config, Format]:
    """Return what a file says of itself, by the attributes of a model.h5."""
    text = attributes.get("configuration")
    if not isinstance(text, str):
        raise UserError(f"{path}: is no model that dbmpi has written; {WHAT}")
    if not np.array_equal(attributes.get("format", 0), model_file.FORMAT):
        raise UserError(f"{path}: was written by another version of dbmpi; use the newer one")
    config = _configured(path, text)
    if OLDEST not in attributes:
        return config, _of_data(path, config)
    try:
        return config, model_file.read_format(attributes, config.model.loss)
    except Unlike as problem:
        raise UserError(f"{path}: {problem}; the file is not as dbmpi writes it") from None


def _configured(path: Path, text: str) -> Config:
    """Return the configuration in a file. Raises UserError, also where it leaves open what a run settles."""
    config = loads(text.encode(errors="surrogateescape"), name=f"{path}: configuration")
    last = config.model.layers[-1]
    if isinstance(last, Dense) and last.units == UNITS_OF_DATA:
        raise UserError(
            f"{path}: configuration: says no number of outputs; the file is not as dbmpi writes it"
        )
    return config


def _checked(model: TrainedModel, shapes: Callable[[str], tuple[int, ...] | None]) -> TrainedModel:
    """Return a model whose tensors and outputs are those of its network; `shapes` says what the file has."""
    for tensor in model.network.tensors:
        _check_tensor(model.path, tensor, shapes(tensor.name))
    outputs, form = model.network.outputs, model.format
    if model.network.loss == "softmax" and form.outputs != "classes":
        raise UserError(
            f"{model.path}: has outputs = {form.outputs} of a softmax; the file is not as dbmpi writes it"
        )
    if len(form.class_names) > outputs or len(form.target_scale) not in (0, outputs):
        raise UserError(
            f"{model.path}: has {len(form.class_names)} class_names and {len(form.target_scale)} "
            f"target_scale for {outputs} outputs; the file is not as dbmpi writes it"
        )
    return model


def _check_tensor(path: Path, tensor: Tensor, shape: tuple[int, ...] | None) -> None:
    """Refuse a tensor that is absent (None), or of another shape than the configuration says."""
    if shape != tensor.shape:
        found = "is absent" if shape is None else f"has {shape}"
        raise UserError(
            f"{path}: {tensor.name} should have the shape {tensor.shape}, by the configuration in the file, "
            f"but {found}; the file is not as dbmpi writes it"
        )


def _chosen(run_dir: Path) -> Path:
    """Return the best checkpoint of a run that is whole; where no scores are known, the last one."""
    there: list[int] = []
    while (now := checkpoint_numbers(run_dir)) != there:  # else the run has removed what was looked at
        there = now
        best = pruning.best_of(run_dir)
        if best is not None:
            return checkpoint_directory(run_dir, best[1])
        last = resume.last_whole(run_dir)
        if last is not None:
            return last.path
    raise UserError(f"{run_dir}: has no checkpoint that is whole; {WHAT}")


def _checkpoint(path: Path) -> TrainedModel:
    """Open a checkpoint."""
    try:
        saved = manifest.read(path.resolve())  # the run is above it, wherever this is the name of
        config = _configured(path, saved.manifest.configuration)
        form = _format(saved, config)
        reader = Reader(saved, Partitioning(build(config, tuple(form.input_shape)), 1), held=True)
    except Damaged as problem:
        raise UserError(f"{path}: checkpoint {problem}; name another one") from None
    best = pruning.best_of(saved.path.parent.parent)
    which: Literal["last", "best"] = (
        "best" if best is not None and best[1] == saved.manifest.number else "last"
    )
    return TrainedModel(path, config, form, which, SavedValues(path, reader))


def _format(saved: Checkpoint, config: Config) -> Format:
    """Return what a run says of its data, in run.json; of an older one, what the data file says."""
    run = saved.path.parent.parent / run_directory.RUN
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        return Format.from_json(json.loads(run.read_bytes())["data"])
    return _of_data(saved.path, config, saved.scaling)


def _of_data(path: Path, config: Config, scaling: Scaling | None = None) -> Format:
    """Return what the data file says that a model was trained on, which says nothing of it itself."""
    try:
        data = describe(config.data.path, fields=fields_of(config))
    except UserError as error:
        raise UserError(
            f"{path}: was written by an early version, so its data file is needed: {error}"
        ) from None
    return format_of(data.scaled(scaling), config.model.loss)
