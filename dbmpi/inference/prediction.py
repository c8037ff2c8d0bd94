"""What a trained model says of rows: logits or values, block by block.

Shape letters: N rows, O output units.
"""

from typing import TYPE_CHECKING

import numpy as np

from dbmpi.arrays import Array
from dbmpi.inference.output import Output
from dbmpi.inference.records import layout, records
from dbmpi.inference.rows import ArrayRows, Block
from dbmpi.inference.rows_told import RowsTold
from dbmpi.inference.sizes import block_rows, minibatch
from dbmpi.trained.forward import Forward
from dbmpi.trained.model import TrainedModel

if TYPE_CHECKING:
    from dbmpi.inference.work import Crew


class Prediction:
    """Computes the outputs of blocks of rows on one partition, in step with the others."""

    def __init__(self, trained: TrainedModel, forward: Forward) -> None:
        self._forward, self._width = forward, minibatch(trained)

    def outputs(self, x: Array) -> Array:
        """Return what the own output units say of examples, `(N, O)`, of the model's dtype."""
        first, last = self._forward.model.outputs
        z_NO = np.empty((len(x), last - first), self._forward.model.dtype)
        for start in range(0, len(x), self._width):
            rows = slice(start, start + self._width)
            z_NO[rows] = self._forward.outputs(x[rows])
        return z_NO


def outputs(trained: TrainedModel, x: Array, forward: Forward | None = None) -> Array:
    """Return what a model says of examples in memory, in this process: `(N, O)`, of the model's dtype.

    Logits, or values: `trained.answers` makes probabilities, classes, labels or targets of them.

    Parameters
    ----------
    trained
        The model; open if `forward` is not given.
    x : array (N, *shape of an example), or (N, I)
        As the model's data file has them: numbers of any type.
    forward
        The whole model in memory, if it is there.

    Raises
    ------
    UserError
        A row is none that the model can take.
    """
    forward = forward or Forward(trained)
    rows = ArrayRows(x, trained, forward.window)
    prediction = Prediction(trained, forward)
    z_NO = np.empty((len(x), trained.network.outputs), trained.dtype)
    start = 0
    for load in rows.blocks(block_rows(trained, rows.total)):
        part = prediction.outputs(load()[0])
        z_NO[start : start + len(part)] = part
        start += len(part)
    return z_NO


def predicted(crew: "Crew", out: Output) -> int:
    """Write what the model says of all rows; return how many there were, at rank 0. In step with all ranks.

    Raises
    ------
    UserError
        A row is none that the model can take, or the file cannot be written.
    """
    team, trained = crew.team, crew.trained
    prediction, kind, rows = Prediction(trained, crew.forward), layout(trained), 0

    def compute(block: Block) -> bytes | None:
        z_NO = team.gather(prediction.outputs(block[0]), crew.partitioning)
        return None if z_NO is None else out.encode(records(z_NO, trained, kind))

    contents = team.ordered(crew.loads(), compute)
    if team.rank:
        for _ in contents:  # nothing: it computes
            raise AssertionError
        return 0
    told = RowsTold(crew.rows.total)
    with out.writing() as append:
        for content in contents:
            rows += out.rows(content)
            told.more(out.rows(content))
            if not append(content) and team.alone:
                break
    return rows
