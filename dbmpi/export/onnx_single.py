"""Layers with windows in float32: by the operators that ONNX has for them, which every runtime has made fast.

ONNX wants maps before rows and columns; runtimes drop a Transpose that the next one undoes. Shape letters: N
examples, H W rows and columns, C maps, K sides of the window, F filters, P positions.
"""

from dbmpi.config.layers import Pool
from dbmpi.export.onnx_graph import SAME, Graph
from dbmpi.export.onnx_layers import activate
from dbmpi.export.onnx_windows import counts, windows
from dbmpi.layout.network import Layer

MAPS_FIRST, MAPS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
POOLS = {"max": "MaxPool", "average": "AveragePool", "l2": "LpPool"}


def conv(graph: Graph, x: str, layer: Layer) -> str:
    """Filters with the same weights at all positions: Conv, between Transposes."""
    assert layer.window is not None
    window = layer.window
    x = graph.add("Transpose", x, perm=MAPS_FIRST)
    w = graph.weight(layer.weight, lambda w_FKKC: w_FKKC.transpose(MAPS_FIRST))
    y = graph.add(
        "Conv",
        x,
        w,
        graph.weight(layer.bias),
        kernel_shape=window.size,
        strides=window.stride,
        pads=window.padding * 2,
    )
    return graph.add("Transpose", activate(graph, y, layer), perm=MAPS_LAST)


def local(graph: Graph, x: str, layer: Layer) -> str:
    """Filters with weights of their own at each position: those of one position are a group of a Conv."""
    positions, taps = counts(layer)
    fan_in, filters = taps * layer.input[2], layer.output[2]
    x = graph.reshape(windows(graph, x, layer), SAME, positions * fan_in, 1)
    w = graph.weight(layer.weight, lambda w_HWFKKC: w_HWFKKC.reshape(positions * filters, fan_in, 1))
    b = graph.weight(layer.bias, lambda b_HWF: b_HWF.reshape(-1))
    y = activate(graph, graph.add("Conv", x, w, b, kernel_shape=[1], group=positions), layer)
    return graph.reshape(y, SAME, *layer.output)


def pool(graph: Graph, x: str, layer: Layer) -> str:
    """MaxPool, AveragePool or LpPool. Windows lie within the image, so that nothing is counted beyond it."""
    assert isinstance(layer.spec, Pool) and layer.window is not None
    window, kind = layer.window, POOLS[layer.spec.kind]
    power = {"p": 2} if kind == "LpPool" else {}
    x = graph.add("Transpose", x, perm=MAPS_FIRST)
    y = graph.add(kind, x, kernel_shape=window.size, strides=window.stride, **power)
    return graph.add("Transpose", y, perm=MAPS_LAST)
