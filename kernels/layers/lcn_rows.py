"""What local contrast normalization does to a row or a location: helpers of the kernels in `lcn`.

Letters as there: H, W rows and columns, C maps, B minibatch; m, a, v, s, d, e, f and da of its formulas. Maps
are added a few at a time, so that the sums are loaded and stored less often.
"""

import math
from typing import TypeAlias

import numpy as np

from kernels.jit import helper

_Array = np.ndarray
Rectangle: TypeAlias = tuple[int, int, int, int]  # first row, row after the last; columns likewise


@helper
def grown(inner: Rectangle, by: int, height: int, width: int) -> Rectangle:
    """Return a rectangle grown on every side, cut to height x width."""
    top, bottom, left, right = inner
    return max(top - by, 0), min(bottom + by, height), max(left - by, 0), min(right + by, width)


@helper
def clear(y: _Array) -> None:
    """Overwrite y with zeros."""
    for e in range(y.size):
        y[e] = 0


@helper
def _add_scaled(a: float, x: _Array, y: _Array) -> None:
    for e in range(y.size):
        y[e] += a * x[e]


@helper
def _add_pair(a: float, x: _Array, z: _Array, y: _Array) -> None:
    for e in range(y.size):
        y[e] += a * (x[e] + z[e])


@helper
def blur_row(
    plane: _Array, g: _Array, i: int, source: Rectangle, left: int, right: int, down: _Array, out_WB: _Array
) -> None:
    """Overwrite out[left:right] with row i of the blurred plane, which counts 0 outside `source`.

    `down`, of (W + 2h) * B zeros, takes the sum over the rows, and has h columns on either side for those
    beyond the border. A row is one sequence of elements: the loops are long even where B is not. Weights come
    in pairs, as g is symmetric.
    """
    half, batch = g.size // 2, plane.shape[2]
    top, bottom, first, last = source
    first, last = max(first, left - half), min(last, right + half)
    middle = down[(first + half) * batch : (last + half) * batch]
    for q in range(half + 1):
        above, below = top <= i - q < bottom, top <= i + q < bottom and q > 0
        if above and below:
            upper, lower = plane[i - q, first:last].ravel(), plane[i + q, first:last].ravel()
            _add_pair(g[half + q], upper, lower, middle)
        elif above or below:
            _add_scaled(g[half + q], plane[i - q if above else i + q, first:last].ravel(), middle)
    out, n, begin = out_WB[left:right].ravel(), (right - left) * batch, (left + half) * batch
    clear(out)
    _add_scaled(g[half], down[begin : begin + n], out)
    for q in range(batch, (half + 1) * batch, batch):
        _add_pair(g[half + q // batch], down[begin - q : begin - q + n], down[begin + q : begin + q + n], out)


@helper
def _add_one(pivot: _Array, x: _Array, sums: _Array, squares: _Array) -> None:
    for b in range(sums.size):
        u = x[b] - pivot[b]
        sums[b] += u
        squares[b] += u * u


@helper
def _add_three(pivot: _Array, x: _Array, y: _Array, z: _Array, sums: _Array, squares: _Array) -> None:
    for b in range(sums.size):
        u, v, w = x[b] - pivot[b], y[b] - pivot[b], z[b] - pivot[b]
        sums[b] += u + v + w
        squares[b] += u * u + v * v + w * w


@helper
def moments(x_CB: _Array, mean_B: _Array, variance_B: _Array) -> None:
    """Overwrite mean and variance with those of the C maps at one location.

    Both are taken around x of the first map, in one pass. As this is one of the C values, its square distance
    from the mean is at most C times the variance: what cancels is bounded, however far from 0 the values are.
    """
    maps = x_CB.shape[0]
    share = x_CB.dtype.type(1) / x_CB.dtype.type(maps)
    clear(mean_B)
    clear(variance_B)
    c = 1
    while c + 3 <= maps:
        _add_three(x_CB[0], x_CB[c], x_CB[c + 1], x_CB[c + 2], mean_B, variance_B)
        c += 3
    while c < maps:
        _add_one(x_CB[0], x_CB[c], mean_B, variance_B)
        c += 1
    for b in range(mean_B.size):
        distance = mean_B[b] * share
        variance_B[b] = variance_B[b] * share - distance * distance
        mean_B[b] = x_CB[0, b] + distance


@helper
def divide(x_CB: _Array, a_B: _Array, d_B: _Array, y_CB: _Array) -> None:
    """Overwrite y with v d."""
    for c in range(x_CB.shape[0]):
        for b in range(x_CB.shape[1]):
            y_CB[c, b] = (x_CB[c, b] - a_B[b]) * d_B[b]


@helper
def add_square(m: _Array, a: _Array, n: _Array, s: _Array) -> None:
    """Overwrite n with m - a, and s, in which the variance stands, with the mean of v^2."""
    for e in range(m.size):
        n[e] = m[e] - a[e]
        s[e] += n[e] * n[e]


@helper
def invert_root(d: _Array, floor: float) -> None:
    """Overwrite d, in which sigma^2 stands, with 1 / max(floor, sigma)."""
    one, least = d.dtype.type(1), d.dtype.type(floor)
    for e in range(d.size):
        sigma = math.sqrt(d[e])
        d[e] = one / (least if sigma < least else sigma)


@helper
def _project_one(x: _Array, dy: _Array, a: _Array, e: _Array, da: _Array) -> None:
    for b in range(e.size):
        e[b] += dy[b] * (x[b] - a[b])
        da[b] -= dy[b]


@helper
def _project_two(x: _Array, dy: _Array, x2: _Array, dy2: _Array, a: _Array, e: _Array, da: _Array) -> None:
    for b in range(e.size):
        e[b] += dy[b] * (x[b] - a[b]) + dy2[b] * (x2[b] - a[b])
        da[b] -= dy[b] + dy2[b]


@helper
def project(
    x_CB: _Array, dy_CB: _Array, a_B: _Array, d_B: _Array, most: float, e_B: _Array, da_B: _Array
) -> None:
    """Overwrite e, and da with its first term; `most` is 1 / floor."""
    maps, zero, half = x_CB.shape[0], x_CB.dtype.type(0), x_CB.dtype.type(0.5)
    clear(e_B)
    clear(da_B)
    for c in range(0, maps - 1, 2):
        _project_two(x_CB[c], dy_CB[c], x_CB[c + 1], dy_CB[c + 1], a_B, e_B, da_B)
    if maps % 2:
        _project_one(x_CB[maps - 1], dy_CB[maps - 1], a_B, e_B, da_B)
    for b in range(e_B.size):
        d = d_B[b]
        e_B[b] = zero if d >= most else -half * d * d * d * e_B[b]
        da_B[b] *= d


@helper
def add_through_mean(n: _Array, f: _Array, da: _Array, maps: int) -> None:
    """Add the second term to da, and turn f into the factor of v."""
    share = n.dtype.type(2) / n.dtype.type(maps)
    for e in range(n.size):
        da[e] -= (f[e] + f[e]) * n[e]
        f[e] *= share


@helper
def spread(p_B: _Array, dx_CB: _Array) -> None:
    """Overwrite dx beyond R': the mean alone reaches it; p is C times its derivative."""
    share = p_B.dtype.type(1) / p_B.dtype.type(dx_CB.shape[0])
    for c in range(dx_CB.shape[0]):
        for b in range(p_B.size):
            dx_CB[c, b] = p_B[b] * share


@helper
def spread_grown(x_CB: _Array, a_B: _Array, f_B: _Array, p_B: _Array, dx_CB: _Array) -> None:
    """Overwrite dx on R' beyond R."""
    share = p_B.dtype.type(1) / p_B.dtype.type(dx_CB.shape[0])
    for c in range(dx_CB.shape[0]):
        for b in range(p_B.size):
            dx_CB[c, b] = p_B[b] * share + f_B[b] * (x_CB[c, b] - a_B[b])


@helper
def spread_inner(
    x_CB: _Array, dy_CB: _Array, a_B: _Array, d_B: _Array, f_B: _Array, p_B: _Array, dx_CB: _Array
) -> None:
    """Overwrite dx on R, where all terms meet."""
    share = p_B.dtype.type(1) / p_B.dtype.type(dx_CB.shape[0])
    for c in range(dx_CB.shape[0]):
        for b in range(p_B.size):
            dx_CB[c, b] = p_B[b] * share + f_B[b] * (x_CB[c, b] - a_B[b]) + d_B[b] * dy_CB[c, b]
