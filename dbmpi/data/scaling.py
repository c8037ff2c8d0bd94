"""Standardization (`data.scaling`): what it takes, found in one pass over the training set. Local.

The pass reads ranges of rows whose size follows from the data set alone, so that the numbers are the same
wherever, and however often, they are found.
"""

from dbmpi.data.factors import Scaling, array
from dbmpi.data.moments import Moments
from dbmpi.data.split import Split

READ_VALUES = 1 << 20  # inputs read at a time
ONE_FOR_ALL = "all"  # of the values of `data.scaling`: the other one is "columns"


def measure(train: Split, mode: str) -> Scaling:
    """Return what brings inputs, and float targets, to a mean of 0 and a deviation of 1.

    Parameters
    ----------
    train
        The training set, whole rows: nothing else is looked at.
    mode : {"columns", "all"}
        Whether each input column gets numbers of its own, or all get the same. Each target has its own.

    Raises
    ------
    UserError
        As `Split.read`.
    """
    inputs, targets, scaled = Moments(), Moments(), train.targets_width is not None and not train.binary
    step = max(1, READ_VALUES // train.inputs)
    scale, offset = (array(one, train.input_shape).ravel() for one in (train.scale, train.offset))
    for start in range(0, train.rows, step):
        rows = [(start, min(start + step, train.rows))]
        inputs.add(train.read(rows).reshape(-1, train.inputs) * scale + offset)
        if scaled:
            targets.add(train.targets(rows))
    found = inputs.together() if mode == ONE_FOR_ALL else inputs
    by, plus = scale / found.deviation_C, (offset - found.mean_C) / found.deviation_C
    of_inputs = tuple(by.tolist()), tuple(plus.tolist())
    if not scaled:
        return Scaling(mode, *of_inputs)
    target_scale = 1 / targets.deviation_C
    target_offset = -targets.mean_C * target_scale
    return Scaling(mode, *of_inputs, tuple(target_scale.tolist()), tuple(target_offset.tolist()))
