"""Filters on windows, convolution and locally connected: against NumPy, finite differences, and in pieces."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from kernels.layers import bias, conv, local
from kernels.layers.activations import CODES
from kernels.reference import spatial as reference
from tests.doubles.windowed import CASES, Geometry, arrays, assert_near, pieces, rectangle, untouched

TANH = CODES["tanh"]
SMALL = Geometry((7, 6), (4, 5), (3, 4), 2, 3, 5, (2, 1), (-1, -1))


class Filters(NamedTuple):
    """The kernels of a kind of layer, their twins, and whether all positions have the same weights."""

    forward: Callable[..., Any]
    backward_input: Callable[..., Any]
    backward_weights: Callable[..., Any]
    bias_sums: Callable[..., Any]
    twins: tuple[Callable[..., Any], ...]
    shared: bool

    def arrays(self, g: Geometry, dtype: type) -> tuple[np.ndarray, ...]:
        """Return x, w, b and dz."""
        return arrays(g, dtype, shared=self.shared)

    def own(self, weights: np.ndarray, part: tuple[slice, ...]) -> np.ndarray:
        """Return the weights or biases of a part of the positions, contiguous."""
        return weights if self.shared else weights[part].copy()


CONV = Filters(
    conv.conv_forward,
    conv.conv_backward_input,
    conv.conv_backward_weights,
    bias.shared_bias_sums,
    (reference.conv_forward, reference.conv_backward_input, reference.conv_backward_weights),
    shared=True,
)
LOCAL = Filters(
    local.local_forward,
    local.local_backward_input,
    local.local_backward_weights,
    bias.local_bias_sums,
    (reference.local_forward, reference.local_backward_input, reference.local_backward_weights),
    shared=False,
)
of_both_kinds = pytest.mark.parametrize("kind", [CONV, LOCAL], ids=["conv", "local"])


@of_both_kinds
@pytest.mark.parametrize(("g", "dtype"), CASES)
def test_forward_equals_its_twin(kind, g, dtype):
    x, w, b, dz = kind.arrays(g, dtype)
    for code in CODES.values():
        y, right = rectangle(dz.shape, dtype), np.empty_like(dz)
        kind.forward(x, w, b, y, *g.steps, code)
        kind.twins[0](x, w, b, right, *g.steps, code)
        assert_near(y, right)
        assert untouched(y)


@of_both_kinds
@pytest.mark.parametrize(("g", "dtype"), CASES)
def test_backward_equals_its_twin(kind, g, dtype):
    x, w, _, dz = kind.arrays(g, dtype)
    dx, dw = rectangle(x.shape, dtype), np.full_like(w, np.nan)
    dx_right, dw_right = np.empty_like(dx), np.empty_like(w)
    kind.backward_input(dz, w, dx, *g.steps)
    kind.backward_weights(x, dz, dw, *g.steps)
    kind.twins[1](dz, w, dx_right, *g.steps)
    kind.twins[2](x, dz, dw_right, *g.steps)
    assert_near(dx, dx_right)
    assert_near(dw, dw_right)
    assert untouched(dx)


@of_both_kinds
@pytest.mark.parametrize("which", ["x", "w", "b"])
def test_derivatives_agree_with_finite_differences(kind, which):
    x, w, b, dy = kind.arrays(SMALL, np.float64)
    at, y = {"x": x, "w": w, "b": b}, rectangle(dy.shape, float)

    def loss(**changed):
        kind.forward(*(at | changed).values(), y, *SMALL.steps, TANH)
        return np.sum(y * dy)

    direction = np.random.default_rng(1).normal(size=at[which].shape) * 1e-5
    moved = [
        rectangle(x.shape, float, x + s * direction) if which == "x" else at[which] + s * direction
        for s in (1, -1)
    ]
    numeric = (loss(**{which: moved[0]}) - loss(**{which: moved[1]})) / 2
    loss()
    dz, dx = rectangle(dy.shape, float, dy), rectangle(x.shape, float)
    dw, db = np.empty_like(w), np.empty_like(b)
    bias.spatial_activation_backward(dz, y, TANH)
    kind.backward_input(dz, w, dx, *SMALL.steps)
    kind.backward_weights(x, dz, dw, *SMALL.steps)
    kind.bias_sums(dz, db)
    assert np.sum({"x": dx, "w": dw, "b": db}[which] * direction) == pytest.approx(
        numeric, rel=1e-7, abs=1e-12
    )


@of_both_kinds
@pytest.mark.parametrize("grid", [(1, 2), (2, 1), (2, 3)])
def test_pieces_compute_what_the_whole_does(kind, grid):
    g = Geometry((11, 10), (6, 10), (4, 3), 2, 4, 9, (2, 1), (-1, -1))
    x, w, b, dz = kind.arrays(g, np.float64)
    y, dx, dw = rectangle(dz.shape, float), rectangle(x.shape, float), np.empty_like(w)
    kind.forward(x, w, b, y, *g.steps, TANH)
    kind.backward_input(dz, w, dx, *g.steps)
    kind.backward_weights(x, dz, dw, *g.steps)
    dx_sum, dw_sum = np.zeros_like(x), np.zeros_like(w)
    for i, i_end in pieces(g.y[0], grid[0]):
        for j, j_end in pieces(g.y[1], grid[1]):
            part = (slice(i, i_end), slice(j, j_end))
            needed, offset = [], []
            for n in range(2):  # of the input the rows, then the columns
                top = part[n].start * g.stride[n] + g.offset[n]
                end = (part[n].stop - 1) * g.stride[n] + g.offset[n] + g.window[n]
                needed.append(slice(max(top, 0), min(end, g.x[n])))
                offset.append(top - max(top, 0))
            x_part, steps = x[*needed], (*g.stride, *offset)
            w_part, y_part = kind.own(w, part), rectangle(y[part].shape, float)
            dx_part, dw_part = rectangle(x_part.shape, float), np.empty_like(w_part)
            kind.forward(x_part, w_part, kind.own(b, part), y_part, *steps, TANH)
            kind.backward_input(dz[part], w_part, dx_part, *steps)
            kind.backward_weights(x_part, dz[part], dw_part, *steps)
            assert_near(y_part, y[part])
            dx_sum[*needed] += dx_part
            dw_sum[... if kind.shared else part] += dw_part
    assert_near(dx_sum, dx)
    assert_near(dw_sum, dw)


@of_both_kinds
def test_whole_arrays_and_threads_compute_what_rectangles_do(kind):
    g = Geometry((9, 8), (7, 7), (3, 2), 3, 5, 21)
    x, w, b, dz = kind.arrays(g, np.float32)
    for kernel, given, out, more in (
        (kind.forward, (x, w, b), dz, (TANH,)),
        (kind.backward_input, (dz, w), x, ()),
        (kind.backward_weights, (x, dz), w, ()),
    ):
        right = (
            rectangle(out.shape, np.float32) if out.ndim == 4 and out is not w else np.full_like(out, np.nan)
        )
        kernel(*given, right, *g.steps, *more)
        for variant in (kernel.serial, kernel.parallel):
            mine = np.full(out.shape, np.nan, np.float32)
            variant(*(np.ascontiguousarray(a) for a in given), mine, *g.steps, *more)
            np.testing.assert_array_equal(mine, right)


@of_both_kinds
def test_what_is_no_rectangle_is_refused(kind):
    x, w, b, dz = kind.arrays(SMALL, np.float64)
    for wrong in (x[:, ::2], x[..., ::2], x.transpose(0, 1, 3, 2)):
        with pytest.raises(ValueError, match="rectangle"):
            kind.forward(wrong, w, b, rectangle(dz.shape, float), *SMALL.steps, TANH)
