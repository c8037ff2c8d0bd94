"""What is right of rows in memory, as an evaluation takes it. Pure. Letters: N rows, O outputs."""

from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.sanity import LARGEST, check_labels, check_values
from dbmpi.errors import UserError
from dbmpi.inference.choosing import labels_of
from dbmpi.layout.boxes import whole
from dbmpi.text import listed, several
from dbmpi.trained.model import TrainedModel

WHERE = "y"


def known(targets: Any, trained: TrainedModel, rows: int) -> Array:
    """Return labels, int64 `(N,)`, or truth values or targets, float64 `(N, O)`: all that a kernel may read.

    Parameters
    ----------
    targets
        As the model's data file has them, or classes by name.
    rows
        How many examples they are of.

    Raises
    ------
    UserError
        They are not as many, or others than the model computes.
    """
    given = np.asarray(targets)
    if given.shape[:1] != (rows,):
        raise UserError(
            f"{WHERE}: has shape {given.shape} for {several(rows, 'example')}; give what is right for each"
        )
    return _classes(given, trained) if trained.format.outputs == "classes" else _numbers(given, trained)


def _classes(given: Array, trained: TrainedModel) -> Array:
    """Return labels of classes as a file might have them: names, integers, truth values, one-hot rows."""
    if given.dtype.kind == "O":
        given = np.array(given.tolist())  # integers, texts or bytes
    column, names = given.size == len(given), trained.format.class_names
    if given.dtype.kind == "U" or (given.dtype.kind == "f" and column and names):
        given = np.char.encode(given.astype(np.str_), "utf-8")
    ranges, made = [(0, len(given))], labels_of(trained, given.dtype, given.shape[1:], WHERE)
    labels = given if made is None else made.decode(given, ranges, WHERE)
    labels = _formed(labels, (len(given),), "biu", "numbers of classes")
    try:
        check_labels(labels, trained.network.outputs, ranges, WHERE)
    except UserError as error:
        if names:
            raise UserError(f"{error}; or give names, as texts: {listed([*names])}") from None
        raise
    return labels.astype(np.int64, copy=False)


def _numbers(given: Array, trained: TrainedModel) -> Array:
    """Return truth values of labels, or targets, one for each output."""
    y_NO = _formed(given, (len(given), trained.network.outputs), "biuf", "numbers")
    if trained.format.outputs == "targets":
        check_values(y_NO, LARGEST, [(0, len(y_NO))], WHERE, whole(y_NO.shape[1:]), y_NO.shape[1:])
    elif not ((y_NO == 0) | (y_NO == 1)).all():
        raise UserError(f"{WHERE}: should be 1 for the labels that are right, and 0 for others; give those")
    return y_NO.astype(np.float64, copy=False)


def _formed(y: Array, shape: tuple[int, ...], kinds: str, wanted: str) -> Array:
    """Return an array in its shape, a column too where it has one axis. Raises UserError for another one."""
    if y.shape not in ([shape[:1], (shape[0], 1)] if shape[1:] in ((), (1,)) else [shape]):
        raise UserError(f"{WHERE}: has shape {y.shape}, but of these rows and this model it is {shape}")
    if y.dtype.kind not in kinds:
        raise UserError(f"{WHERE}: has type {y.dtype}, but should be {wanted}; convert it")
    return y.reshape(shape)
