"""From the parameters of an estimator to the keys of the configuration. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dbmpi.config.toml import literal
from dbmpi.config.values import UNSET

ACTIVATIONS = {"logistic": "sigmoid"}  # by the name that scikit-learn has for it


def dense(sizes: int | Iterable[int], activation: str) -> list[dict[str, Any]]:
    """Return fully connected layers of so many units."""
    sizes = list(sizes) if isinstance(sizes, Iterable) else [sizes]
    function = ACTIVATIONS.get(activation, activation)
    return [{"type": "dense", "units": size, "activation": function} for size in sizes]


def hidden(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the layers below the output: `layers`, or what `hidden_layer_sizes` stands for."""
    layers = parameters["layers"]
    if layers is not None:
        return [dict(one) for one in layers]
    return dense(parameters["hidden_layer_sizes"], parameters["activation"])


def settings(parameters: Mapping[str, Any], task: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return the keys of a run, by dotted name; what `config` says stands.

    Parameters
    ----------
    parameters
        Those of the estimator.
    task
        Keys that follow from what is learned, and from what data.
    seed
        Of everything that is drawn.
    """
    given = parameters["config"] or {}
    stops = parameters["early_stopping"]
    keys = {
        "model.layers": [*hidden(parameters), {"type": "dense", "units": UNITS}],
        "model.l2": float(parameters["l2"]),
        "train.algorithm": parameters["algorithm"],
        "train.minibatch": parameters["batch_size"],
        "train.seed": seed,
        "data.cut_seed": seed,
        "data.scaling": parameters["scaling"] or "none",
        "downpour.learning_rate": parameters["learning_rate_init"],
        "data.validation_fraction": float(parameters["validation_fraction"]) if stops else 0.0,
        "train.patience": parameters["n_iter_no_change"] if stops else UNSET,
        "evaluation.every_epochs": 1.0 if stops else 0.0,
    }
    return {**keys, **task, **given}


UNITS = "auto"  # of the output layer: a unit for each class or target


def words(keys: Mapping[str, Any]) -> tuple[str, ...]:
    """Return keys as `--set` takes them."""
    return tuple(f"{name}={toml(value)}" for name, value in keys.items())


def toml(value: Any) -> str:
    """Write a value of Python, or of numpy, as TOML."""
    if value is None:
        return UNSET
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{literal(str(name))} = {toml(one)}' for name, one in value.items())}}}"
    if hasattr(value, "tolist"):
        return toml(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(toml, value))}]"
    return literal(value if isinstance(value, str | int | float) else str(value))
