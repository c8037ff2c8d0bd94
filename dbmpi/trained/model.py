"""A trained model as it lies on disk: its network, its parameters, and what it says of data."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from dbmpi.arrays import Array
from dbmpi.config.sections import Config
from dbmpi.data.format import Format
from dbmpi.layout.boxes import Box, whole
from dbmpi.layout.network import IMAGE, Network, Tensor, build
from dbmpi.layout.partitioning import Partitioning
from dbmpi.trained.values import Values

AT_ONCE = 16 << 20  # bytes of a tensor that are read at a time


@dataclass(frozen=True)
class TrainedModel:
    """A model, of which nothing is read before it is asked for. Use as a context.

    Attributes
    ----------
    path
        Of the file, or the directory of the checkpoint.
    config
        Of the run that it is of, as resolved.
    format
        What inputs have to look like, and what outputs mean.
    which
        The last parameters of the run, or the best ones.
    values
        Where the parameters are.
    """

    path: Path
    config: Config
    format: Format
    which: Literal["last", "best"]
    values: Values

    @cached_property
    def network(self) -> Network:
        """Its layers. Raises UserError where they do not fit the inputs."""
        return build(self.config, tuple(self.format.input_shape))

    @property
    def dtype(self) -> "np.dtype[np.floating]":
        """Of its parameters."""
        return np.dtype(self.config.model.dtype)

    @property
    def channels_first(self) -> bool:
        """Whether the data file has images as (N, C, H, W)."""
        return self.config.data.layout == "channels_first" and len(self.format.input_shape) == IMAGE

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of an example as the data file has it."""
        shape = tuple(self.format.input_shape)
        return (shape[2], *shape[:2]) if self.channels_first else shape

    def tensor(self, tensor: Tensor) -> Array:
        """Return a tensor, whole. Raises UserError where it cannot be read."""
        out = np.empty(tensor.shape, self.dtype)
        self._read(tensor.name, whole(tensor.shape), out)
        return out

    def vector(self, partitioning: Partitioning, partition: int) -> Array:
        """Return the parameter vector of a partition, `(sizes[partition],)`; no more than that is read.

        Raises
        ------
        UserError
            It cannot be read.
        """
        flat = np.empty(partitioning.sizes[partition], self.dtype)
        for part in partitioning.slices[partition]:
            if part.size:
                room = flat[part.offset : part.offset + part.size].reshape(part.shape)
                self._read(part.tensor.name, part.box, room)
        return flat

    def _read(self, tensor: str, box: Box, room: Array) -> None:
        """Fill the memory of a box of a tensor, some rows at a time: reading takes memory of its own."""
        (first, _), *rest = box
        rows = max(1, AT_ONCE // max(1, room[0].nbytes))
        for start in range(0, len(room), rows):
            part = room[start : start + rows]
            at = slice(first + start, first + start + len(part)), *(slice(*edges) for edges in rest)
            self.values.read(tensor, at, part)

    def close(self) -> None:
        """Close the files."""
        self.values.close()

    def __enter__(self) -> "TrainedModel":
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()
