"""Trained models in memory, of any layers and format; and what they compute, by plain NumPy alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.config.layers import Conv, Dense, Dropout, Layer, Lcn, Local, Pool
from dbmpi.config.sections import Config, Data, Model
from dbmpi.data.format import Format
from dbmpi.layout.network import Network, from_layers
from dbmpi.trained.model import TrainedModel
from kernels.layers import activations, pool
from kernels.layers.lcn import gaussian_window
from kernels.reference import spatial
from kernels.reference.dense import bias_activation


class MemoryValues:
    """Tensors in memory."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self.tensors = tensors

    def read(self, tensor: str, at: tuple[slice, ...], out: Array) -> None:
        out[...] = self.tensors[tensor][at]

    def close(self) -> None:
        pass


def trained_model(
    layers: tuple[Layer, ...],
    shape: tuple[int, ...],
    *,
    loss: str = "softmax",
    dtype: str = "float32",
    layout: str = "channels_last",
    seed: int = 0,
    **form: Any,
) -> TrainedModel:
    """Return a model with random parameters; `form` is of `Format`, with defaults."""
    network = from_layers(layers, shape, loss)
    rng = np.random.default_rng(seed)
    tensors = {one.name: rng.normal(0, one.fan_in**-0.5, one.shape).astype(dtype) for one in network.tensors}
    outputs = "targets" if loss == "squared" else "classes"
    given = {"input_dtype": "float32", "scale": (1.0,), "offset": (0.0,), "outputs": outputs, **form}
    config = Config(data=Data(layout=layout), model=Model(loss=loss, dtype=dtype, layers=layers))
    return TrainedModel(Path("memory"), config, Format(shape, **given), "last", MemoryValues(tensors))


def scaled(rows: Array, scale: Array, offset: Array) -> Array:
    """Return what the network sees of rows, float64 (N, ...)."""
    return rows.astype(np.float64) * scale + offset


def plain_outputs(network: Network, tensors: Mapping[str, Array], x: Array) -> Array:
    """Return what the last layer computes of scaled inputs (N, ...), in the dtype of these: (N, O)."""
    a = np.moveaxis(x.reshape(len(x), *network.input), 0, -1)
    for layer in network.layers:
        spec, y = layer.spec, np.zeros((*layer.output, len(x)), x.dtype)
        w, b = (one and tensors[one.name].astype(x.dtype) for one in (layer.weight, layer.bias))
        code, window = activations.CODES[layer.activation], layer.window
        if isinstance(spec, Dense):
            y = w @ a.reshape(-1, len(x))
            bias_activation(y, b, code)
        elif isinstance(spec, Local | Conv):
            run = spatial.local_forward if isinstance(spec, Local) else spatial.conv_forward
            run(a, w, b, y, *window.stride, *(-one for one in window.padding), code)
        elif isinstance(spec, Pool):
            spatial.pool_forward(a, y, *window.size, *window.stride, 0, 0, pool.KINDS[spec.kind])
        elif isinstance(spec, Lcn):
            g = gaussian_window(spec.size, x.dtype.type)
            spatial.lcn_forward(a, g, spec.floor, 0, 0, None, None, y)
        else:
            assert isinstance(spec, Dropout)
            y = a
        a = y
    return np.ascontiguousarray(a.T)
