"""Whether inputs and targets are of sizes that a network learns from: warnings where they are not. Local.

The rates that "auto" chooses are for values of some ones in size, as the first weights are. The first rows
are looked at, of features as floats: what a byte or a pixel holds is of one size.
"""

from collections.abc import Mapping

import numpy as np

from dbmpi.data.split import Split
from dbmpi.errors import UserError

SAMPLE_ROWS, SAMPLE_VALUES = 1024, 1 << 18  # at most
APART = 100.0  # deviations of two columns, the larger for the smaller
LARGE, LARGE_TARGET = 30.0, 10.0  # root mean square of a column; standard deviation of a target
REMEDY = "take away the mean of each column and divide by its standard deviation as you write the file"


def warnings(train: Split, chance: Mapping[str, float]) -> tuple[str, ...]:
    """Return what is wrong with the sizes of inputs and targets, each with its remedy.

    Parameters
    ----------
    train
        The training set.
    chance
        Losses of chance by the name of the loss, of which "squared" tells how far targets lie apart.
    """
    found = (_of_inputs(train), _of_targets(train, chance.get("squared", 0.0)))
    return tuple(text for text in found if text)


def _of_inputs(train: Split) -> str:
    if train.image is not None or train.dtype == np.uint8:
        return ""
    rows = min(train.rows, SAMPLE_ROWS, max(2, SAMPLE_VALUES // train.inputs))
    try:
        x_NI = train.read([(0, rows)]) * train.scale + train.offset
    except UserError:  # told where the rows are learned from
        return ""
    deviations = x_NI.std(axis=0, dtype=np.float64)
    deviations, largest = deviations[deviations > 0], float(np.sqrt(np.square(x_NI).mean(axis=0).max()))
    where = f"{train.path}: train/x has columns"
    if deviations.size and deviations.max() > APART * deviations.min():
        least, most = deviations.min(), deviations.max()
        return f"{where} whose standard deviations are {least:.3g} to {most:.3g}; {REMEDY}"
    return f"{where} of size {largest:.3g}; {REMEDY}" if largest > LARGE else ""


def _of_targets(train: Split, chance: float) -> str:
    if train.targets_width is None:
        return ""
    deviation = (2 * chance / train.targets_width) ** 0.5
    if deviation <= LARGE_TARGET:
        return ""
    return f"{train.path}: train/y has targets of standard deviation {deviation:.3g}; {REMEDY}"
