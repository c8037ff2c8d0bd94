"""What is right of rows in memory, as an evaluation takes it. Pure. Letters: N rows, O output units."""

from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.sanity import check_labels
from dbmpi.errors import UserError
from dbmpi.inference.choosing import labels_of
from dbmpi.text import listed, several
from dbmpi.trained.model import TrainedModel

WHERE = "targets"


def known(targets: Any, trained: TrainedModel, rows: int) -> Array:
    """Return labels, int64 `(N,)`, or truth values or targets, float64 `(N, O)`: a kernel trusts them.

    Parameters
    ----------
    targets
        As the model's data file has them, or classes by name.
    rows
        How many examples they are of.

    Raises
    ------
    UserError
        They are not as many, or not what the model computes.
    """
    given = np.asarray(targets)
    if given.shape[:1] != (rows,):
        raise UserError(
            f"{WHERE}: has shape {given.shape} for {several(rows, 'example')}; give what is right for each"
        )
    return _classes(given, trained) if trained.format.outputs == "classes" else _values(given, trained)


def _classes(given: Array, trained: TrainedModel) -> Array:
    """Return labels of classes as a file might have them: names, integers, truth values, one-hot rows."""
    if given.dtype.kind == "O":
        given = np.array(given.tolist())  # integers, texts or bytes
    if given.dtype.kind == "U" or (given.dtype.kind == "f" and given.size == len(given)):
        given = np.char.encode(given.astype(np.str_), "utf-8")
    ranges, made = [(0, len(given))], labels_of(trained, given.dtype, given.shape[1:], WHERE)
    labels = given if made is None else made.decode(given, ranges, WHERE)
    try:
        check_labels(labels, trained.network.outputs, ranges, WHERE)
    except UserError as error:
        if names := trained.format.class_names:
            raise UserError(f"{error}; or give names, as texts: {listed([*names])}") from None
        raise
    return labels.astype(np.int64)


def _values(given: Array, trained: TrainedModel) -> Array:
    """Return a finite number for each output unit; of labels 0 or 1."""
    outputs, several_labels = trained.network.outputs, trained.format.outputs == "labels"
    what = several(outputs, "truth value" if several_labels else "number")
    if given.dtype.kind not in "iubf" or given.size != len(given) * outputs:
        raise UserError(
            f"{WHERE}: has shape {given.shape} and type {given.dtype}, but the model computes {what} of each "
            "example; give those"
        )
    values = given.reshape(len(given), outputs).astype(np.float64)
    right = np.isin(values, (0, 1)) if several_labels else np.isfinite(values)
    if not right.all():
        row = int(right.all(axis=1).argmin())
        raise UserError(f"{WHERE}: row {row} holds {given[row]}, but the model computes {what}; give those")
    return values
