"""What is wrong with a configuration for its data: the same for a run and for a dry run. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from dbmpi.config.sections import Config
from dbmpi.data.describe import Description
from dbmpi.data.fits import check_fits, doubts, suspicions
from dbmpi.errors import UserError
from dbmpi.extras import extra
from dbmpi.layout.network import Network
from dbmpi.run.plan.cautions import caution
from dbmpi.run.plan.effects import without_effect
from dbmpi.text import several, show

MOST_NAMES = 10  # of classes, in a message


def with_cut(config: Config, data: Description) -> Config:
    """Return the configuration with what was found out of the file in place of "auto"."""
    made = data.view("train").labels
    labels: Literal["stored", "classes"] = "stored" if made is None or made.values is None else "classes"
    section = replace(
        config.data,
        labels=labels if config.data.labels == "auto" else config.data.labels,
        test_fraction=data.test_fraction,
    )
    return replace(config, data=section)


def made_of(data: Description) -> Iterator[str]:
    """Yield what was made of a file of others: its cuts, and its classes."""
    train = data.view("train")
    if train.rows is not None:
        rows = [f"{data.rows(name):,} for {name}" for name in ("validation", "test") if data.rows(name)]
        cut = [f"data.{name}_fraction" for name in ("validation", "test") if data.view(name).rows is not None]
        yield f"{data.train_rows:,} rows to learn from, and {', '.join(rows)} (cut by {' and '.join(cut)})"
    if train.labels is not None and train.labels.names is not None:
        names = train.labels.names
        shown = ", ".join(f"{at}: {show(name)}" for at, name in enumerate(names[:MOST_NAMES]))
        more = ", ..." if len(names) > MOST_NAMES else ""
        yield f"{several(len(names), 'class', 'classes')}: {shown}{more}"


def check_libraries(config: Config) -> None:
    """Raise UserError unless there is what the configuration asks for besides dbmpi itself."""
    if config.output.tensorboard:
        with extra("tensorboardX"):
            import tensorboardX  # noqa: F401


def check_data(config: Config, network: Network, data: Description) -> None:
    """Raise UserError unless labels or targets suit the network and the limits of the run."""
    check_fits(data, network.outputs, network.loss)
    _check_weights(config, network, data)
    if (config.train.flip or config.train.shift) and len(data.input_shape) == 1:
        raise UserError(
            f"train.flip and train.shift are of images, but an example of {data.path} is "
            f"{several(data.inputs, 'feature')}: leave them out, or store x as (N, H, W) or (N, H, W, C)"
        )
    answers = data.binary and network.loss == "logistic"
    if config.train.target.accuracy is not None and data.classes is None and not answers:
        raise UserError(
            f"train.target.accuracy = {config.train.target.accuracy}, but {data.path} has targets, "
            "which have no accuracy: leave it out, or give train.target.loss instead"
        )


def _check_weights(config: Config, network: Network, data: Description) -> None:
    """Raise UserError unless there is a weight for each class, if there are any."""
    weights = config.train.class_weights
    if weights is None or isinstance(weights, str):
        return
    if data.classes is None:
        raise UserError(
            f"train.class_weights are of classes, but {data.path} has none: leave them out, or give "
            "data.weights"
        )
    if len(weights) != network.outputs or not any(weights):
        raise UserError(
            f"train.class_weights has {several(len(weights), 'number')}, of which "
            f"{several(sum(weight > 0 for weight in weights), 'is', 'are')} above 0, but the last layer has "
            f"{several(network.outputs, 'unit')}: give one for each, not all of them 0"
        )


def warnings(
    given: Config, config: Config, network: Network, data: Description, replicas: int
) -> Iterator[str]:
    """Yield what a run may suffer from, by its configuration as given, and complete."""
    if config.data.scaling == "none":
        yield from data.warnings
    yield from suspicions(data, given.model.loss == "squared")
    yield from filter(None, (doubts(data, network.outputs), caution(config, replicas)))
    yield from without_effect(given, config, data.train_rows, replicas, data.chunk_rows)
