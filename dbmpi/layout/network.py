"""The network as arithmetic: layers, shapes, parameter tensors. Pure, without MPI.

A layer maps one space to another. A space is flat, `(U,)` units, or an image `(H, W, C)`: rows, columns and
channels (maps). Shape letters: I fan-in units, O fan-out units, K side of a window, F filters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from dbmpi.config.layers import Conv, Dense, Dropout, Lcn, Local, Pool, pair
from dbmpi.config.layers import Layer as Spec
from dbmpi.config.sections import Config
from dbmpi.errors import UserError

Shape = tuple[int, ...]
IMAGE = 3  # dimensions of an image space
MOST_PARAMETERS = 1 << 40  # some terabytes; the largest of the paper has 1.7e9


@dataclass(frozen=True)
class Tensor:
    """One parameter tensor: `layers.2.weight`, its shape, and the fans that set its first values.

    A shared tensor serves all locations of an image: every partition of a replica needs it whole.
    """

    name: str
    shape: Shape
    fan_in: int
    fan_out: int
    shared: bool = False

    @cached_property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True)
class Window:
    """A window that slides over an image; each pair is (rows, columns)."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    def outputs(self, extent: int, axis: int) -> int:
        """Return the number of positions that the window takes on `extent` rows (axis 0) or columns (1)."""
        return (extent + 2 * self.padding[axis] - self.size[axis]) // self.stride[axis] + 1

    def inputs(self, start: int, stop: int, axis: int, extent: int) -> tuple[int, int]:
        """Return the range of inputs, inside the image, that the outputs [start, stop) read."""
        first = start * self.stride[axis] - self.padding[axis]
        last = (stop - 1) * self.stride[axis] - self.padding[axis] + self.size[axis]
        first = min(max(first, 0), extent)  # a tile may lie in the padding alone
        return first, max(first, min(last, extent))


@dataclass(frozen=True)
class Layer:
    """A layer of the network, with the spaces that it reads and computes.

    `window` is None where a layer reads its whole input (dense), or only the unit itself (dropout).
    """

    index: int
    spec: Spec
    input: Shape
    output: Shape
    weight: Tensor | None = None
    bias: Tensor | None = None
    window: Window | None = None

    @cached_property
    def inputs(self) -> int:
        """Units of the space that it reads."""
        return prod(self.input)

    @cached_property
    def units(self) -> int:
        """Units of the space that it computes."""
        return prod(self.output)

    @property
    def activation(self) -> str:
        """Name of its activation; "identity" where it has none of its own."""
        return getattr(self.spec, "activation", "identity")


@dataclass(frozen=True)
class Network:
    """The layers in order, the loss on the last one's output, and how the first weights are drawn."""

    input: Shape
    layers: tuple[Layer, ...]
    loss: str
    init: str = "he"

    @cached_property
    def inputs(self) -> int:
        """Units of the input."""
        return prod(self.input)

    @property
    def outputs(self) -> int:
        """Units of the last layer."""
        return self.layers[-1].units

    @cached_property
    def spaces(self) -> tuple[Shape, ...]:
        """The shape of the input, and of the output of each layer."""
        return (self.input, *(layer.output for layer in self.layers))

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """All parameter tensors, in the order of the layers."""
        return tuple(t for layer in self.layers for t in (layer.weight, layer.bias) if t is not None)

    @cached_property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(tensor.size for tensor in self.tensors)


def build(config: Config, input_shape: Shape) -> Network:
    """Build the network that a configuration describes, on examples of `input_shape`."""
    network = from_layers(config.model.layers, input_shape, config.model.loss)
    return replace(network, init=config.model.init)


