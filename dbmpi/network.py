"""The network as arithmetic: layers, their parameter tensors, names and shapes. Pure, without MPI.

Shape letters: I fan-in units, O fan-out units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from dbmpi.config import Config, Dense


@dataclass(frozen=True)
class Tensor:
    """One parameter tensor: `layers.2.weight`, its shape, and the fans that set its first values."""

    name: str
    shape: tuple[int, ...]
    fan_in: int
    fan_out: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def row(self) -> int:
        """Number of elements in one row, the unit of ownership (all dimensions but the first)."""
        return prod(self.shape[1:])


@dataclass(frozen=True)
class Layer:
    """A layer with its place in the network: y_OB = f(weight_OI @ x_IB + bias_O)."""

    index: int
    spec: Dense
    inputs: int
    units: int
    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Network:
    """The layers in order, and the loss on the last one's output."""

    inputs: int
    layers: tuple[Layer, ...]
    loss: str

    @property
    def outputs(self) -> int:
        """Units of the last layer."""
        return self.layers[-1].units

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All parameter tensors, in the order of the layers."""
        return tuple(tensor for layer in self.layers for tensor in (layer.weight, layer.bias))

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(tensor.size for tensor in self.tensors)


def build(config: Config, inputs: int) -> Network:
    """Build the network that a configuration describes, on `inputs` input units."""
    return from_layers(config.model.layers, inputs, config.model.loss)


def from_layers(specs: Sequence[Dense], inputs: int, loss: str) -> Network:
    """Chain layer specifications, each on the units of the one before."""
    layers: list[Layer] = []
    fan_in = inputs
    for index, spec in enumerate(specs):
        layers.append(_dense(index, spec, fan_in))
        fan_in = spec.units
    return Network(inputs, tuple(layers), loss)


def _dense(index: int, spec: Dense, fan_in: int) -> Layer:
    weight = Tensor(f"layers.{index}.weight", (spec.units, fan_in), fan_in, spec.units)
    bias = Tensor(f"layers.{index}.bias", (spec.units,), fan_in, spec.units)
    return Layer(index, spec, fan_in, spec.units, weight, bias)
