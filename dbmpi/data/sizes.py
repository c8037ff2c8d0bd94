"""Whether inputs and targets are of sizes that a network learns from, and what brings them there. Local.

Warnings where they are not, and what `data.scaling = "auto"` stands for. The rates that "auto" chooses are
for values of some ones in size, as the first weights are. The first rows are looked at; there are no warnings
of bytes and pixels, which are of one size.
"""

from typing import Literal, TypeAlias

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.split import Split
from dbmpi.errors import UserError

Mode: TypeAlias = Literal["none", "columns", "all"]

SAMPLE_ROWS, SAMPLE_VALUES = 1024, 1 << 18  # at most
FEWEST_ROWS = 16  # of fewer deviations say nothing
APART = 100.0  # deviations of two columns, the larger for the smaller
SMALL, LARGE = 0.05, 30.0  # root mean square of the largest column
SMALL_TARGET = 0.5  # standard deviation
FAR_TARGET, FAR_DEVIATIONS = 5.0, 1.5  # mean of a target, when it is beyond both
FAINT_PIXEL, BRIGHT_PIXEL = 0.05, 3.0  # root mean square of all pixels
BRIGHT_BYTE = 128  # brightness uses all bytes: where none is so large, they are something else
REMEDY = (
    'set data.scaling = "columns", which takes away the mean of each column and divides by its standard '
    "deviation"
)


def suiting(train: Split) -> Mode:
    """Return the value of `data.scaling` that suits a training set: what "auto" stands for.

    "columns" for features that nobody has scaled, whose sizes may be anything; "all" for pixels that are not
    of a size, and for whatever else comes with float targets, which are to be scaled in any case.
    """
    amounts = train.targets_width is not None and not train.binary
    is_bytes = train.dtype == np.uint8
    given = (train.scale, train.offset) != (1 / 255 if is_bytes else 1.0, 0.0)
    try:
        largest, size = _first_values(train)
    except UserError:  # told where the rows are learned from
        largest, size = float(BRIGHT_BYTE), 1.0
    if not given and train.image is None and not (is_bytes and largest >= BRIGHT_BYTE):
        return "columns"
    return "none" if (given or FAINT_PIXEL <= size <= BRIGHT_PIXEL) and not amounts else "all"


def _first_values(train: Split) -> tuple[float, float]:
    """Return the largest value as stored, and the root mean square as the file scales them."""
    x_NI = train.read([_sample(train)])
    seen_NI = x_NI * np.asarray(train.scale) + np.asarray(train.offset)
    return float(x_NI.max()), float(np.sqrt(np.square(seen_NI, dtype=np.float64).mean()))


def _sample(train: Split) -> tuple[int, int]:
    """Return the range of the first rows, as many as say something."""
    return 0, min(train.rows, SAMPLE_ROWS, max(FEWEST_ROWS, SAMPLE_VALUES // train.inputs))


def warnings(train: Split) -> tuple[str, ...]:
    """Return what is wrong with the sizes of inputs and targets of the training set, each with its remedy."""
    if train.rows < FEWEST_ROWS:
        return ()
    rows = _sample(train)
    try:
        found = [
            f"{train.where(text[0])}{text[1:]}; {REMEDY}"
            for text in (_of_inputs(train, rows), _of_targets(train, rows))
            if text
        ]
    except UserError:  # told where the rows are learned from
        return ()
    return tuple(found)


def _of_inputs(train: Split, rows: tuple[int, int]) -> str:
    if train.image is not None or train.dtype == np.uint8:
        return ""
    x_NI = train.read([rows]) * np.asarray(train.scale) + np.asarray(train.offset)
    deviations, largest = _deviations(x_NI), _largest(x_NI)
    if deviations.size and deviations.max() > APART * deviations.min():
        return f"x has columns of standard deviations from {deviations.min():.2g} to {deviations.max():.2g}"
    return "" if SMALL <= largest <= LARGE or not largest else f"x has columns of size {largest:.2g}"


def _of_targets(train: Split, rows: tuple[int, int]) -> str:
    if train.targets_width is None or train.binary:
        return ""
    targets_NT = train.targets([rows])
    deviations, mean_T = _deviations(targets_NT), np.abs(targets_NT.mean(axis=0, dtype=np.float64))
    if deviations.size and deviations.min() < SMALL_TARGET:
        return f"y has targets of standard deviation {deviations.min():.2g}"
    far = np.maximum(FAR_TARGET, FAR_DEVIATIONS * targets_NT.std(axis=0, dtype=np.float64))
    return f"y has targets of means up to {mean_T.max():.2g}" if (mean_T > far).any() else ""


def _deviations(values_NC: Array) -> Array:
    """Return the standard deviations of the columns that are not constant."""
    deviations = values_NC.std(axis=0, dtype=np.float64)
    return np.asarray(deviations[deviations > 0])


def _largest(values_NC: Array) -> float:
    """Return the largest root mean square of a column."""
    return float(np.sqrt(np.square(values_NC, dtype=np.float64).mean(axis=0).max()))
