"""What is wrong with a configuration for its data: the same for a run and for a dry run. Pure."""

from collections.abc import Iterator

from dbmpi.config.sections import Config
from dbmpi.data.describe import Description
from dbmpi.data.fits import check_fits, doubts
from dbmpi.errors import UserError
from dbmpi.layout.network import Network
from dbmpi.run.cautions import caution
from dbmpi.run.effects import without_effect


def check_data(config: Config, network: Network, data: Description) -> None:
    """Raise UserError unless labels or targets suit the network and the limits of the run."""
    check_fits(data, network.outputs, network.loss)
    if config.train.target.accuracy is not None and data.classes is None:
        raise UserError(
            f"train.target.accuracy = {config.train.target.accuracy}, but {data.path} has float targets, "
            "which have no accuracy: leave it out, or give train.target.loss instead"
        )


def warnings(
    given: Config, config: Config, network: Network, data: Description, replicas: int
) -> Iterator[str]:
    """Yield what a run may suffer from, by its configuration as given, and complete."""
    yield from data.warnings
    yield from filter(None, (doubts(data, network.outputs), caution(config, replicas)))
    yield from without_effect(given, config, data.train_rows, replicas, data.chunk_rows)
