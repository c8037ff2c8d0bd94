"""What is to be learned, by the type and shape of what the data file has for each example. Pure.

    y                                               model.loss      units of the last layer
    integers (N,), or what became labels            softmax         the largest label + 1, or the class names
    integers or truth values (N, K), K > 1          logistic        K
    floats (N,) or (N, T)                           squared         1 or T

How inputs and targets are scaled follows from their sizes (`data.sizes`). A key that is given stands: the
rules are for the words "auto" alone.
"""

from dataclasses import replace
from typing import Literal

from dbmpi.config.layers import Dense, Layer
from dbmpi.config.sections import Config, Model
from dbmpi.data.describe import Description
from dbmpi.data.fits import RENUMBER
from dbmpi.data.sizes import Mode
from dbmpi.errors import UserError
from dbmpi.run.plan.choices import AUTO

BALANCED = "balanced"
MOST_EMPTY = 10  # units for a label that the data hold, at most, that "auto" makes


def with_task(config: Config, data: Description) -> Config:
    """Return the configuration with a loss, units of the last layer and a scaling in place of "auto".

    Raises
    ------
    UserError
        What is meant is in doubt: the labels are far apart.
    """
    model = config.model
    if model.loss == AUTO:
        model = replace(model, loss=_loss(data))
    last = model.layers[-1]
    if isinstance(last, Dense) and last.units == AUTO:
        model = replace(model, layers=(*model.layers[:-1], replace(last, units=_units(data))))
    weights = config.train.class_weights
    if weights == BALANCED:
        config = replace(config, train=replace(config.train, class_weights=_balanced(data, model)))
    if config.data.scaling == AUTO:
        config = replace(config, data=replace(config.data, scaling=_scaling(data, last)))
    if model.init == AUTO:
        model = replace(model, init="flat" if config.data.scaling == "columns" else "he")
    return replace(config, model=model)


def _scaling(data: Description, last: Layer) -> Mode:
    """Return what suits the data, but nothing where the outputs are bounded, as the targets then are."""
    amounts = data.targets is not None and not data.binary
    bounded = isinstance(last, Dense) and last.activation != "identity"
    return "none" if amounts and bounded else data.suiting


def _balanced(data: Description, model: Model) -> tuple[float, ...] | None:
    """Return weights with which all classes that have rows weigh the same, and one row 1 in the mean."""
    if not data.counts:
        raise UserError(
            f'train.class_weights = "{BALANCED}", but {data.path} has no classes, or too many to count: '
            "leave it out, or give data.weights"
        )
    units = getattr(model.layers[-1], "units", len(data.counts))
    there = sum(count > 0 for count in data.counts)
    weights = [data.train_rows / (there * count) if count else 1.0 for count in data.counts]
    return (*weights, *[1.0] * (units - len(weights)))


def _loss(data: Description) -> Literal["softmax", "logistic", "squared"]:
    """Return the loss that suits labels or targets."""
    if data.targets is None:
        return "softmax"
    return "logistic" if data.binary else "squared"


def _units(data: Description) -> int:
    """Return the number of classes or targets."""
    if data.targets is not None or data.classes is None:
        return data.targets or 1
    if data.class_names is not None:
        return len(data.class_names)
    if data.distinct and data.classes > MOST_EMPTY * data.distinct:
        raise UserError(
            f"{data.path}: {data.targets_from} hold {data.distinct} different labels, up to "
            f"{data.classes - 1}, and most units would have no example; {RENUMBER}, or, if they are amounts, "
            "store y.astype('float32')"
        )
    return data.classes
