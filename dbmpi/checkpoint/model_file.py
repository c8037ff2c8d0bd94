"""The trained model as a file: `layers.0.weight`, `layers.0.bias`, ..., each whole, whatever P and S.

A dense layer's weight has the shape (units, inputs), one of shared receptive fields (filters, rows,
columns, channels), an untied one that of each location: (rows, columns, filters, rows, columns, channels).
Attributes are the configuration, the versions, and what an input has to look like: the file explains itself.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.checkpoint.hdf5_file import creating
from dbmpi.config.sections import Config
from dbmpi.config.toml import to_toml
from dbmpi.data.factors import array
from dbmpi.data.format import Format, format_of
from dbmpi.files import replacing, versions
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.placement import tensor_boxes
from dbmpi.layout.sharding import Piece

if TYPE_CHECKING:
    import h5py

    from dbmpi.data.describe import Description

FORMAT = 1
LONG_ATTRIBUTES = "v108", "latest"  # what HDF5 before 1.8 reads ends at 64 KiB of names


def write(
    path: Path,
    config: Config,
    data: "Description",
    partitioning: Partitioning,
    pieces: tuple[Piece, ...],
    read: Callable[[Piece], Array],
    room: Path | None = None,
    which: str = "last",
    averaged: bool = False,
) -> None:
    """Write the model piece by piece, under a temporary name that is renamed at the end. Local.

    No more than one piece is in memory, whatever the size of the model.

    Parameters
    ----------
    data
        What the network was trained on.
    read
        Returns the values of a piece, `(piece.size,)`.
    room
        The directory of the temporary name, if it is not that of the file.
    which : {"last", "best"}
        Which parameters of the run these are.
    averaged
        Whether they are an average of the parameters (`train.average`).

    Raises
    ------
    UserError
        The disk is full, or the file cannot be written for another reason.
    """
    with replacing(path, room) as temporary, creating(temporary, LONG_ATTRIBUTES) as out:
        out.attrs["format"], out.attrs["parameters"], out.attrs["averaged"] = FORMAT, which, averaged
        out.attrs["configuration"] = to_toml(config)
        out.attrs["versions"] = json.dumps(versions())
        _describe(out, format_of(data, config.model.loss))
        for tensor in partitioning.network.tensors:
            out.create_dataset(tensor.name, tensor.shape, config.model.dtype)
        for piece in pieces:
            values = read(piece)
            for box in tensor_boxes(partitioning, piece):
                some = values[box.start : box.stop]
                out[box.tensor.name][box.at] = some.reshape(box.shape)


def _describe(out: "h5py.File", form: Format) -> None:
    """Note what an input has to look like, what the network sees of it, and what its outputs mean."""
    shape = form.input_shape
    out.attrs["input_shape"], out.attrs["input_dtype"] = shape, form.input_dtype
    for name, value in zip(("scale", "offset"), form.of_inputs, strict=True):
        out.attrs[name] = array(value, tuple(shape))
    out.attrs["outputs"] = form.outputs
    for name in ("target_scale", "target_offset", "class_names", "columns"):
        if getattr(form, name):
            out.attrs[name] = list(getattr(form, name))


def read_format(attributes: Mapping[str, Any], loss: str) -> Format:
    """Return what the attributes of a model's file say of data.

    An early file does not say what its outputs stand for: there, the squared loss of labels, which
    has no class names, is taken for that of targets.

    Raises
    ------
    Unlike
        One is absent, or of another kind.
    """
    names = {one.name for one in fields(Format)} & attributes.keys()
    said = {name: _plain(attributes[name]) for name in names}
    of_classes = loss != "squared" or "class_names" in said
    said.setdefault("outputs", "classes" if of_classes else "targets")
    for name in said.keys() & {"scale", "offset"}:
        said[name] = np.asarray(said[name], object).reshape(-1).tolist()
    return Format.from_json(said)


def _plain(value: Any) -> Any:
    """Return an attribute as JSON has it."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
