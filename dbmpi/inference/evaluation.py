"""The figures of a trained model on rows: those of the run's own evaluations, and a confusion matrix.

Shape letters: B examples of a minibatch, O own output units.
"""

from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.factors import Factor
from dbmpi.data.measures import Measures
from dbmpi.errors import UserError
from dbmpi.inference.known import known
from dbmpi.inference.rows import ArrayRows, Block, Rows
from dbmpi.inference.rows_told import RowsTold
from dbmpi.inference.scores import Totals, confusion, measures_of, scores
from dbmpi.inference.sizes import block_rows, minibatch
from dbmpi.layout.boxes import Range
from dbmpi.model.boundary import Boundary
from dbmpi.model.figures import Figures
from dbmpi.model.inputs import gather, scale_of
from dbmpi.model.losses import Score
from dbmpi.model.workspace import Workspace
from dbmpi.trained.forward import Forward
from dbmpi.trained.model import TrainedModel
from kernels.losses.softmax import ARGMAX

if TYPE_CHECKING:
    from dbmpi.inference.work import Crew


class Evaluation:
    """Counts what a partition computes of blocks of rows, in step with the other partitions.

    Parameters
    ----------
    trained
        The model.
    forward
        A partition of it.
    measures
        What is counted.
    """

    def __init__(self, trained: TrainedModel, forward: Forward, measures: Measures) -> None:
        self._forward, self._width = forward, minibatch(trained)
        model, self._measures = forward.model, measures
        self._first = model.partition == 0
        self._counts = Figures(measures, model.partition, model.outputs[0])
        self._figures = np.zeros(measures.size)
        self._confusion = confusion(measures) if self._first else None
        self._score, self._rows = Score(0.0, 0), 0
        scale, offset = (_own(one, model.outputs) for one in trained.format.of_targets)
        self._scale = scale_of(scale, offset, trained.dtype, np.dtype(np.float64))

    def add(self, block: Block) -> None:
        """Count a block of rows with labels or targets."""
        x, targets = block
        assert targets is not None
        for start in range(0, len(x), self._width):
            rows = slice(start, start + self._width)
            width, expected = self._forward.load(x[rows]), self._expected(targets[rows])
            count = partial(self._count, expected)
            with np.errstate(over="ignore", invalid="ignore"):
                self._score += self._forward.model.evaluate(self._forward.theta, width, expected, count)
            self._rows += width

    def _expected(self, targets: Array) -> Array:
        """Return targets as the loss takes them: labels, or those of the own units, scaled, (O, B)."""
        if self._measures.kind == "classes":
            return targets.astype(np.int64, copy=False)
        first, last = self._forward.model.outputs
        t_OB = np.empty((last - first, len(targets)), self._forward.model.dtype)
        own = np.ascontiguousarray(targets.reshape(len(targets), -1)[:, first:last])
        gather(own, np.arange(len(targets)), self._scale, t_OB)
        return t_OB

    def _count(self, expected: Array, workspace: Workspace, boundary: Boundary) -> None:
        """Count a minibatch whose loss was just evaluated."""
        self._counts.add(workspace, boundary, expected, self._figures)
        if self._confusion is not None:
            said_B = workspace.merged[ARGMAX].astype(np.int64)
            known_B = said_B >= 0  # an answer that is not a number is none
            np.add.at(self._confusion, (expected[known_B], said_B[known_B]), 1)

    def totals(self) -> Totals:
        """Return what was counted."""
        rows = self._rows if self._first else 0
        return Totals(rows, *self._score, self._figures, self._confusion)


def _own(value: Factor, outputs: Range) -> Factor:
    """Return the part of a factor that belongs to some units."""
    return value if isinstance(value, float) else value[slice(*outputs)]


def centres_of(trained: TrainedModel, rows: Rows) -> tuple[float, ...]:
    """Return the means of the first targets, as the network sees them; nothing where they are no numbers."""
    if trained.format.outputs != "targets" or trained.format.target_scale:
        return ()
    first = next(rows.blocks(block_rows(trained, rows.total)), None)
    targets = first()[1] if first is not None else None
    if targets is None:
        return ()
    return tuple(targets.reshape(len(targets), -1).mean(axis=0, dtype=np.float64).tolist())


def evaluate(trained: TrainedModel, rows: Rows, forward: Forward | None = None) -> dict[str, Any]:
    """Return the figures of a model on rows, in this process: `scores.scores`.

    Parameters
    ----------
    trained
        The model; open if `forward` is not given.
    rows
        With labels or targets.
    forward
        The whole model in memory, if it is there.

    Raises
    ------
    UserError
        A row is none that the model can take.
    ValueError
        There are no rows.
    """
    measures = measures_of(trained, centres_of(trained, rows))
    evaluation = Evaluation(trained, forward or Forward(trained), measures)
    for load in rows.blocks(block_rows(trained, rows.total)):
        evaluation.add(load())
    return scores(evaluation.totals(), measures, trained.format)


def evaluate_arrays(
    trained: TrainedModel, x: Array, y: Any, forward: Forward | None = None
) -> dict[str, Any]:
    """Return the figures of a model on arrays, as `evaluate` does.

    Parameters
    ----------
    x : array (N, *shape of an example), or (N, I)
    y
        What is right of them: see `known`.

    Raises
    ------
    UserError, ValueError
        As `evaluate` and `known`.
    """
    forward = forward or Forward(trained)
    return evaluate(trained, ArrayRows(x, trained, forward.window, known(y, trained, len(x))), forward)


def evaluated(crew: "Crew") -> dict[str, Any] | None:
    """Return the figures of all rows, and what they are of, at rank 0. In step with all ranks.

    Raises
    ------
    UserError
        A row is none that the model can take, or there is none.
    """
    trained, team = crew.trained, crew.team
    measures = measures_of(trained, centres_of(trained, crew.rows))
    evaluation, told = Evaluation(trained, crew.forward, measures), RowsTold(crew.rows.total)
    for load in team.mine(crew.loads()):
        block = load()
        evaluation.add(block)
        told.more(len(block[0]) * team.replicas)  # the others are about as far
    parts = team.all_of(evaluation.totals(), "the figures of all ranks")
    if parts is None:
        return None
    totals, source = reduce(add, parts), crew.plan.source
    if totals.rows != (crew.rows.total or totals.rows):
        raise AssertionError(f"{totals.rows} rows of {crew.rows.total}")
    if not totals.rows:
        raise UserError(f"{source.path}: has no rows; give some")
    about = {"model": str(trained.path), "parameters": trained.which, "data": str(source.path)}
    return {**about, "split": source.split, **scores(totals, measures, trained.format)}
