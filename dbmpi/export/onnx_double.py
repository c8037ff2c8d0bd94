"""Layers with windows in float64: by products and reductions of gathered windows.

onnxruntime has Conv, AveragePool and LpPool for float32 alone. Shape letters: N examples, H W rows and
columns, C maps, K sides of the window, F filters, P positions.
"""

from dbmpi.arrays import Array
from dbmpi.config.layers import Pool
from dbmpi.export.onnx_graph import SAME, Graph
from dbmpi.export.onnx_layers import activate
from dbmpi.export.onnx_windows import counts, windows
from dbmpi.layout.network import Layer

REDUCTIONS = {"max": "ReduceMax", "average": "ReduceMean", "l2": "ReduceL2"}
TAPS = 2  # the axis


def conv(graph: Graph, x: str, layer: Layer) -> str:
    """Filters with the same weights at all positions: (P, K K C) times (K K C, F)."""
    positions, taps = counts(layer)
    x = graph.reshape(windows(graph, x, layer), SAME, positions, taps * layer.input[2])
    w = graph.weight(layer.weight, lambda w_FKKC: w_FKKC.reshape(len(w_FKKC), -1).T)
    y = graph.add("Add", graph.add("MatMul", x, w), graph.weight(layer.bias))
    return graph.reshape(activate(graph, y, layer), SAME, *layer.output)


def local(graph: Graph, x: str, layer: Layer) -> str:
    """Filters with weights of their own at each position: P products of (1, K K C) and (K K C, F)."""
    positions, taps = counts(layer)
    fan_in, filters = taps * layer.input[2], layer.output[2]

    def by_position(w_HWFKKC: Array) -> Array:
        return w_HWFKKC.reshape(positions, filters, fan_in).transpose(0, 2, 1)

    x = graph.reshape(windows(graph, x, layer), SAME, positions, 1, fan_in)
    y = graph.reshape(graph.add("MatMul", x, graph.weight(layer.weight, by_position)), SAME, *layer.output)
    return activate(graph, graph.add("Add", y, graph.weight(layer.bias)), layer)


def pool(graph: Graph, x: str, layer: Layer) -> str:
    """The largest, the mean, or the root of the sum of squares of each window, map by map."""
    assert isinstance(layer.spec, Pool)
    positions, taps = counts(layer)
    x = graph.reshape(windows(graph, x, layer), SAME, positions, taps, layer.input[2])
    y = graph.add(REDUCTIONS[layer.spec.kind], x, graph.integers("taps", [TAPS]), keepdims=0)
    return graph.reshape(y, SAME, *layer.output)
