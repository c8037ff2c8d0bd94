"""The layers of images: receptive fields, pooling, contrast normalization; and dropout.

Images are (H, W, C, B). The interior of a tile is computed while its halo is on its way.
"""

from typing import Any, NamedTuple

import numpy as np

from dbmpi.arrays import Array
from dbmpi.config.layers import Conv, Dense, Dropout, Lcn, Local, Pool
from dbmpi.layout import halo
from dbmpi.layout.boxes import Box, volume, within
from dbmpi.layout.network import IMAGE
from dbmpi.model.layers import DenseLayer, PartitionLayer
from kernels.layers import bias, conv, dropout, lcn, local, pool

MOST_LAYERS = 1 << 16  # each layer draws from a seed of its own
Geometry = tuple[int, int, int, int]  # strides and offsets, by row and column, as kernels take them


class Rectangle(NamedTuple):
    """A rectangle of a layer's outputs: the outputs, where it lies among the own ones, and its geometry."""

    y: Array
    at: tuple[slice, ...]
    geometry: Geometry


class WindowLayer(PartitionLayer):
    """A layer whose window slides over the image: where it reads, rectangle by rectangle."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        window = self.network_layer.window
        assert window is not None
        self.window, below = window, self.index
        own = self.need if below == 0 else self.partitioning.own(below, self.partition)
        image = self.network_layer.input
        inner = halo.interior(window, image, own, self.own) if self.active else self.own
        self._inner = [self._rectangle(inner)] if volume(inner) else []
        self._border = [self._rectangle(box) for box in halo.border(self.own, inner)]
        self.geometry = self._geometry(self.own)

    def _rectangle(self, box: Box) -> Rectangle:
        return Rectangle(self.y[within(box, self.own)], within(box[:2], self.own[:2]), self._geometry(box))

    def _geometry(self, box: Box) -> Geometry:
        """Return strides and offsets of the outputs `box`."""
        (stride_h, stride_w), (pad_h, pad_w) = self.window.stride, self.window.padding
        top = box[0][0] * stride_h - pad_h - self.need[0][0]
        left = box[1][0] * stride_w - pad_w - self.need[1][0]
        return stride_h, stride_w, top, left

    def forward(self, w: Array | None, b: Array | None) -> None:
        """Compute the interior, wait for the halo, compute the border."""
        for rectangle in self._inner:
            self.compute(rectangle, w, b)
        self.wait_states()
        for rectangle in self._border:
            self.compute(rectangle, w, b)

    def compute(self, rectangle: Rectangle, w: Array | None, b: Array | None) -> None:
        """Compute some of the outputs."""
        raise NotImplementedError


class LocalLayer(WindowLayer):
    """y_ijf = f(sum_kkc w_ijfkkc x_(i+k)(j+k)c + b_ijf): a filter bank of its own at each location."""

    def compute(self, rectangle: Rectangle, w: Array | None, b: Array | None) -> None:
        """See `WindowLayer.compute`."""
        assert w is not None and b is not None
        y, at, geometry = rectangle
        local.local_forward(self.x, w[at], b[at], y, *geometry, self.code)

    def activate_back(self, db: Array | None) -> None:
        """See `PartitionLayer.activate_back`."""
        bias.spatial_activation_backward(self.dy, self.y, self.code)
        self.sum_biases(db)

    def sum_biases(self, db: Array | None) -> None:
        """Overwrite the gradient of the biases."""
        bias.local_bias_sums(self.dy, db)

    def derive_input(self, w: Array | None) -> None:
        """See `PartitionLayer.derive_input`."""
        local.local_backward_input(self.dy, w, self.dx, *self.geometry)
        self.send_derivatives()

    def derive_weights(self, dw: Array | None) -> None:
        """See `PartitionLayer.derive_weights`."""
        local.local_backward_weights(self.x, self.dy, dw, *self.geometry)


class ConvLayer(LocalLayer):
    """The same with one filter bank for all locations."""

    def sum_biases(self, db: Array | None) -> None:
        """See `LocalLayer.sum_biases`."""
        bias.shared_bias_sums(self.dy, db)

    def compute(self, rectangle: Rectangle, w: Array | None, b: Array | None) -> None:
        """See `WindowLayer.compute`."""
        conv.conv_forward(self.x, w, b, rectangle.y, *rectangle.geometry, self.code)

    def derive_input(self, w: Array | None) -> None:
        """See `PartitionLayer.derive_input`."""
        conv.conv_backward_input(self.dy, w, self.dx, *self.geometry)
        self.send_derivatives()

    def derive_weights(self, dw: Array | None) -> None:
        """See `PartitionLayer.derive_weights`."""
        conv.conv_backward_weights(self.x, self.dy, dw, *self.geometry)


class PoolLayer(WindowLayer):
    """L2, maximum or average over a window, map by map."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        assert isinstance(self.network_layer.spec, Pool)
        self._kind = pool.KINDS[self.network_layer.spec.kind]

    def compute(self, rectangle: Rectangle, w: Array | None, b: Array | None) -> None:
        """See `WindowLayer.compute`."""
        pool.pool_forward(self.x, rectangle.y, *self.window.size, *rectangle.geometry, self._kind)

    def derive_input(self, w: Array | None) -> None:
        """See `PartitionLayer.derive_input`."""
        sizes = (*self.window.size, *self.geometry)
        pool.pool_backward(self.x, self.y, self.dy, self.dx, *sizes, self._kind)
        self.send_derivatives()


