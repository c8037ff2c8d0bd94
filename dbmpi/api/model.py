"""A trained model in memory, which answers. Shape letters: N rows, B a block of them, O output units."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dbmpi.api.mistakes import value_errors
from dbmpi.arrays import Array
from dbmpi.config.load import loads
from dbmpi.config.sections import Config
from dbmpi.config.toml import to_toml
from dbmpi.data.format import Format
from dbmpi.inference.choosing import Wanted, labelled
from dbmpi.inference.evaluation import evaluate, evaluate_arrays
from dbmpi.inference.rows import ArrayRows
from dbmpi.inference.sizes import minibatch
from dbmpi.trained import answers
from dbmpi.trained.forward import Forward
from dbmpi.trained.model import TrainedModel
from dbmpi.trained.opening import open_model

LEAST_ROWS = 8  # of a block


class Model:
    """A trained model, as `dbmpi.load` gives it. It can be pickled, whatever becomes of its file.

    Parameters
    ----------
    trained
        May be closed afterwards.

    Attributes
    ----------
    config
        Of the run that it is of, as resolved.
    format
        What inputs have to look like, and what outputs mean.
    """

    def __init__(self, trained: TrainedModel) -> None:
        self.config: Config = trained.config
        self.format: Format = trained.format
        self._trained, self._lock = trained, threading.Lock()
        with value_errors():
            self._forward = Forward(trained)
        self._most_rows = LEAST_ROWS
        while 2 * self._most_rows <= minibatch(trained):
            self._most_rows *= 2

    @property
    def classes(self) -> "list[str] | list[int] | None":
        """The classes or labels, in the order of `predict_proba`, as names or numbers; None for targets."""
        if self.format.outputs == "targets":
            return None
        return self._names or list(range(self._units))

    @property
    def _names(self) -> list[str]:
        """The names of all classes or labels; none where one has no name."""
        names = list(self.format.class_names)
        return names if len(names) == self._units else []

    @property
    def _units(self) -> int:
        return self._forward.model.partitioning.network.outputs

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Yield the tensors by name, `layers.0.weight` first: read-only views of what it computes with."""
        model, theta = self._forward.model, self._forward.theta
        for part in model.partitioning.slices[0]:
            view = theta.flat[part.offset : part.offset + part.size].reshape(part.shape)
            view.flags.writeable = False
            yield part.tensor.name, view

    def outputs(self, rows: Array) -> Array:
        """Return what the output units say of examples, `(N, O)`: logits, or values as they were learned.

        What it says of a row does not depend on the other ones: blocks have few widths.

        Raises
        ------
        ValueError
            They are of another shape than those that the model has learned from, or no numbers.
        """
        rows = np.asarray(rows)
        with self._lock, value_errors():  # the buffers are there once
            blocks = ArrayRows(rows, self._trained, self._forward.window).blocks(self._most_rows)
            z_NO = np.empty((len(rows), self._units), self._trained.dtype)
            for start, load in zip(range(0, len(rows), self._most_rows), blocks, strict=True):
                block, _ = load()
                z_NO[start : start + len(block)] = self._block(block)[: len(block)]
        return z_NO

    def _block(self, rows: Array) -> Array:
        width = LEAST_ROWS
        while width < len(rows):
            width *= 2
        padded = np.zeros((width, *rows.shape[1:]), rows.dtype)
        padded[: len(rows)] = rows
        return self._forward.outputs(padded)

    def predict(self, rows: Array) -> Array:
        """Return what each example is.

        Returns
        -------
        array
            `(N,)` classes, names where the model has them and else numbers; `(N, O)` of truth values where
            several labels may be right; or float64 targets in the units of the data, `(N,)` where there is
            one and else `(N, O)`.
        """
        z_NO = self.outputs(rows)
        if self.format.outputs == "classes":
            chosen = answers.classes(z_NO)
            return np.array(self._names)[chosen] if self._names else chosen
        if self.format.outputs == "labels":
            return answers.labels(z_NO)
        y_NO = answers.targets(z_NO, self.format)
        return y_NO[:, 0] if y_NO.shape[1] == 1 else y_NO

    def predict_proba(self, rows: Array) -> Array:
        """Return the probability of each class or label, float64 `(N, O)`, in the order of `classes`.

        Raises
        ------
        ValueError
            The model has learned targets.
        """
        if self.format.outputs == "targets":
            raise ValueError("this model has learned targets, which have no probabilities: call predict")
        return answers.probabilities(self.outputs(rows), self.config.model.loss)

    def evaluate(
        self,
        data: Array | str | Path | None = None,
        targets: Array | str | None = None,
        split: str | None = None,
    ) -> dict[str, Any]:
        """Return what `python -m dbmpi.evaluate` says: `loss`, `accuracy`, a table by class, and more.

        Parameters
        ----------
        data
            Examples in memory; or a data file; None for the one that the model has learned from.
        targets
            Of examples in memory: as the data file has them, or classes by name. Of a file the name of the
            data set, or of a table the column; None for that of the run.
        split
            Of a data file; None: "test".

        Raises
        ------
        ValueError
            There are no rows, or they are none for this model.
        """
        with self._lock, value_errors():
            if data is not None and not isinstance(data, str | Path):
                rows = np.asarray(data)
                return evaluate_arrays(self._trained, rows, targets, self._forward)
            named = targets if isinstance(targets, str) else None
            source = labelled(self._trained, Wanted(None if data is None else str(data), split, None, named))
            with source.rows(self._trained, self._forward.window) as stored:
                return evaluate(self._trained, stored, self._forward)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is kept of it: the configuration as text, so that a later version can read it."""
        tensors = {name: np.array(one) for name, one in self.named_parameters()}
        said = {
            "configuration": to_toml(self.config),
            "format": self.format.to_json(),
            "which": self._trained.which,
        }
        return {**said, "parameters": tensors}

    def __setstate__(self, state: dict[str, Any]) -> None:
        config = loads(state["configuration"].encode(), name="the configuration in a pickled model")
        form = Format.from_json(state["format"])
        held = _Held(state["parameters"])
        self.__init__(TrainedModel(Path("a pickled model"), config, form, state["which"], held))  # type: ignore[misc]


class _Held:
    """Parameters that are in memory. See `trained.values.Values`."""

    def __init__(self, tensors: dict[str, Array]) -> None:
        self._tensors = tensors

    def read(self, tensor: str, at: tuple[slice, ...], out: Array) -> None:
        """See `Values.read`."""
        out[...] = self._tensors[tensor][at]

    def close(self) -> None:
        """See `Values.close`."""


def load(path: str | Path) -> Model:
    """Return a trained model.

    Parameters
    ----------
    path
        A `model.h5`, a `.safetensors` file of `dbmpi.export`, a checkpoint (`RUN/checkpoints/000042`), or a
        run directory: its model, or where there is none its best checkpoint.

    Raises
    ------
    ValueError
        There is no model there, or it is damaged.
    """
    with value_errors(), open_model(Path(path)) as trained:
        return Model(trained)
