"""A network as a graph of ONNX, from inputs as they are stored to what its outputs say.

Shape letters: N examples, H W C rows, columns and channels of an image, O output units, T targets.
"""

from collections.abc import Callable

import numpy as np

from dbmpi.config.layers import Conv, Dense, Dropout, Lcn, Local, Pool
from dbmpi.data.factors import array
from dbmpi.export import onnx_double, onnx_layers, onnx_single
from dbmpi.export.interface import INPUT, LOGITS, PROBABILITIES, VALUES
from dbmpi.export.onnx_graph import SAME, Graph, tensor_type
from dbmpi.layout.network import Layer
from dbmpi.trained.model import TrainedModel

Maker = Callable[[Graph, str, Layer], str]
ANY: dict[type, Maker] = {
    Dense: onnx_layers.dense,
    Lcn: onnx_layers.lcn,
    Dropout: onnx_layers.dropout,
}
SINGLE: dict[type, Maker] = {Conv: onnx_single.conv, Local: onnx_single.local, Pool: onnx_single.pool}
DOUBLE: dict[type, Maker] = {Conv: onnx_double.conv, Local: onnx_double.local, Pool: onnx_double.pool}
EXACT = 8.0  # float32 rounds values up to this by 5e-7 at most


def graph_of(trained: TrainedModel) -> Graph:
    """Return the graph of a model; its parameters are not read."""
    graph = Graph(trained.dtype)
    makers = ANY | (SINGLE if trained.dtype == np.float32 else DOUBLE)
    graph.scope = "input."
    x = _scaled(graph, trained, _in_order(graph, trained))
    for layer in trained.network.layers:
        graph.scope = f"layers.{layer.index}."
        x = makers[type(layer.spec)](graph, x, layer)
    graph.scope = "output."
    _answer(graph, trained, x)
    return graph


def _in_order(graph: Graph, trained: TrainedModel) -> str:
    """Bring inputs as stored to the shape of the first space: features, or channels last."""
    if trained.channels_first:
        return graph.add("Transpose", INPUT, perm=onnx_single.MAPS_LAST)
    if len(trained.network.input) != len(trained.format.input_shape):
        return graph.reshape(INPUT, *[SAME] * len(trained.network.input), 1)
    return INPUT


def _scaled(graph: Graph, trained: TrainedModel, x: str) -> str:
    """Scale inputs: in float64, unless float32 is as good; values far from 0 may differ by little."""
    stored, shape = np.dtype(trained.format.input_dtype), trained.network.input
    scale, offset = (array(one, shape) for one in trained.format.of_inputs)
    neutral = (scale == 1).all() and (offset == 0).all()
    small = stored == np.uint8 and (255 * np.abs(scale) + np.abs(offset)).max() <= EXACT
    wide = trained.dtype if neutral or small else np.dtype(np.float64)
    x = _cast(graph, x, stored, wide)
    if not neutral:
        x = graph.add("Mul", x, graph.constant("scale", scale, wide))
        x = graph.add("Add", x, graph.constant("offset", offset, wide))
    return _cast(graph, x, wide, trained.dtype)


def _cast(graph: Graph, x: str, given: np.dtype, wanted: np.dtype) -> str:
    if given == wanted:
        return x
    return graph.add("Cast", x, to=tensor_type(wanted))


def _answer(graph: Graph, trained: TrainedModel, z: str) -> None:
    """Add the outputs: logits and probabilities, or values in the units of the file."""
    if trained.format.outputs == "targets":
        graph.name(_unscaled(graph, trained, z), VALUES)
        return
    graph.name(z, LOGITS)
    if trained.network.loss == "softmax":
        found = graph.add("Softmax", z, axis=1)
    elif trained.network.loss == "logistic":
        found = graph.add("Sigmoid", z)
    else:
        found = graph.add("Clip", z, graph.constant("least", 0), graph.constant("most", 1))
    graph.name(found, PROBABILITIES)


def _unscaled(graph: Graph, trained: TrainedModel, y: str) -> str:
    """Bring targets back to the units of the file: y / scale - offset / scale."""
    if not trained.format.target_scale:
        return y
    scale, offset = (np.asarray(one) for one in trained.format.of_targets)
    y = graph.add("Mul", y, graph.constant("scale", 1 / scale))
    return graph.add("Add", y, graph.constant("offset", -offset / scale))
