"""What the classifier and the regressor share: their parameters, and a fit. As scikit-learn has them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from dbmpi.api.data_file import Examples
from dbmpi.api.fitting import Way, fit
from dbmpi.api.model import Model
from dbmpi.api.settings import settings
from dbmpi.arrays import Array

MOST_SEEDS = 2**31 - 1
STEPS, EPOCHS, MOST_EPOCHS = 1000, 40, 200  # what max_iter = "auto" stands for: see `epochs`
USUAL_MINIBATCH = 16  # the least that the program chooses
PORTION = 64  # minibatches: an epoch of no more is handed out as a whole, as handing out costs as much as one


def epochs(rows: int, minibatch: int | str) -> int:
    """Return how many passes `max_iter="auto"` makes: as many as make `STEPS` minibatches, within limits."""
    size = minibatch if isinstance(minibatch, Integral) else USUAL_MINIBATCH
    return min(max(EPOCHS, STEPS * size // max(rows, 1)), MOST_EPOCHS)


class Network(BaseEstimator):
    """The parameters of both estimators, and what they do with them; see `Classifier`."""

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (128,),
        activation: str = "relu",
        *,
        layers: Sequence[Mapping[str, Any]] | None = None,
        algorithm: str = "downpour",
        l2: float = 0.0,
        batch_size: int | str = "auto",
        learning_rate_init: float | str = "auto",
        max_iter: int | str = "auto",
        scaling: str | None = "columns",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: Any = None,
        verbose: bool = False,
        ranks: int | None = None,
        launcher: str | None = None,
        threads: int | None = None,
        run_dir: Any = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.layers = layers
        self.algorithm = algorithm
        self.l2 = l2
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.scaling = scaling
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.verbose = verbose
        self.ranks = ranks
        self.launcher = launcher
        self.threads = threads
        self.run_dir = run_dir
        self.config = config

    def _inputs(self, X: Any, y: Any, **checks: Any) -> tuple[Array, Array]:
        """Return checked inputs and targets of a fit; sets `n_features_in_` and `feature_names_in_`."""
        found: tuple[Array, Array] = validate_data(self, X, y, allow_nd=True, **checks)
        return found

    def _rows(self, X: Any) -> Array:
        """Return checked inputs, as those of the fit."""
        check_is_fitted(self)
        rows: Array = validate_data(self, X, allow_nd=True, reset=False)
        return rows

    def _weights(self, sample_weight: Any, X: Array) -> Array | None:
        """Return checked weights of examples; None where there are none."""
        if sample_weight is None:
            return None
        weights: Array = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not weights.any():
            raise ValueError("sample_weight is 0 for all examples: nothing would be learned")
        return weights

    @contextmanager
    def _as_before_or_trained(self) -> Iterator[None]:
        """Let an exception leave the estimator as it was, unless it has something new by then."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            if vars(self).get("model_") is before.get("model_"):
                self.__dict__.clear()
                self.__dict__.update(before)
            raise

    def _train(self, examples: Examples, task: Mapping[str, Any], **learned: Any) -> None:
        """Train, and keep what comes of it, and what is `learned` with it, by the names of attributes.

        An interrupt is raised when that has been kept.

        Raises
        ------
        ValueError, RuntimeError
            As `fitting.fit`.
        KeyboardInterrupt
            The user has stopped it: the estimator has what was learned by then, or is as it was before.
        """
        seed = int(check_random_state(self.random_state).randint(MOST_SEEDS))
        keys = settings(self.get_params(deep=False), {**self._limits(len(examples.inputs)), **task}, seed)
        way = Way(self.ranks, self.launcher, self.threads, self.run_dir, bool(self.verbose))
        fitted = fit(examples, keys, seed, way)
        if fitted.model is not None:
            self.model_: Model = fitted.model
            self.__dict__.update(learned)
            self.n_iter_, self.loss_ = fitted.iterations, fitted.loss
            self.run_dir_, self._directory = str(fitted.directory.path), fitted.directory
        if fitted.interrupted:
            raise KeyboardInterrupt

    def _limits(self, rows: int) -> dict[str, Any]:
        """Return how long a run is to be, of minibatches that it can fill."""
        if self.algorithm == "sandblaster":
            limits = {} if self.max_iter == "auto" else {"sandblaster.iterations": self.max_iter}
        else:
            most = epochs(rows, self.batch_size) if self.max_iter == "auto" else self.max_iter
            limits = {"train.epochs": most}
        left = rows - int(self.validation_fraction * rows) - 1 if self.early_stopping else rows
        if self.batch_size == "auto" and left < USUAL_MINIBATCH:
            limits["train.minibatch"] = max(1, left)
        size = self.batch_size if isinstance(self.batch_size, Integral) else USUAL_MINIBATCH
        minibatches = ceil(left / max(size, 1))
        if self.ranks in (None, 1) and self.algorithm != "sandblaster" and minibatches <= PORTION:
            limits["train.portion"] = max(1, minibatches)
        return limits
