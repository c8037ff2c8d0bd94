"""What an exported model takes and gives: names, types and shapes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dbmpi.text import SHOWN, several
from dbmpi.trained.model import TrainedModel

INPUT = "input"
LOGITS, PROBABILITIES, VALUES = "logits", "probabilities", "values"
ONE_AND_MANY = {"classes": ("class", "classes"), "labels": ("label", "labels")}
MOST_NAMES = 4  # of classes in a message


@dataclass(frozen=True)
class Port:
    """An input or an output.

    Attributes
    ----------
    name
    shape
        Of an example: any number of them comes in front.
    dtype
    about
        What it is, for people.
    """

    name: str
    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"
    about: str

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(map(str, ('N', *self.shape)))}) {self.dtype.name}: {self.about}"


def input_of(trained: TrainedModel) -> Port:
    """Return what goes in: rows of the data file as they are stored."""
    axes = {1: "features", 2: "rows, columns", 3: "rows, columns, channels"}[len(trained.format.input_shape)]
    axes = "channels, rows, columns" if trained.channels_first else axes
    dtype = np.dtype(trained.format.input_dtype)
    return Port(INPUT, trained.stored_shape, dtype, f"{axes}, as the data file has them")


def outputs_of(trained: TrainedModel) -> list[Port]:
    """Return what comes out."""
    shape, dtype = (trained.network.outputs,), trained.dtype
    if trained.format.outputs == "targets":
        return [Port(VALUES, shape, dtype, "targets, in the units of the data file")]
    what = several(shape[0], *ONE_AND_MANY[trained.format.outputs])
    return [
        Port(LOGITS, shape, dtype, "the last layer"),
        Port(PROBABILITIES, shape, dtype, f"of {what}{_names(trained)}"),
    ]


def _names(trained: TrainedModel) -> str:
    names = [str(name)[:SHOWN] for name in trained.format.class_names[: MOST_NAMES + 1]]
    if not names:
        return ""
    return f": {', '.join(names[:MOST_NAMES])}{', ...' if len(names) > MOST_NAMES else ''}"
