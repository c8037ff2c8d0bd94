"""From rows as stored to the columns that a network sees, scaled by a number, or by one for each column.

Shape letters: N rows, C columns, B minibatch.
"""

from typing import Any, TypeAlias

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.factors import Factor
from kernels.layers.input import gather_transpose, gather_transpose_scaled

Scale: TypeAlias = tuple[float, float] | tuple[Array, Array]  # and offset


def scale_of(scale: Factor, offset: Factor, dtype: "np.dtype[Any]", stored: "np.dtype[Any]") -> Scale:
    """Return a scale and an offset as kernels take them: two numbers, or two arrays, a number each column.

    Parameters
    ----------
    dtype, stored
        Of the network, and of the rows: columns of float64 are scaled in float64.
    """
    if isinstance(scale, float) and isinstance(offset, float):
        return scale, offset
    columns = next(len(one) for one in (scale, offset) if not isinstance(one, float))
    wide = np.float64 if stored == np.float64 else dtype
    return np.full(columns, scale, wide), np.full(columns, offset, wide)


def gather(raw_NC: Array, rows_B: Array, by: Scale, out_CB: Array) -> None:
    """Gather rows into the columns of a minibatch, scaled; `rows_B` are int64."""
    kernel = gather_transpose if isinstance(by[0], float) else gather_transpose_scaled
    kernel(raw_NC, rows_B, *by, out_CB)
