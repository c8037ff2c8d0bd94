"""Standardization (`data.scaling`): what it takes, found in the training set. Local.

All of it is read, or of a very large one stretches that are spread over it evenly. Which rows these are, and
how many are read at a time, follows from the shape of the data set alone, so that the numbers are the same
wherever, and however often, they are found.
"""

from collections.abc import Iterator

from dbmpi.data.factors import Scaling, array
from dbmpi.data.moments import Moments
from dbmpi.data.split import Split
from dbmpi.layout.boxes import Range

READ_VALUES = 1 << 20  # inputs read at a time
MOST_VALUES = 1 << 28  # read in all, a few seconds long: 1 GB of float32
ONE_FOR_ALL = "all"  # of the values of `data.scaling`: the other one is "columns"


def measure(train: Split, mode: str) -> Scaling:
    """Return what brings inputs, and float targets, to a mean of 0 and a deviation of 1.

    Parameters
    ----------
    train
        The training set, whole rows: nothing else is looked at. Of more than `MOST_VALUES` inputs, about as
        many are read.
    mode : {"columns", "all"}
        Whether each input column gets numbers of its own, or all get the same. Each target has its own.

    Raises
    ------
    UserError
        As `Split.read`.
    """
    inputs, targets, scaled = Moments(), Moments(), train.targets_width is not None and not train.binary
    scale, offset = (array(one, train.input_shape).ravel() for one in (train.scale, train.offset))
    for rows in _stretches(train.rows, train.inputs):
        inputs.add(train.read([rows]).reshape(-1, train.inputs) * scale + offset)
        if scaled:
            targets.add(train.targets([rows]))
    found = inputs.together() if mode == ONE_FOR_ALL else inputs
    by, plus = scale / found.deviation_C, (offset - found.mean_C) / found.deviation_C
    of_inputs = tuple(by.tolist()), tuple(plus.tolist())
    if not scaled:
        return Scaling(mode, *of_inputs)
    target_scale = 1 / targets.deviation_C
    target_offset = -targets.mean_C * target_scale
    return Scaling(mode, *of_inputs, tuple(target_scale.tolist()), tuple(target_offset.tolist()))


def _stretches(rows: int, inputs: int) -> Iterator[Range]:
    """Yield the ranges of rows that are read: all, or some with equal gaps, from the first to the last."""
    step = max(1, READ_VALUES // inputs)
    if rows * inputs <= MOST_VALUES:
        yield from ((start, min(start + step, rows)) for start in range(0, rows, step))
        return
    number = min(rows // step, max(2, MOST_VALUES // (step * inputs)))
    for at in range(number):
        start = at * (rows - step) // max(1, number - 1)
        yield start, start + step
