"""Stages of the image layers: receptive fields, pooling, contrast normalization; and dropout.

Images are (H, W, C, B). The interior of a tile is computed while its halo is on its way.
"""

from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.config.layers import Conv, Dense, Dropout, Lcn, Local, Pool
from dbmpi.layout import halo
from dbmpi.layout.boxes import Box, volume, within
from dbmpi.layout.network import IMAGE
from dbmpi.model.layers import DenseStage, Stage
from kernels.layers import bias, conv, dropout, lcn, local, pool


class WindowStage(Stage):
    """A layer whose window slides over the image: where it reads, rectangle by rectangle."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        window = self.layer.window
        assert window is not None
        self.window = window
        below = self.layer.index
        own = self.need if below == 0 else self.partitioning.own(below, self.partition)
        inner = halo.interior(window, self.layer.input, own, self.own) if self.active else self.own
        self.inner = inner if volume(inner) else None
        self.border = halo.border(self.own, inner)
        self.geometry = self.placed(self.own)

    def placed(self, box: Box) -> tuple[int, int, int, int]:
        """Return strides and offsets of the outputs `box`, as kernels take them."""
        (stride_h, stride_w), (pad_h, pad_w) = self.window.stride, self.window.padding
        top = box[0][0] * stride_h - pad_h - self.need[0][0]
        left = box[1][0] * stride_w - pad_w - self.need[1][0]
        return stride_h, stride_w, top, left

    def forward(self, w: Array | None, b: Array | None) -> None:
        """Compute the interior, wait for the halo, compute the border."""
        if self.inner is not None:
            self.compute(self.inner, w, b)
        self.wait()
        for box in self.border:
            self.compute(box, w, b)

    def compute(self, box: Box, w: Array | None, b: Array | None) -> None:
        """Compute the outputs `box`."""
        raise NotImplementedError

    def at(self, box: Box) -> Array:
        """Return the outputs `box`, a view."""
        return self.y[within(box, self.own)]


class LocalStage(WindowStage):
    """y_ijf = f(sum_kkc w_ijfkkc x_(i+k)(j+k)c + b_ijf): a filter bank of its own at each location."""

    def compute(self, box: Box, w: Array | None, b: Array | None) -> None:
        """See `WindowStage.compute`."""
        assert w is not None and b is not None
        place = within(box[:2], self.own[:2])
        local.local_forward(self.x, w[place], b[place], self.at(box), *self.placed(box), self.code)

    def activate_back(self, db: Array | None) -> None:
        """See `Stage.activate_back`."""
        bias.spatial_activation_backward(self.dy, self.y, self.code)
        self.sum_biases(db)

    def sum_biases(self, db: Array | None) -> None:
        """Overwrite the gradient of the biases."""
        bias.local_bias_sums(self.dy, db)

    def derive_input(self, w: Array | None) -> None:
        """See `Stage.derive_input`."""
        local.local_backward_input(self.dy, w, self.dx, *self.geometry)
        self.send()

    def derive_weights(self, dw: Array | None) -> None:
        """See `Stage.derive_weights`."""
        local.local_backward_weights(self.x, self.dy, dw, *self.geometry)


class ConvStage(LocalStage):
    """The same with one filter bank for all locations."""

    def sum_biases(self, db: Array | None) -> None:
        """See `LocalStage.sum_biases`."""
        bias.shared_bias_sums(self.dy, db)

    def compute(self, box: Box, w: Array | None, b: Array | None) -> None:
        """See `WindowStage.compute`."""
        conv.conv_forward(self.x, w, b, self.at(box), *self.placed(box), self.code)

    def derive_input(self, w: Array | None) -> None:
        """See `Stage.derive_input`."""
        conv.conv_backward_input(self.dy, w, self.dx, *self.geometry)
        self.send()

    def derive_weights(self, dw: Array | None) -> None:
        """See `Stage.derive_weights`."""
        conv.conv_backward_weights(self.x, self.dy, dw, *self.geometry)


class PoolStage(WindowStage):
    """L2, maximum or average over a window, map by map."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        assert isinstance(self.layer.spec, Pool)
        self._kind = pool.KINDS[self.layer.spec.kind]

    def compute(self, box: Box, w: Array | None, b: Array | None) -> None:
        """See `WindowStage.compute`."""
        pool.pool_forward(self.x, self.at(box), *self.window.size, *self.placed(box), self._kind)

    def derive_input(self, w: Array | None) -> None:
        """See `Stage.derive_input`."""
        sizes = (*self.window.size, *self.geometry)
        pool.pool_backward(self.x, self.y, self.dy, self.dx, *sizes, self._kind)
        self.send()


class LcnStage(Stage):
    """Local contrast normalization; its rectangle needs the whole halo at once."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        assert isinstance(self.layer.spec, Lcn)
        side, dtype = self.layer.spec.size, self.x.dtype
        self._window = lcn.gaussian_window(side, dtype.type)
        planes = self.x.shape[:2] + self.x.shape[3:]
        self._kept = np.zeros((lcn.KEPT_PLANES, *planes), dtype)
        self._work = np.zeros((lcn.WORK_PLANES, *planes), dtype)
        row, column = (self.own[axis][0] - self.need[axis][0] for axis in (0, 1))
        self._given = self._window, self.layer.spec.floor, row, column, self._kept, self._work

    def forward(self, w: Array | None, b: Array | None) -> None:
        """See `Stage.forward`."""
        self.wait()
        lcn.lcn_forward(self.x, *self._given, self.y)

    def derive_input(self, w: Array | None) -> None:
        """See `Stage.derive_input`."""
        lcn.lcn_backward(self.x, *self._given, self.dy, self.dx)
        self.send()


class DropoutStage(Stage):
    """Drops units while training, the same ones whatever P; passes everything on in evaluation."""

    def forward(self, w: Array | None, b: Array | None) -> None:
        """See `Stage.forward`."""
        np.copyto(self.y, self.x)
        self._mask(self.y)

    def derive_input(self, w: Array | None) -> None:
        """See `Stage.derive_input`."""
        np.copyto(self.dx, self.dy)
        self._mask(self.dx)

    def _mask(self, values: Array) -> None:
        draw = self.space.draw
        if draw is None:
            return
        assert isinstance(self.layer.spec, Dropout)
        keep, seed, counter = 1.0 - self.layer.spec.rate, draw[0] * MOST_LAYERS + self.layer.index, draw[1]
        if len(self.own) == IMAGE:
            row, column, columns = self.own[0][0], self.own[1][0], self.layer.output[1]
            dropout.spatial_dropout_forward(values, row, column, columns, seed, counter, keep)
        else:
            dropout.dropout_forward(values, self.own[0][0], seed, counter, keep)


MOST_LAYERS = 1 << 16  # each layer draws from a seed of its own
STAGES: dict[type, type[Stage]] = {
    Dense: DenseStage,
    Local: LocalStage,
    Conv: ConvStage,
    Pool: PoolStage,
    Lcn: LcnStage,
    Dropout: DropoutStage,
}