class LcnLayer(PartitionLayer):
    """Local contrast normalization; its rectangle needs the whole halo at once."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        spec, dtype = self.network_layer.spec, self.x.dtype
        assert isinstance(spec, Lcn)
        self._window = lcn.gaussian_window(spec.size, dtype.type)
        planes = self.x.shape[:2] + self.x.shape[3:]
        self._kept = np.zeros((lcn.KEPT_PLANES, *planes), dtype)
        self._work = np.zeros((lcn.WORK_PLANES, *planes), dtype)
        row, column = (self.own[axis][0] - self.need[axis][0] for axis in (0, 1))
        self._given = self._window, spec.floor, row, column, self._kept, self._work

    def forward(self, w: Array | None, b: Array | None) -> None:
        """See `PartitionLayer.forward`."""
        self.wait_states()
        lcn.lcn_forward(self.x, *self._given, self.y)

    def derive_input(self, w: Array | None) -> None:
        """See `PartitionLayer.derive_input`."""
        lcn.lcn_backward(self.x, *self._given, self.dy, self.dx)
        self.send_derivatives()


class DropoutLayer(PartitionLayer):
    """Drops units while training, the same ones whatever P; passes everything on in evaluation."""

    def forward(self, w: Array | None, b: Array | None) -> None:
        """See `PartitionLayer.forward`."""
        np.copyto(self.y, self.x)
        self._mask(self.y)

    def derive_input(self, w: Array | None) -> None:
        """See `PartitionLayer.derive_input`."""
        np.copyto(self.dx, self.dy)
        self._mask(self.dx)

    def _mask(self, values: Array) -> None:
        draw, spec = self.workspace.draw, self.network_layer.spec
        if draw is None:
            return
        assert isinstance(spec, Dropout)
        keep, seed, counter = 1.0 - spec.rate, draw[0] * MOST_LAYERS + self.index, draw[1]
        if len(self.own) == IMAGE:
            row, column, columns = self.own[0][0], self.own[1][0], self.network_layer.output[1]
            dropout.spatial_dropout_forward(values, row, column, columns, seed, counter, keep)
        else:
            dropout.dropout_forward(values, self.own[0][0], seed, counter, keep)


LAYER_CLASSES: dict[type, type[PartitionLayer]] = {  # by the class of the layer in the configuration
    Dense: DenseLayer,
    Local: LocalLayer,
    Conv: ConvLayer,
    Pool: PoolLayer,
    Lcn: LcnLayer,
    Dropout: DropoutLayer,
}
