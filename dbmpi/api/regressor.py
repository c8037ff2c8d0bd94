"""The regressor, as scikit-learn has them. Letters: N rows, T targets."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import column_or_1d

from dbmpi.api.data_file import Examples
from dbmpi.api.estimator import Network
from dbmpi.arrays import Array


class Regressor(RegressorMixin, Network):
    """A network that says one number of an example, or several.

    Parameters and attributes are those of `Classifier`, but for `class_weight` and `classes_`. With `scaling`
    targets too are brought to a mean of 0 and a deviation of 1 while they are learned.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Regressor":
        """Train; `y` is `(N,)` or `(N, T)`. Else as `Classifier.fit`."""
        with self._as_before_or_trained():
            X, y = self._inputs(X, y, multi_output=True, y_numeric=True)
            y = np.asarray(y, np.float64)
            y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
            self._train(Examples(X, y, self._weights(sample_weight, X)), {"model.loss": "squared"})
        return self

    def predict(self, X: Any) -> Array:
        """Return the targets of each example in the units of `y`, float64 `(N,)` or `(N, T)`."""
        X = self._rows(X)
        return self.model_.predict(X)

    def __sklearn_tags__(self) -> Any:
        """Say what scikit-learn asks of it: several targets can be learned."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
