"""How many rows are read and computed at a time. Pure."""

from dbmpi.trained.model import TrainedModel

MOST_ROWS = 4096  # of a block: it is read, sent and written as a whole
MOST_BYTES = 32 << 20  # of the inputs or outputs of a block, as floats of 8 bytes


def minibatch(trained: TrainedModel) -> int:
    """Return how many examples are computed at a time: as in evaluations of the run; fewer if large."""
    return min(trained.config.evaluation.minibatch, most_rows(trained))


def block_rows(trained: TrainedModel, total: int | None, replicas: int = 1) -> int:
    """Return how many rows a block has: some minibatches, and a part for each replica.

    Parameters
    ----------
    total
        Rows that there are, if that is known.
    """
    width, most = minibatch(trained), most_rows(trained)
    if total is not None:
        most = min(most, -(-total // replicas))
    return max(1, most if most < width else most // width * width)


def most_rows(trained: TrainedModel) -> int:
    """Return how many rows a block has at most."""
    widest = max(trained.network.inputs, trained.network.outputs)
    return max(1, min(MOST_ROWS, MOST_BYTES // (8 * widest)))
