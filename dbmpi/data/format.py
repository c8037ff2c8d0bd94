"""What the inputs of a network have to look like, and what its outputs mean. Pure.

It is all that a trained model says of data. Letters: I input columns, T targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from dbmpi.data.factors import Factor, factor
from dbmpi.text import SHOWN, has_control
from dbmpi.typed import Unlike, build

if TYPE_CHECKING:
    from dbmpi.data.describe import Description

Meaning: TypeAlias = Literal["classes", "labels", "targets"]
STORED = "uint8", "float32", "float64"  # types of inputs as they are read
MOST_AXES = 3  # of an example: rows, columns, channels


@dataclass(frozen=True)
class Format:
    """Inputs and outputs of a network, as the file has them that it was trained on.

    Attributes
    ----------
    input_shape, input_dtype
        Of an example as stored: (features,), (H, W) or (H, W, C), and "uint8", "float32" or "float64".
    scale, offset
        Of the inputs: the network sees `scale * stored + offset`; one number each, or I.
    outputs
        What the units of the last layer stand for: classes of which one is right; labels of which any may
        be; or targets, numbers.
    target_scale, target_offset
        Of targets: the network computes `target_scale * stored + target_offset`; T numbers each, or none
        where it computes them as stored.
    class_names
        Of the classes or labels in order; none where the file does not name them.
    columns
        Names of features in order; none where the file does not name them.
    """

    input_shape: Sequence[int]
    input_dtype: str
    scale: Sequence[float]
    offset: Sequence[float]
    outputs: Meaning
    target_scale: Sequence[float] = ()
    target_offset: Sequence[float] = ()
    class_names: Sequence[str] = ()
    columns: Sequence[str] = ()

    @property
    def of_inputs(self) -> tuple[Factor, Factor]:
        """Scale and offset of the inputs."""
        return factor(self.scale), factor(self.offset)

    @property
    def of_targets(self) -> tuple[Factor, Factor]:
        """Scale and offset of the targets; 1 and 0 where they are left alone."""
        if not self.target_scale:
            return 1.0, 0.0
        return factor(self.target_scale), factor(self.target_offset)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it, to the last digit."""
        return {name: value if isinstance(value, str) else list(value) for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Format":
        """Return what `to_json` was made from. Raises `dbmpi.typed.Unlike`."""
        form = build(cls, content, "format")
        form.check()
        return form

    def check(self) -> None:
        """Raise `dbmpi.typed.Unlike` where a field does not go with the others."""
        columns = prod(self.input_shape)
        if not 1 <= len(self.input_shape) <= MOST_AXES or columns < 1:
            raise Unlike(f"format.input_shape is {list(self.input_shape)}")
        if self.input_dtype not in STORED:
            raise Unlike(f"format.input_dtype is {self.input_dtype!r}")
        for name in ("scale", "offset"):
            if len(getattr(self, name)) not in (1, columns):
                raise Unlike(f"format.{name} has {len(getattr(self, name))} numbers for {columns} inputs")
        for name in ("scale", "target_scale"):
            if 0.0 in getattr(self, name):
                raise Unlike(f"format.{name} holds 0")
        for name in self.class_names:
            if has_control(name):
                raise Unlike(f"format.class_names holds {ascii(name[:SHOWN])}")
        if len(self.columns) not in (0, columns):
            raise Unlike(f"format.columns has {len(self.columns)} names for {columns} inputs")
        if len(self.target_scale) != len(self.target_offset):
            raise Unlike("format.target_scale and format.target_offset have different lengths")


def format_of(data: "Description", loss: str) -> Format:
    """Return the format of a network with a loss, trained on a data file."""
    scale, offset = (one if isinstance(one, tuple) else (one,) for one in data.of_inputs)
    scaling = data.scaling
    return Format(
        tuple(data.input_shape),
        data.dtype,
        scale,
        offset,
        meaning(data.classes is not None, data.binary, loss),
        tuple(scaling.target_scale) if scaling is not None else (),
        tuple(scaling.target_offset) if scaling is not None else (),
        data.class_names or (),
        data.columns,
    )


def meaning(classes: bool, binary: bool, loss: str) -> Meaning:
    """Return what output units stand for.

    `classes` says that targets are class labels, `binary` that they are 0 or 1.
    """
    if classes:
        return "classes"
    return "labels" if binary and loss == "logistic" else "targets"
