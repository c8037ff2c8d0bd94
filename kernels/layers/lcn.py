"""Local contrast normalization across maps, on a rectangle of an image.

Activations are (H, W, C, B): rows, columns, maps, minibatch; a plane (H, W, B) holds what all C maps of a
location share. The window g is separable, g_p g_q over p, q in -h..h, and weighs every map 1/C, so that

    m = mean_c x        a = g * m              v = x - a
    s = mean_c v^2      sigma = sqrt(g * s)    y = v / max(floor, sigma)

where g * blurs one plane, rows and then columns; outside the image m and s count 0. With n = m - a,
s = mean_c (x - m)^2 + n^2, which one pass over x gives without cancellation, and v is never stored.

A partition's output is a rectangle R of the image. R grown by h is R', R' grown by h is R'', both cut to the
image. sigma on R needs s on R', and that needs m on R'': the rectangle that x must contain. Backward goes the
same way back from dy on R alone. With d = 1 / max(floor, sigma), and g~ the blur with the two rectangles
exchanged (its own transpose, as g is symmetric),

    e  = -d^3/2 sum_c dy v    on R, 0 where sigma is not above floor
    f  = g~ * e               on R'
    da = -d sum_c dy - 2 f n  on R', the first term on R only
    dx = dy d + (2/C) f v + (1/C) g~ * da, the terms on R, R' and R''

Each partition so gets the part of dx that its own dy causes, over all of its x; the owner of a location adds
the parts of those who read it. That is the exact transpose of forward, and no dy crosses a border.
"""

import numpy as np

from kernels.deferred import prange
from kernels.jit import parallel_kernel
from kernels.layers.lcn_rows import (
    add_square,
    add_through_mean,
    blur_row,
    clear,
    divide,
    grown,
    invert_root,
    moments,
    project,
    spread,
    spread_grown,
    spread_inner,
)
from kernels.layers.windows import check_rectangle
from kernels.llvm.views import block

KEPT_PLANES, WORK_PLANES = 3, 3  # (planes, H, W, B) beside an x of (H, W, C, B)

_Array = np.ndarray


def gaussian_window(size: int, dtype: type = np.float32) -> _Array:
    """Return one side of the separable Gaussian window.

    Local.

    Parameters
    ----------
    size : int
        Weights on one side, odd.
    dtype : type
        np.float32 or np.float64.

    Returns
    -------
    float array (size,)
        Symmetric, with sum 1.

    Notes
    -----
    g_p ~ exp(-p^2 / (2 (size / 4)^2)). The width is a choice made here: the side ends two standard deviations
    from the middle.
    """
    p = np.arange(size) - size // 2
    g = np.exp(-0.5 * (4 * p / size) ** 2)
    return (g / g.sum()).astype(dtype)


@parallel_kernel
def lcn_forward(
    x: _Array, g: _Array, floor: float, row: int, column: int, kept: _Array, work: _Array, y: _Array
) -> None:
    """Overwrite y with the normalized rectangle of x that begins at (row, column).

    Local.

    Parameters
    ----------
    x : float array (H, W, C, B)
        A rectangle of the image that contains y's, and around it 2 * (size // 2) locations on every side
        except where the image ends; all of it within the image. C and B contiguous.
    g : float array (size,)
        Side of the window, `gaussian_window(size)`.
    floor : float
        Smallest divisor, above 0.
    row, column : int
        y[0, 0] belongs to x[row, column].
    kept : float array (KEPT_PLANES, H, W, B)
        Out: what backward needs of the forward pass.
    work : float array (WORK_PLANES, H, W, B)
        Scratch.
    y : float array (Ho, Wo, C, B)
        Out: the normalized rectangle.

    Notes
    -----
    See the top of this file; source: Jarrett et al. 2009, section 3. They divide by max(mean sigma, sigma),
    the mean over the image; a constant `floor` (Le et al. 2012 use 0.01) keeps the layer local.
    """
    check_rectangle(x)
    check_rectangle(y)
    height, width, _, batch = x.shape
    half = g.size // 2
    everything = (0, height, 0, width)
    inner = (row, row + y.shape[0], column, column + y.shape[1])
    wider = grown(inner, half, height, width)
    left, right = wider[2], wider[3]
    a, n, d = kept[0], kept[1], kept[2]
    m, s = work[0], work[1]
    for i in prange(height):
        for j in range(width):
            moments(block(x, i, j), m[i, j], s[i, j])

    for i in prange(wider[0], wider[1]):
        down = np.zeros((width + 2 * half) * batch, x.dtype)
        blur_row(m, g, i, everything, left, right, down, a[i])
        m_e, a_e = m[i, left:right].ravel(), a[i, left:right].ravel()
        add_square(m_e, a_e, n[i, left:right].ravel(), s[i, left:right].ravel())

    for i in prange(inner[0], inner[1]):
        down = np.zeros((width + 2 * half) * batch, x.dtype)
        blur_row(s, g, i, wider, inner[2], inner[3], down, d[i])
        invert_root(d[i, inner[2] : inner[3]].ravel(), floor)
        for j in range(inner[2], inner[3]):
            divide(block(x, i, j), a[i, j], d[i, j], block(y, i - row, j - column))


