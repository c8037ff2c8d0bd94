"""The layers of a network as nodes of ONNX, those with windows aside: they depend on the precision.

What each computes stands in `kernels.reference`. Shape letters: N examples, H W rows and columns, C maps.
"""

import numpy as np

from dbmpi.arrays import Array
from dbmpi.config.layers import Lcn
from dbmpi.export.onnx_graph import Graph
from dbmpi.layout.network import IMAGE, Layer
from kernels.layers.lcn import gaussian_window

ACTIVATIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}
MAPS = -1  # the axis


def activate(graph: Graph, x: str, layer: Layer) -> str:
    """Apply the activation of a layer."""
    return graph.add(ACTIVATIONS[layer.activation], x) if layer.activation in ACTIVATIONS else x


def dense(graph: Graph, x: str, layer: Layer) -> str:
    """y = f(x W^T + b), of an image in the order of rows, columns, maps."""
    if len(layer.input) == IMAGE:
        x = graph.add("Flatten", x, axis=1)
    y = graph.add("Gemm", x, graph.weight(layer.weight), graph.weight(layer.bias), transB=1)
    return activate(graph, y, layer)


def dropout(graph: Graph, x: str, layer: Layer) -> str:
    """Pass everything on: units are dropped in training alone."""
    return x


def lcn(graph: Graph, x: str, layer: Layer) -> str:
    """v = x - g * mean_c x, y = v / max(floor, sqrt(g * mean_c v^2)); g * blurs a plane.

    The window is separable: a matrix of its weights blurs all columns at once, another one all rows. In
    onnxruntime that takes an eighth to two fifths of the time of a Conv, for planes of 14 to 100 rows, and it
    has every precision.
    """
    spec = layer.spec
    assert isinstance(spec, Lcn)
    g, (height, width, _) = gaussian_window(spec.size, np.float64), layer.input
    sides = graph.constant("rows", band(g, height)), graph.constant("columns", band(g, width))
    maps = graph.integers("maps", [MAPS])

    def blurred(values: str) -> str:
        plane = graph.add("ReduceMean", values, maps, keepdims=0)
        return graph.add("MatMul", graph.add("MatMul", sides[0], plane), sides[1])

    v = graph.add("Sub", x, graph.add("Unsqueeze", blurred(x), maps))
    sigma = graph.add("Sqrt", blurred(graph.add("Mul", v, v)))
    divisor = graph.add("Max", sigma, graph.constant("floor", spec.floor))
    return graph.add("Div", v, graph.add("Unsqueeze", divisor, maps))


def band(g: Array, extent: int) -> Array:
    """Return the window as a matrix over the locations of one side, 0 beyond the border; symmetric."""
    distance = np.abs(np.subtract.outer(np.arange(extent), np.arange(extent)))
    half = len(g) // 2
    return np.where(distance <= half, g[half - np.minimum(distance, half)], 0)
