"""What is right of rows in memory, as an evaluation takes it. Pure. Letter: N rows."""

from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.sanity import check_labels
from dbmpi.errors import UserError
from dbmpi.inference.choosing import labels_of
from dbmpi.text import listed, several
from dbmpi.trained.model import TrainedModel

WHERE = "y"


def known(targets: Any, trained: TrainedModel, rows: int) -> Array:
    """Return labels, int64 `(N,)`; or truth values or targets as they are, which the evaluation checks.

    Parameters
    ----------
    targets
        As the model's data file has them, or classes by name.
    rows
        How many examples they are of.

    Raises
    ------
    UserError
        They are not as many, or of no class of the model.
    """
    given = np.asarray(targets)
    if given.shape[:1] != (rows,):
        raise UserError(
            f"{WHERE}: has shape {given.shape} for {several(rows, 'example')}; give what is right for each"
        )
    return _classes(given, trained) if trained.format.outputs == "classes" else given


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