def from_layers(specs: Sequence[Spec], input_shape: int | Shape, loss: str) -> Network:
    """Chain layer specifications, each on the space of the one before.

    Parameters
    ----------
    input_shape
        `(H, W, C)`; `(H, W)`, an image of one channel; `(features,)`, or just their number.

    Raises
    ------
    UserError
        Where a layer does not fit what is below it, or the network is absurdly large.
    """
    shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    if len(shape) == IMAGE - 1:
        shape = (*shape, 1)
    layers: list[Layer] = []
    for index, spec in enumerate(specs):
        layers.append(_MAKERS[type(spec)](index, spec, layers[-1].output if layers else shape))
    network = Network(shape, tuple(layers), loss)
    if network.parameters > MOST_PARAMETERS or max(layer.units for layer in layers) > MOST_PARAMETERS:
        raise UserError(
            f"model.layers: a network of {network.parameters:,} parameters, with up to "
            f"{max(layer.units for layer in layers):,} units in a layer, is beyond {MOST_PARAMETERS:,} of "
            "either: lower units, filters or padding, or raise strides"
        )
    return network


def _dense(index: int, spec: Dense, shape: Shape) -> Layer:
    inputs = prod(shape)
    weight = Tensor(f"layers.{index}.weight", (spec.units, inputs), inputs, spec.units)
    bias = Tensor(f"layers.{index}.bias", (spec.units,), inputs, spec.units)
    return Layer(index, spec, shape, (spec.units,), weight, bias)


def _local(index: int, spec: Local | Conv, shape: Shape) -> Layer:
    """Make a layer of receptive fields: untied weights at each location, or one set for all."""
    window = Window(pair(spec.size), pair(spec.stride), pair(spec.padding))
    rows, columns = _positions(index, spec, window, shape)
    field = (spec.filters, *window.size, shape[2])
    shared = isinstance(spec, Conv)
    fans = prod(field[1:]), spec.filters * prod(window.size)
    locations = () if shared else (rows, columns)
    weight = Tensor(f"layers.{index}.weight", (*locations, *field), *fans, shared)
    bias = Tensor(f"layers.{index}.bias", (*locations, spec.filters), *fans, shared)
    return Layer(index, spec, shape, (rows, columns, spec.filters), weight, bias, window)


def _pool(index: int, spec: Pool, shape: Shape) -> Layer:
    window = Window(pair(spec.size), pair(spec.stride), (0, 0))
    rows, columns = _positions(index, spec, window, shape)
    return Layer(index, spec, shape, (rows, columns, shape[-1]), window=window)


def _lcn(index: int, spec: Lcn, shape: Shape) -> Layer:
    """Twice the window's half on each side: once for the means, once for the deviations."""
    half = spec.size // 2
    window = Window((4 * half + 1,) * 2, (1, 1), (2 * half,) * 2)
    _positions(index, spec, window, shape)
    return Layer(index, spec, shape, shape, window=window)


def _dropout(index: int, spec: Dropout, shape: Shape) -> Layer:
    return Layer(index, spec, shape, shape)


def _positions(index: int, spec: Spec, window: Window, shape: Shape) -> tuple[int, int]:
    """Return the rows and columns of an image layer's output, or say why there are none."""
    kind = f"model.layers[{index}] ({spec.type})"
    if len(shape) != IMAGE:
        raise UserError(
            f"{kind} needs an image, but what is below it has the shape {shape}: use data of shape (N, H, W) "
            "or (N, H, W, C), or put the layer below the first dense one"
        )
    rows, columns = window.outputs(shape[0], 0), window.outputs(shape[1], 1)
    if rows < 1 or columns < 1:
        raise UserError(
            f"{kind}: a window of {window.size[0]} x {window.size[1]} with padding {window.padding[0]} x "
            f"{window.padding[1]} does not fit the image of {shape[0]} x {shape[1]} below it: make the "
            "window smaller, or pool less in the layers below"
        )
    return rows, columns


_MAKERS: dict[type, Callable[..., Layer]] = {
    Dense: _dense,
    Local: _local,
    Conv: _local,
    Pool: _pool,
    Lcn: _lcn,
    Dropout: _dropout,
}
