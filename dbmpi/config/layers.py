"""The types of layer that a `[[model.layers]]` table can describe.

`str(spec)` is a layer in a few words, for reports. Shape letters: H rows, W columns, C channels (maps)
of an image, K side of a window, F filters.
"""

from dataclasses import MISSING, dataclass
from typing import Any, Literal, TypeAlias

from dbmpi.config.schema import key

UNITS_OF_DATA: Any = "auto"  # `units` of the last layer, until the data are known
Pair: TypeAlias = int | tuple[int, int]
Activation: TypeAlias = Literal["identity", "sigmoid", "tanh", "relu"]

_ACTIVATION = "Function applied to the weighted sum of each unit."
_STRIDE = "Rows and columns from one location to the next."


def pair(value: Pair) -> tuple[int, int]:
    """Return (rows, columns) of a size, stride or padding; a single number stands for both."""
    return (value, value) if isinstance(value, int) else value


def _times(value: Pair) -> str:
    return "x".join(map(str, pair(value)))


@dataclass(frozen=True, kw_only=True)
class Dense:
    """A fully connected layer: every unit reads every unit of the layer below.

    On top of an image it reads the units in the order of rows, columns, channels.
    """

    type: Literal["dense"] = key("dense", "Type of the layer.")
    units: int = key(
        MISSING,
        "Number of units, the layer's outputs. auto, of the last layer alone: one for each class or target "
        "of the data.",
        minimum=1,
        auto=True,
        example=128,
    )
    activation: Activation = key("identity", _ACTIVATION)

    def __str__(self) -> str:
        return f"{self.type} {self.units} {self.activation}"


@dataclass(frozen=True, kw_only=True)
class _Fields:
    """What `Local` and `Conv` share; `type` stands here so that it comes first."""

    type: str
    filters: int = key(MISSING, "Filters at each location: the maps of its output.", minimum=1, example=8)
    size: Pair = key(MISSING, "Rows and columns of the receptive fields.", minimum=1, example=7)
    stride: Pair = key(1, _STRIDE, minimum=1)
    padding: Pair = key(0, "Rows and columns of zeros around the image below, on each side.", minimum=0)
    activation: Activation = key("identity", _ACTIVATION)

    def __str__(self) -> str:
        stride = f" stride {_times(self.stride)}" if pair(self.stride) != (1, 1) else ""
        padding = f" padding {_times(self.padding)}" if pair(self.padding) != (0, 0) else ""
        return f"{self.type} {self.filters} of {_times(self.size)}{stride}{padding} {self.activation}"


@dataclass(frozen=True, kw_only=True)
class Local(_Fields):
    """Filters on receptive fields of an image, with weights of its own at each location (untied).

    The filtering stage of the paper (Dean et al. 2012, section 5).
    """

    type: Literal["local"] = key("local", "Type of the layer.")


@dataclass(frozen=True, kw_only=True)
class Conv(_Fields):
    """Filters on receptive fields of an image, with the same weights at all locations: a convolution."""

    type: Literal["conv"] = key("conv", "Type of the layer.")


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Pooling of each map of an image over windows; the windows lie within the image."""

    type: Literal["pool"] = key("pool", "Type of the layer.")
    kind: Literal["max", "l2", "average"] = key(
        "max", "What is taken of a window: its maximum, the root of the sum of squares, or the mean."
    )
    size: Pair = key(MISSING, "Rows and columns of the windows.", minimum=1, example=3)
    stride: Pair = key(MISSING, _STRIDE, minimum=1, example=2)

    def __str__(self) -> str:
        return f"{self.type} {self.kind} {_times(self.size)} stride {_times(self.stride)}"


@dataclass(frozen=True, kw_only=True)
class Lcn:
    """Local contrast normalization of an image, subtractive and divisive, across its maps.

    Around each location the mean is taken away, then it is divided by the standard deviation, both
    over a Gaussian window and all maps (Jarrett et al. 2009, section 3).
    """

    type: Literal["lcn"] = key("lcn", "Type of the layer.")
    size: int = key(MISSING, "Rows, and columns, of the window.", minimum=1, maximum=999, odd=True, example=5)
    floor: float = key(0.01, "Least divisor, so that flat parts of an image stay flat.", above=0)

    def __str__(self) -> str:
        return f"{self.type} {_times(self.size)}"


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Dropout: in training each unit is 0 with the given probability, and else scaled up to make up."""

    type: Literal["dropout"] = key("dropout", "Type of the layer.")
    rate: float = key(MISSING, "Probability that a unit is dropped.", minimum=0, below=1, example=0.5)

    def __str__(self) -> str:
        return f"{self.type} {self.rate:g}"


Layer: TypeAlias = Dense | Local | Conv | Pool | Lcn | Dropout
LAYERS: dict[str, type[Layer]] = {
    "dense": Dense,
    "local": Local,
    "conv": Conv,
    "pool": Pool,
    "lcn": Lcn,
    "dropout": Dropout,
}
