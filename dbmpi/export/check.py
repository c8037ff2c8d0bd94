"""Whether an exported file computes what the model does: on random examples, before it gets its name."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.export.interface import LOGITS, PROBABILITIES, VALUES
from dbmpi.trained import answers
from dbmpi.trained.forward import Forward
from dbmpi.trained.model import TrainedModel

EXAMPLES = 3
SEED = 1
MOST_APART = {"float32": 1e-4, "float64": 1e-9}  # of the largest output, or of 1: more is another network


class Sample:
    """Random examples, and what the model says of them.

    Attributes
    ----------
    rows
        As the data file has them.
    said : {name of an output: array}
    """

    def __init__(self, trained: TrainedModel) -> None:
        rows = random_rows(trained)
        forward = Forward(trained)
        z = forward.outputs(rows)
        forward.close()
        self.rows = np.ascontiguousarray(rows.transpose(0, 3, 1, 2)) if trained.channels_first else rows
        self._most = MOST_APART[trained.dtype.name]
        if trained.format.outputs == "targets":
            self.said = {VALUES: answers.targets(z, trained.format)}
        else:
            self.said = {LOGITS: z, PROBABILITIES: answers.probabilities(z, trained.network.loss)}

    def compare(self, found: Mapping[str, Any], who: str) -> str:
        """Return how far apart outputs are, for a message. Raises UserError where that is too far."""
        apart = max(_apart(np.asarray(found[name]), said) for name, said in self.said.items())
        if not apart <= self._most:
            raise UserError(
                f"{who} computes other outputs than dbmpi, by {apart:.1e} of the largest; the file is not "
                "written: try another version of it, and tell the developers of dbmpi"
            )
        return f"{who} ({apart:.1e} apart)"


def random_rows(trained: TrainedModel) -> Array:
    """Return examples that are near 0, and 1 in size, once they are scaled; or any bytes."""
    rng, shape = np.random.default_rng(SEED), (EXAMPLES, *trained.format.input_shape)
    dtype = np.dtype(trained.format.input_dtype)
    if dtype == np.uint8:
        return rng.integers(0, 256, shape, np.uint8)
    scale, offset = (np.asarray(one) for one in trained.format.of_inputs)
    scale = np.where(scale == 0, 1, scale)
    flat = rng.normal(size=(EXAMPLES, trained.network.inputs))
    return ((flat - offset) / scale).astype(dtype).reshape(shape)


def _apart(found: Array, said: Array) -> float:
    """Return the largest difference, by the largest output."""
    if found.shape != said.shape:
        return float("inf")
    return float(np.abs(found - said).max() / max(1.0, np.abs(said).max()))
