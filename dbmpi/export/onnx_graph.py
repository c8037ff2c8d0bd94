"""A graph of ONNX as it is put together: nodes, constants, and parameters, which are read later.

Images are (N, H, W, C) as everywhere in dbmpi; N is any number of examples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import helper

from dbmpi.arrays import Array
from dbmpi.layout.network import Tensor

OPSET = 18  # of December 2022: the first whose reductions take axes as they do today
SAME = 0  # of `Graph.reshape`: the extent stays as it is


def tensor_type(dtype: "np.dtype[Any]") -> int:
    """Return the number that ONNX has for a type of array."""
    return int(helper.np_dtype_to_tensor_dtype(dtype))


@dataclass(frozen=True)
class Weight:
    """A tensor of the model, and how the graph wants it.

    `arrange` returns its values in another shape or order; the name is that of the tensor.
    """

    tensor: Tensor
    arrange: Callable[[Array], Array]


class Graph:
    """Nodes in the order in which they are computed; each value has a name.

    Parameters
    ----------
    dtype
        Of the parameters, and of what is computed.

    Attributes
    ----------
    scope
        What names begin with, for instance "layers.2.".
    constants : {name: array}
    weights : list of Weight
    """

    def __init__(self, dtype: "np.dtype[Any]") -> None:
        self.dtype, self.scope = dtype, ""
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.weights: list[Weight] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output; return the name of that."""
        output = f"{self.scope}{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def name(self, value: str, name: str) -> None:
        """Let an output of the graph have a name."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name))

    def constant(self, name: str, values: Any, dtype: Any = None) -> str:
        """Add an array that is no parameter, of the graph's dtype unless told; return its name."""
        name = f"{self.scope}{name}.{len(self.constants)}"
        self.constants[name] = np.asarray(values, dtype or self.dtype)
        return name

    def integers(self, name: str, values: Any) -> str:
        """Add whole numbers: a shape, axes, indices. Return their name."""
        return self.constant(name, values, np.int64)

    def weight(self, tensor: Tensor | None, arrange: Callable[[Array], Array] = lambda w: w) -> str:
        """Add a tensor of the model; return its name."""
        assert tensor is not None
        self.weights.append(Weight(tensor, arrange))
        return tensor.name

    def reshape(self, value: str, *shape: int) -> str:
        """Give a value another shape; `SAME` keeps an extent."""
        return self.add("Reshape", value, self.integers("shape", shape))