@parallel_kernel
def lcn_backward(
    x: _Array,
    g: _Array,
    floor: float,
    row: int,
    column: int,
    kept: _Array,
    work: _Array,
    dy: _Array,
    dx: _Array,
) -> None:
    """Overwrite dx with what dy on this rectangle contributes to the derivative of the loss by x.

    Local.

    Parameters
    ----------
    x, g, floor, row, column
        As in `lcn_forward`.
    kept : float array (KEPT_PLANES, H, W, B)
        From `lcn_forward` on the same x.
    work : float array (WORK_PLANES, H, W, B)
        Scratch.
    dy : float array (Ho, Wo, C, B)
        Derivative of the loss by y.
    dx : float array (H, W, C, B)
        Out: all of it. Where rectangles of several partitions overlap, their parts are to be added.

    Notes
    -----
    See the top of this file. The derivative of max(floor, sigma) is 0 where sigma <= floor.
    """
    check_rectangle(x)
    check_rectangle(dy)
    check_rectangle(dx)
    height, width, _, batch = x.shape
    half = g.size // 2
    inner = (row, row + dy.shape[0], column, column + dy.shape[1])
    wider = grown(inner, half, height, width)
    left, right = wider[2], wider[3]
    maps, most = x.shape[2], x.dtype.type(1) / x.dtype.type(floor)
    a, n, d = kept[0], kept[1], kept[2]
    e, da, f = work[0], work[1], work[2]
    for i in prange(wider[0], wider[1]):
        clear(da[i, left:right].ravel())
        if inner[0] <= i < inner[1]:
            for j in range(inner[2], inner[3]):
                dy_CB = block(dy, i - row, j - column)
                project(block(x, i, j), dy_CB, a[i, j], d[i, j], most, e[i, j], da[i, j])

    for i in prange(wider[0], wider[1]):
        down = np.zeros((width + 2 * half) * batch, x.dtype)
        blur_row(e, g, i, inner, left, right, down, f[i])
        n_e, f_e = n[i, left:right].ravel(), f[i, left:right].ravel()
        add_through_mean(n_e, f_e, da[i, left:right].ravel(), maps)

    for i in prange(height):
        down, p = np.zeros((width + 2 * half) * batch, x.dtype), np.empty((width, batch), x.dtype)
        blur_row(da, g, i, wider, 0, width, down, p)
        for j in range(width):
            if inner[0] <= i < inner[1] and inner[2] <= j < inner[3]:
                dy_CB = block(dy, i - row, j - column)
                spread_inner(block(x, i, j), dy_CB, a[i, j], d[i, j], f[i, j], p[j], block(dx, i, j))
            elif wider[0] <= i < wider[1] and left <= j < right:
                spread_grown(block(x, i, j), a[i, j], f[i, j], p[j], block(dx, i, j))
            else:
                spread(p[j], block(dx, i, j))
