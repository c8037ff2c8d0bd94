"""Whether a file that was written holds, as it is read again, what was to be written."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.trained.model import TrainedModel
from dbmpi.trained.opening import open_model


def check_model(path: Path, trained: TrainedModel) -> None:
    """Compare a file of which models are opened. Raises UserError where it differs."""
    with open_model(path) as found:
        said = (found.config, found.format, found.which) == (trained.config, trained.format, trained.which)
        if not said:
            raise _other(path, "the description of the model")
        for tensor in trained.network.tensors:
            if not np.array_equal(found.tensor(tensor), trained.tensor(tensor)):
                raise _other(path, tensor.name)


def check_arrays(path: Path, contents: Iterator[tuple[str, Array]]) -> None:
    """Compare an npz file. Raises UserError where it differs."""
    with np.load(path, allow_pickle=False) as found:
        for name, values in contents:
            if not np.array_equal(found[name], values):
                raise _other(path, name)


def _other(path: Path, what: str) -> UserError:
    return UserError(f"{path.name} is not written: {what} was read back otherwise; is the disk in order?")
