"""The classifier, as scikit-learn has them. Letters: N rows, K classes or labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from dbmpi.api.data_file import Examples
from dbmpi.api.estimator import Network
from dbmpi.arrays import Array


class Classifier(ClassifierMixin, Network):
    """A network that says which class an example is of, or which of several labels are right.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Units of the layers between input and output, which are fully connected.
    activation : {"relu", "tanh", "logistic", "identity"}
        Of these layers.
    layers : sequence of dict, optional
        The layers below the output, in place of these two: tables of `[[model.layers]]`
        (docs/configuration.md), as `{"type": "conv", "filters": 8, "size": 5, "activation": "relu"}`.
    algorithm : {"downpour", "sync", "sandblaster"}
        As `train.algorithm`.
    l2 : float
        Penalty: l2 / 2 times the sum of the squared weights is added to the loss of an example.
    batch_size : int or "auto"
        Examples in a minibatch.
    learning_rate_init : float or "auto"
        Learning rate; "auto": what suits network and data.
    max_iter : int or "auto"
        Passes over the data, of "sandblaster" iterations. "auto": 40, and up to 200 for small data.
    scaling : {"columns", "all"} or None
        Whether inputs are brought to a mean of 0 and a deviation of 1, each column or all together.
    early_stopping : bool
        Set `validation_fraction` of the rows aside, stop when `n_iter_no_change` passes have brought nothing
        better for these, and keep the best model.
    validation_fraction : float
        Of the rows; only with `early_stopping`.
    n_iter_no_change : int
        Passes; only with `early_stopping`.
    class_weight : dict, "balanced" or None
        What the loss of an example is multiplied by, by its class.
    random_state : int, RandomState or None
        Of the first parameters and the order of the examples. One process repeats exactly from an int.
    verbose : bool
        Show progress: a bar where tqdm is installed, that of a notebook in a notebook, else lines.
    ranks : int, optional
        Train on so many ranks, 3 or more, started by mpirun; None or 1: in this process.
    launcher : str, optional
        What starts ranks in place of this environment's mpirun, as "srun --mpi=pmix"; "-n RANKS" follows.
    threads : int, optional
        Most threads of BLAS while it trains; of ranks, of each. None: those that there are.
    run_dir : path, optional
        Where the run is written; where something is there, a number is added. None: a temporary directory,
        which goes with the estimator.
    config : dict, optional
        Further keys of the configuration, by dotted name: `{"downpour.rule": "adam"}`. They win.

    Attributes
    ----------
    classes_ : array (K,)
        Of several labels: their numbers.
    n_features_in_, feature_names_in_
        As scikit-learn has them.
    n_iter_ : int
        Passes over the data, the last one not always whole; of "sandblaster" iterations.
    loss_ : float
        The last one of the training set.
    model_ : dbmpi.api.model.Model
        What was learned, as `dbmpi.load` gives it. It goes into a pickle.
    run_dir_ : str
        The directory of the run: configuration, metrics, model.
    """

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
        class_weight: Mapping[Any, float] | str | None = None,
        random_state: Any = None,
        verbose: bool = False,
        ranks: int | None = None,
        launcher: str | None = None,
        threads: int | None = None,
        run_dir: Any = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            layers=layers,
            algorithm=algorithm,
            l2=l2,
            batch_size=batch_size,
            learning_rate_init=learning_rate_init,
            max_iter=max_iter,
            scaling=scaling,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            random_state=random_state,
            verbose=verbose,
            ranks=ranks,
            launcher=launcher,
            threads=threads,
            run_dir=run_dir,
            config=config,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Classifier":
        """Train.

        Parameters
        ----------
        X : array (N, features), (N, H, W) or (N, H, W, C)
            Numbers; uint8, float32 and float64 stay what they are.
        y : array (N,) or (N, K)
            Classes of any kind; or, of K labels, which are right.
        sample_weight : array (N,), optional
            What the loss of each example is multiplied by.

        Raises
        ------
        ValueError
            Something is wrong with the data, or with a parameter.
        RuntimeError
            The run has diverged, or failed.
        KeyboardInterrupt
            It was stopped; the estimator has what was learned by then.
        """
        with self._as_before_or_trained():
            y = y.toarray() if hasattr(y, "toarray") else y  # of scipy.sparse
            X, y = self._inputs(X, y, multi_output=True)
            check_classification_targets(y)
            several = type_of_target(y) == "multilabel-indicator"
            (self._fit_labels if several else self._fit_classes)(X, y, self._weights(sample_weight, X))
        return self

    def _fit_classes(self, X: Array, y: Array, weights: Array | None) -> None:
        """Learn of which class an example is."""
        y = column_or_1d(y, warn=True)
        classes, labels = np.unique(y, return_inverse=True)
        learned = np.unique(labels if weights is None else labels[weights > 0])
        if len(learned) < 2:
            raise ValueError(
                f"there is one class to learn, {classes[learned[0]]!r}: give examples, with sample_weight "
                "above 0, of another one too"
            )
        by_class, weights = self._by_class(classes, y, weights)
        examples = Examples(X, labels.astype(np.int64), weights, tuple(map(str, classes.tolist())))
        task = {"model.loss": "softmax", "data.labels": "stored", "train.class_weights": by_class}
        self._train(examples, task, classes_=classes)

    def _fit_labels(self, X: Array, y: Array, weights: Array | None) -> None:
        """Learn which of several labels are right."""
        if self.class_weight is not None:
            raise ValueError("class_weight is of classes, and not of several labels that may all be right")
        examples = Examples(X, np.asarray(y).astype(np.uint8), weights)
        self._train(examples, {"model.loss": "logistic"}, classes_=np.arange(y.shape[1]))

    def _by_class(self, classes: Array, y: Array, weights: Array | None) -> tuple[Any, Array | None]:
        """Return `train.class_weights`, and weights of examples: both kinds together where there are both."""
        if self.class_weight is None:
            return None, weights
        if weights is not None:
            return None, weights * compute_sample_weight(self.class_weight, y)
        if isinstance(self.class_weight, str):
            return self.class_weight, None
        return tuple(float(self.class_weight.get(one, 1.0)) for one in classes.tolist()), None

    def predict(self, X: Any) -> Array:
        """Return the class of each example `(N,)`; of several labels, 1 where one is right, `(N, K)`."""
        X = self._rows(X)
        if self.model_.format.outputs == "labels":
            return self.model_.predict(X).astype(np.int64)
        return self.classes_[np.argmax(self.model_.outputs(X), axis=1)]

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class or label, float64 `(N, K)`, in the order of `classes_`."""
        X = self._rows(X)
        return self.model_.predict_proba(X)

    def __sklearn_tags__(self) -> Any:
        """Say what scikit-learn asks of it: several labels can be learned."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
