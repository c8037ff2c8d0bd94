"""An npz file: the tensors under their names, and beside them what the model says of itself, as arrays."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dbmpi.arrays import Array
from dbmpi.config.toml import to_toml
from dbmpi.data.factors import array
from dbmpi.files import json_text, versions
from dbmpi.trained.model import TrainedModel


def write(path: Path, trained: TrainedModel) -> None:
    """Write a model, one tensor after another. Local.

    Raises
    ------
    UserError
        Its parameters cannot be read.
    """
    with zipfile.ZipFile(path, "w") as out:
        for name, values in contents(trained):
            with out.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(values), allow_pickle=False)


def contents(trained: TrainedModel) -> Iterator[tuple[str, Array]]:
    """Yield the name and the values of each array of the file."""
    form = trained.format
    for tensor in trained.network.tensors:
        yield tensor.name, trained.tensor(tensor)
    for name, factor in zip(("scale", "offset"), form.of_inputs, strict=True):
        yield name, array(factor, tuple(form.input_shape))
    for name, factor in zip(("target_scale", "target_offset"), form.of_targets, strict=True):
        yield name, np.asarray(factor)
    yield "input_shape", np.asarray(form.input_shape, np.int64)
    texts = {
        "input_dtype": form.input_dtype,
        "outputs": form.outputs,
        "loss": trained.network.loss,
        "parameters": trained.which,
        "configuration": to_toml(trained.config),
        "versions": json_text(versions()),
    }
    for name, text in texts.items():
        yield name, np.asarray(text)
    for name in ("class_names", "columns"):
        yield name, np.asarray(getattr(form, name), np.str_)
