"""What a model says of each row, as a record: classes, labels or targets, and probabilities. Pure.

Shape letters: N rows, K classes, labels or targets.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dbmpi.arrays import Array, Record
from dbmpi.data.format import Format
from dbmpi.trained import answers
from dbmpi.trained.model import TrainedModel

AT_ONCE = 1 << 16  # outputs that become probabilities at a time: these are computed in float64


def layout(trained: TrainedModel) -> "np.dtype[Any]":
    """Return the type of a record.

    Of classes `class`, the number of the likeliest, its `probability`, and `probabilities` of all; of labels
    `labels`, 1 for those that are said to be right, and `probabilities`; of targets `y`, as files have them.
    """
    outputs, dtype = trained.network.outputs, trained.dtype
    if trained.format.outputs == "classes":
        return np.dtype([("class", "i8"), ("probability", dtype), ("probabilities", dtype, (outputs,))])
    if trained.format.outputs == "labels":
        return np.dtype([("labels", "i1", (outputs,)), ("probabilities", dtype, (outputs,))])
    return np.dtype([("y", dtype, (outputs,) if outputs > 1 else ())])


def records(z_NK: Array, trained: TrainedModel, kind: "np.dtype[Any]") -> Record:
    """Return the records of outputs, `(N,)`; `kind` is their `layout`."""
    found = np.empty(len(z_NK), kind)
    step = max(1, AT_ONCE // z_NK.shape[1])
    for start in range(0, len(z_NK), step):
        _fill(found[start : start + step], z_NK[start : start + step], trained)
    return found


def _fill(found: Record, z_NK: Array, trained: TrainedModel) -> None:
    form, loss = trained.format, trained.network.loss
    if form.outputs == "targets":
        found["y"] = answers.targets(z_NK, form).reshape(found["y"].shape)
        return
    p_NK = answers.probabilities(z_NK, loss)
    found["probabilities"] = p_NK
    if form.outputs == "labels":
        found["labels"] = answers.labels(z_NK)
        return
    found["class"] = answers.classes(z_NK)
    found["probability"] = p_NK[np.arange(len(p_NK)), found["class"]]


def names_of(form: Format, units: int) -> Sequence[str]:
    """Return the names of classes or labels; their numbers where they have none."""
    names = form.class_names
    return names if len(names) == units else [str(number) for number in range(units)]
