"""What an evaluation counts beside the loss, as one vector of figures, and what it comes to. Pure.

The vectors of all partitions, minibatches and replicas are added up: counts are whole numbers, and exact.
Letters: K classes or labels, T targets, one for each unit of the last layer.

    classes     rows and right answers of each class (K, K), and right answers among the k best (1); of an
                evaluation that counts all there is, as the last one of a run, also how often each class was
                taken for each (K x K, rows of the true class)
    labels      of each label (K, K, K): rightly said, wrongly said, wrongly not said
    targets     of each target (T, T, T, T): sums of the absolute error and of its square, and of the target's
                distance from its centre and of the square of that
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dbmpi.arrays import Array

PARTS = {"classes": 2, "labels": 3, "targets": 4}  # figures of each unit
ROUNDING = 1e-12  # of a sum of squares: less is what rounding has left of 0
MOST_SHOWN = 1000  # classes whose recall is listed
MOST_CONFUSED = 100  # classes that are counted in pairs


@dataclass(frozen=True)
class Measures:
    """Which figures there are, and what they say.

    Attributes
    ----------
    kind
        What the units of the last layer stand for.
    units
        Of the last layer.
    top
        k of the top-k accuracy; 0: it is not counted.
    centres
        Of targets: about their means, as the network sees them; none: 0.
    deviations
        Of targets: what an error of 1 is in the units of the file; none: 1.
    """

    kind: Literal["classes", "labels", "targets"]
    units: int
    top: int = 0
    centres: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """Length of the vector of figures."""
        return PARTS[self.kind] * self.units + (self.kind == "classes")

    @property
    def full_size(self) -> int:
        """Length of the vector of an evaluation that counts all there is."""
        pairs = self.kind == "classes" and self.units <= MOST_CONFUSED
        return self.size + (self.units**2 if pairs else 0)

    def parts(self, figures: Array) -> Array:
        """Return the figures of units as they are listed above, `(parts, units)`: a view."""
        return figures[: PARTS[self.kind] * self.units].reshape(-1, self.units)

    def shown(self, figures: Sequence[float], rows: int) -> dict[str, Any]:
        """Return what records and the summary say of `rows` examples, by name; nothing without figures."""
        found = np.asarray(figures, np.float64)
        if len(found) not in (self.size, self.full_size) or not rows:
            return {}
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.kind == "labels":
                return _of_labels(*self.parts(found))
            return self._of_classes(found, rows) if self.kind == "classes" else self._of_targets(found, rows)

    def _of_classes(self, figures: Array, rows: int) -> dict[str, Any]:
        """Return the mean of the recalls of classes that have rows, and each of them."""
        of_class, right = self.parts(figures)
        there = of_class > 0
        recall = right / of_class
        said: dict[str, Any] = {"balanced_accuracy": float(recall[there].mean())}
        if self.top:
            said[f"top{self.top}_accuracy"] = float(figures[self.size - 1]) / rows
        if self.units <= MOST_SHOWN:
            said["recall"] = [float(one) if has else None for one, has in zip(recall, there, strict=True)]
        if len(figures) > self.size:
            said["confusion"] = figures[self.size :].astype(int).reshape(self.units, -1).tolist()
        return said

    def _of_targets(self, figures: Array, rows: int) -> dict[str, Any]:
        """Return errors in the units of the file, and the mean R2 of the targets that are not constant."""
        absolute, squares, away, away_squares = self.parts(figures)
        by = np.asarray(self.deviations or 1.0)
        around = away_squares - away**2 / rows  # squared distances from the mean of these rows
        r2 = (1 - squares / around)[around > ROUNDING * away_squares]
        return {
            "r2": float(r2.mean()) if r2.size else None,
            "mean_absolute_error": float((absolute * by).mean() / rows),
            "mean_squared_error": float((squares * by**2).mean() / rows),
        }


def _of_labels(right: Array, said_wrongly: Array, missed: Array) -> dict[str, Any]:
    """Return F1: the mean over labels, 0 of one that is never right, and that of all answers together."""
    each = np.nan_to_num(2 * right / (2 * right + said_wrongly + missed))
    together = 2 * right.sum() / max((2 * right + said_wrongly + missed).sum(), 1)
    return {"macro_f1": float(each.mean()), "micro_f1": float(together)}
