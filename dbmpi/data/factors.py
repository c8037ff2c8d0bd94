"""What inputs and targets are multiplied by, and what is added: a number, or one for each column. Pure.

What the network sees is `scale * stored + offset`, by column. Letters: I input columns, T targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from dbmpi.arrays import Array
from dbmpi.layout.boxes import Box
from dbmpi.typed import build

Factor: TypeAlias = float | tuple[float, ...]  # one for all columns, or one for each in row-major order


@dataclass(frozen=True)
class Scaling:
    """What brings inputs and targets to a mean of 0 and a deviation of 1, in place of a file's own numbers.

    Attributes
    ----------
    by
        The value of `data.scaling` that it is of.
    scale, offset
        Of the inputs as stored: one number each, or I.
    target_scale, target_offset
        Of the targets as stored: T numbers each, or none where targets are left alone.
    """

    by: str
    scale: Sequence[float]
    offset: Sequence[float]
    target_scale: Sequence[float] = ()
    target_offset: Sequence[float] = ()

    @property
    def of_inputs(self) -> tuple[Factor, Factor]:
        """Scale and offset of the inputs."""
        return factor(self.scale), factor(self.offset)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it, to the last digit."""
        return {name: value if name == "by" else list(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Scaling":
        """Return what `to_json` was made from. Raises `dbmpi.typed.Unlike`."""
        return build(cls, content, "scaling")


def factor(values: "Sequence[float] | Array") -> Factor:
    """Return numbers as a factor: one alone stands for all columns."""
    numbers = np.asarray(values, np.float64).reshape(-1).tolist()
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


def array(value: Factor, shape: tuple[int, ...]) -> Array:
    """Return a factor as float64: `()` if it is one number, else of the `shape` of an example."""
    return np.asarray(value) if isinstance(value, float) else np.reshape(value, shape)


def of_box(value: Factor, shape: tuple[int, ...], box: Box) -> Factor:
    """Return the part of a factor that belongs to a box of an example of a shape."""
    if isinstance(value, float):
        return value
    return tuple(np.reshape(value, shape)[tuple(slice(*edges) for edges in box)].ravel().tolist())
