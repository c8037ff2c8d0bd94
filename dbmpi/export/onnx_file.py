"""An ONNX file: the graph of a model, with its parameters inside or, where they are too large, beside it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from dbmpi import __version__
from dbmpi.arrays import Array
from dbmpi.export.interface import Port, input_of, outputs_of
from dbmpi.export.onnx_graph import OPSET, Graph, Weight, tensor_type
from dbmpi.export.onnx_network import graph_of
from dbmpi.trained.metadata import to_texts
from dbmpi.trained.model import TrainedModel

IR_VERSION = 8  # of the time of OPSET
MOST_INSIDE = (1 << 31) - (1 << 24)  # bytes of parameters: a file of ONNX ends at 2 GiB
DATA = ".data"  # after the name of the file
PAGE = 1 << 12  # where tensors begin in the data file, so that a runtime can map them


def too_large(trained: TrainedModel) -> bool:
    """Return whether a model is too large for one file of ONNX."""
    size = sum(one.nbytes for one in graph_of(trained).constants.values())
    return size + trained.network.parameters * trained.dtype.itemsize > MOST_INSIDE


def write(path: Path, trained: TrainedModel, external: bool) -> None:
    """Write a model as ONNX: `path`, and `path` with `DATA` where parameters are beside it. Local.

    Parameters
    ----------
    external
        Put parameters beside the file in any case; else where they are too large to be inside. No more than
        one tensor is in memory then.

    Raises
    ------
    UserError
        The parameters cannot be read.
    """
    graph = graph_of(trained)
    values = _values(graph, trained)
    constants = [numpy_helper.from_array(array, name) for name, array in graph.constants.items()]
    if external or too_large(trained):
        weights = _beside(path.with_name(path.name + DATA), values)
    else:
        weights = [numpy_helper.from_array(array, one.tensor.name) for one, array in values]
    path.write_bytes(_model(graph, trained, weights + constants).SerializeToString(deterministic=True))


def _values(graph: Graph, trained: TrainedModel) -> Iterator[tuple[Weight, Array]]:
    """Yield the parameters as the graph wants them, one tensor after another."""
    for one in graph.weights:
        yield one, np.ascontiguousarray(one.arrange(trained.tensor(one.tensor)))


def _beside(path: Path, values: Iterator[tuple[Weight, Array]]) -> list[Any]:
    """Write parameters to a file; return tensors that say where each lies."""
    tensors = []
    with path.open("wb") as file:
        for one, array in values:
            file.write(bytes(-file.tell() % PAGE))
            place = {"location": path.name, "offset": file.tell(), "length": array.nbytes}
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            file.write(little.reshape(-1).view(np.uint8).data)
            tensors.append(_elsewhere(one.tensor.name, array, place))
    return tensors


def _elsewhere(name: str, array: Array, place: dict[str, Any]) -> Any:
    """Return a tensor whose values are in another file."""
    tensor = TensorProto(
        name=name, dims=array.shape, data_type=tensor_type(array.dtype), data_location=TensorProto.EXTERNAL
    )
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _model(graph: Graph, trained: TrainedModel, initializers: list[Any]) -> Any:
    made = helper.make_graph(
        graph.nodes,
        "dbmpi",
        [_port(input_of(trained))],
        [_port(one) for one in outputs_of(trained)],
        initializers,
    )
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="dbmpi",
        producer_version=__version__,
    )
    helper.set_model_props(model, to_texts(trained))
    return model


def _port(port: Port) -> Any:
    shape = ["N", *port.shape]
    return helper.make_tensor_value_info(port.name, tensor_type(port.dtype), shape, port.about)
