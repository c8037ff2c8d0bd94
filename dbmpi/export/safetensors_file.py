"""A safetensors file: the tensors under their names, and what the model says of itself as metadata."""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import save_file

from dbmpi.trained.metadata import to_texts
from dbmpi.trained.model import TrainedModel

LENGTH_BYTES, METADATA = 8, "__metadata__"  # of the header: its length comes first


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
    _sort(path)


def _sort(path: Path) -> None:
    """Put the metadata in order, which the library does not: the same model is the same file."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(LENGTH_BYTES), "little")
        header = json.loads(file.read(size))
        header[METADATA] = dict(sorted(header[METADATA].items()))
        text = json.dumps(
            {METADATA: header.pop(METADATA), **header}, ensure_ascii=False, separators=(",", ":")
        )
        if len(text.encode()) <= size:
            file.seek(LENGTH_BYTES)
            file.write(text.encode().ljust(size))
