"""A safetensors file: the tensors under their names, and what the model says of itself as metadata."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import save_file

from dbmpi.trained.metadata import to_texts
from dbmpi.trained.model import TrainedModel


def write(path: Path, trained: TrainedModel) -> None:
    """Write a model. Local; all of its parameters are in memory once.

    Raises
    ------
    UserError
        They cannot be read.
    """
    tensors = {one.name: trained.tensor(one) for one in trained.network.tensors}
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(tensors, path, to_texts(trained))
    except SafetensorError as problem:
        raise OSError(str(problem)) from problem
    path.chmod(mode)  # the library writes another file, for its owner alone
