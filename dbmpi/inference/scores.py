"""What an evaluation comes to: the loss, and what is counted beside it, also class by class. Pure.

Letters: K classes, labels or targets, one for each unit of the last layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.format import Format
from dbmpi.data.measures import MOST_SHOWN, ROUNDING, Measures
from dbmpi.inference.records import names_of
from dbmpi.trained.model import TrainedModel


@dataclass(frozen=True)
class Totals:
    """What was counted; those of all partitions and replicas are added up.

    Attributes
    ----------
    rows
        At partition 0, and 0 elsewhere.
    loss_sum, correct
        As `model.losses.Score`.
    figures : float64 array (Measures.size,)
    confusion : int64 array (K, K)
        Rows of each class (row) that were taken for each class (column); None where it is not counted: at
        partition 0 alone, and only of classes that are not too many.
    """

    rows: int
    loss_sum: float
    correct: int
    figures: Array
    confusion: Array | None

    def __add__(self, other: "Totals") -> "Totals":
        counted = [one.confusion for one in (self, other) if one.confusion is not None]
        return Totals(
            self.rows + other.rows,
            self.loss_sum + other.loss_sum,
            self.correct + other.correct,
            self.figures + other.figures,
            sum(counted[1:], counted[0]) if counted else None,
        )


def measures_of(trained: TrainedModel, centres: Sequence[float] = ()) -> Measures:
    """Return what is counted: the same as in the evaluations of the run.

    `centres` are numbers near the targets, as the network sees them; none: 0.
    """
    kind, outputs, top = trained.format.outputs, trained.network.outputs, trained.config.evaluation.top
    if kind == "classes":
        counted = top if trained.network.loss == "softmax" and outputs > top else 0
        return Measures(kind, outputs, counted)
    if kind == "labels":
        return Measures(kind, outputs)
    deviations = tuple(1 / scale for scale in trained.format.target_scale)
    return Measures(kind, outputs, centres=tuple(centres), deviations=deviations)


def confusion(measures: Measures) -> Array | None:
    """Return a confusion matrix of no rows; None where there is none, or there are too many classes."""
    few = measures.kind == "classes" and measures.units <= MOST_SHOWN
    return np.zeros((measures.units, measures.units), np.int64) if few else None


def scores(totals: Totals, measures: Measures, form: Format) -> dict[str, Any]:
    """Return what there is to say, as JSON has it: `loss`, `accuracy` and more, and a table by class.

    Raises
    ------
    ValueError
        There are no rows.
    """
    if not totals.rows:
        raise ValueError("no rows")
    rows, said = totals.rows, measures.shown(totals.figures.tolist(), totals.rows)
    said.pop("recall", None)
    found: dict[str, Any] = {"rows": rows, "loss": _finite(totals.loss_sum / rows)}
    if measures.kind != "targets":
        answers = rows * (measures.units if measures.kind == "labels" else 1)
        found["accuracy"] = totals.correct / answers
    found |= {name: _finite(value) for name, value in said.items()}
    parts = measures.parts(totals.figures)
    if measures.kind == "targets":
        return found | {"targets": _of_targets(parts, measures, rows)}
    names = names_of(form, measures.units)
    if measures.kind == "labels":
        right, wrongly, missed = parts
        return found | {"labels": _table(names, right, right + missed, right + wrongly)}
    matrix = totals.confusion
    if matrix is not None:
        found["classes"] = _table(names, matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0))
        found["confusion"] = matrix.tolist()
    return found


def _table(names: Sequence[str], right: Array, there: Array, said: Array) -> list[dict[str, Any]]:
    """Return for each class how many rows are of it, and precision, recall and F1; None: of nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {"precision": right / said, "recall": right / there, "f1": 2 * right / (said + there)}
    return [
        {
            "name": name,
            "rows": int(there[at]),
            **{key: _finite(float(values[at])) for key, values in columns.items()},
        }
        for at, name in enumerate(names)
    ]


def _of_targets(parts: Array, measures: Measures, rows: int) -> list[dict[str, Any]]:
    """Return for each target R2 and errors, in the units of the file; R2 is None of one that is constant."""
    absolute, squares, away, away_squares = parts
    by = np.broadcast_to(np.asarray(measures.deviations or 1.0), absolute.shape)
    around = away_squares - away**2 / rows
    found = []
    for at in range(measures.units):
        varies = around[at] > ROUNDING * away_squares[at]
        r2 = _finite(1 - squares[at] / around[at]) if varies else None
        errors = absolute[at] * by[at] / rows, squares[at] * by[at] ** 2 / rows
        found.append(
            {
                "name": str(at),
                "r2": r2,
                "mean_absolute_error": _finite(errors[0]),
                "mean_squared_error": _finite(errors[1]),
            }
        )
    return found


def _finite(value: float | None) -> float | None:
    """Return a number as JSON can hold it: None for what is not finite."""
    return None if value is None or not np.isfinite(value) else float(value)
