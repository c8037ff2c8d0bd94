"""Plain NumPy twins of the kernels of spatial layers, of the same names and arguments.

Written for plainness, not speed. See each kernel for its documentation; every function here is local, and
overwrites the same arrays. Letters: H, W rows and columns, C input channels or maps, F filters, K K the
window, B minibatch. `geometry` is stride_h, stride_w, offset_h, offset_w.
"""

from collections.abc import Iterator

import numpy as np

from kernels.layers.pool import L2, MAX
from kernels.reference.dense import activation_backward, bias_activation

_Array = np.ndarray


def _taps(i: int, size: int, stride: int, offset: int, limit: int) -> range:
    """Return the input indices under output index `i` that exist."""
    return range(max(i * stride + offset, 0), min(i * stride + offset + size, limit))


def pool_forward(
    x: _Array,
    y: _Array,
    size_h: int,
    size_w: int,
    stride_h: int,
    stride_w: int,
    offset_h: int,
    offset_w: int,
    kind: int,
) -> None:
    """Twin of `kernels.layers.pool.pool_forward`."""
    for i, j in np.ndindex(y.shape[:2]):
        rows = _taps(i, size_h, stride_h, offset_h, x.shape[0])
        columns = _taps(j, size_w, stride_w, offset_w, x.shape[1])
        taps = np.array([x[r, c] for r in rows for c in columns])
        if kind == L2:
            y[i, j] = np.sqrt(np.sum(taps**2, axis=0))
        elif len(taps):
            y[i, j] = taps.max(axis=0) if kind == MAX else taps.mean(axis=0)
        else:
            y[i, j] = 0


def pool_backward(
    x: _Array,
    y: _Array,
    dy: _Array,
    dx: _Array,
    size_h: int,
    size_w: int,
    stride_h: int,
    stride_w: int,
    offset_h: int,
    offset_w: int,
    kind: int,
) -> None:
    """Twin of `kernels.layers.pool.pool_backward`."""
    dx[:] = 0
    for i, j in np.ndindex(y.shape[:2]):
        rows = _taps(i, size_h, stride_h, offset_h, x.shape[0])
        columns = _taps(j, size_w, stride_w, offset_w, x.shape[1])
        places = [(r, c) for r in rows for c in columns]
        for n, place in enumerate(places):
            if kind == L2:
                nothing = np.zeros_like(y[i, j])
                dx[place] += np.divide(dy[i, j] * x[place], y[i, j], out=nothing, where=y[i, j] != 0)
            elif kind == MAX:
                dx[place] += dy[i, j] * (np.argmax([x[p] for p in places], axis=0) == n)
            else:
                dx[place] += dy[i, j] / len(places)


def _blur_matrix(g: _Array, height: int, width: int) -> _Array:
    """Return the window as a matrix over the locations of a rectangle, row by row, 0 beyond its border."""
    half = len(g) // 2
    sides = [sum(w * np.eye(n, k=k - half) for k, w in enumerate(g)) for n in (height, width)]
    return np.kron(*sides)


def _centred(x: _Array, g: _Array) -> tuple[_Array, _Array, _Array]:
    """Return v and sigma on the whole of x, and the blur matrix; right where x has what is around."""
    blur = _blur_matrix(g, *x.shape[:2]).astype(x.dtype)
    v = x - np.tensordot(blur, x.mean(axis=2).reshape(len(blur), -1), 1).reshape(x.shape[:2] + (1, -1))
    sigma = np.sqrt(blur @ (v * v).mean(axis=2).reshape(len(blur), -1)).reshape(x.shape[:2] + (1, -1))
    return v, sigma, blur


def lcn_forward(
    x: _Array, g: _Array, floor: float, row: int, column: int, kept: _Array, work: _Array, y: _Array
) -> None:
    """Twin of `kernels.layers.lcn.lcn_forward`; it leaves `kept` and `work` alone."""
    v, sigma, _ = _centred(x, g)
    y[:] = (v / np.maximum(floor, sigma))[row : row + y.shape[0], column : column + y.shape[1]]


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
    """Twin of `kernels.layers.lcn.lcn_backward`; it begins from x, without `kept`."""
    v, sigma, blur = _centred(x, g)
    everywhere = np.zeros_like(x)
    everywhere[row : row + dy.shape[0], column : column + dy.shape[1]] = dy
    d = 1 / np.maximum(floor, sigma)
    by_square = np.where(sigma > floor, -(d**3) / 2 * (everywhere * v).sum(axis=2, keepdims=True), 0)
    by_mean = (blur.T @ by_square.reshape(len(blur), -1)).reshape(sigma.shape)
    dv = everywhere * d + 2 * v * by_mean / x.shape[2]
    dx[:] = dv - (blur.T @ dv.mean(axis=2).reshape(len(blur), -1)).reshape(sigma.shape)


def _splitmix64(state: _Array, n: _Array) -> _Array:
    """Return number n of the sequence of each state."""
    with np.errstate(over="ignore"):
        z = state + (n.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def dropout_forward(y_UB: _Array, first_unit: int, seed: int, counter: int, keep: float) -> None:
    """Twin of `kernels.layers.dropout.dropout_forward`."""
    layer = _splitmix64(_splitmix64(np.array([seed], np.uint64), np.array([0])), np.array([counter]))
    units = _splitmix64(layer, first_unit + np.arange(len(y_UB)))
    words = _splitmix64(units[:, None], np.arange(y_UB.shape[1]))
    y_UB *= (words / 2.0**64 < keep).astype(y_UB.dtype) / y_UB.dtype.type(keep)


def spatial_dropout_forward(
    y: _Array, row: int, column: int, image_width: int, seed: int, counter: int, keep: float
) -> None:
    """Twin of `kernels.layers.dropout.spatial_dropout_forward`."""
    for i, j in np.ndindex(y.shape[:2]):
        unit = ((row + i) * image_width + column + j) * y.shape[2]
        dropout_forward(y[i, j], unit, seed, counter, keep)


def _activate(z: _Array, code: int) -> _Array:
    y = z.reshape(-1, z.shape[-1]).copy()
    bias_activation(y, np.zeros(len(y), z.dtype), code)
    return y.reshape(z.shape)


def _windows(
    x: _Array, y: _Array, window: tuple[int, ...], geometry: tuple[int, ...]
) -> Iterator[tuple[int, int, tuple[slice, slice], tuple[slice, slice]]]:
    """Yield i, j, the part of x that a location of y reads, and the taps by which it does."""
    for i, j in np.ndindex(y.shape[:2]):
        inputs, taps = [], []
        for at, size, stride, offset, limit in zip(
            (i, j), window, geometry[:2], geometry[2:], x.shape[:2], strict=True
        ):
            found = _taps(at, size, stride, offset, limit)
            start = found.start - at * stride - offset
            inputs.append(slice(found.start, found.start + len(found)))
            taps.append(slice(start, start + len(found)))
        yield i, j, (inputs[0], inputs[1]), (taps[0], taps[1])


def local_forward(x: _Array, w_HWFKKC: _Array, b_HWF: _Array, y: _Array, *geometry: int) -> None:
    """Twin of `kernels.layers.local.local_forward`."""
    *steps, code = geometry
    for i, j, inputs, taps in _windows(x, y, w_HWFKKC.shape[3:5], tuple(steps)):
        z = np.tensordot(w_HWFKKC[i, j][:, *taps], x[inputs], 3) + b_HWF[i, j][:, None]
        y[i, j] = _activate(z, code)


def local_backward_weights(x: _Array, dz: _Array, dw_HWFKKC: _Array, *geometry: int) -> None:
    """Twin of `kernels.layers.local.local_backward_weights`."""
    dw_HWFKKC[:] = 0
    for i, j, inputs, taps in _windows(x, dz, dw_HWFKKC.shape[3:5], geometry):
        dw_HWFKKC[i, j][:, *taps] = np.tensordot(dz[i, j], x[inputs], ([1], [3]))


def local_backward_input(dz: _Array, w_HWFKKC: _Array, dx: _Array, *geometry: int) -> None:
    """Twin of `kernels.layers.local.local_backward_input`."""
    dx[:] = 0
    for i, j, inputs, taps in _windows(dx, dz, w_HWFKKC.shape[3:5], geometry):
        dx[inputs] += np.tensordot(w_HWFKKC[i, j][:, *taps], dz[i, j], ([0], [0]))


def _untied(w: _Array, y: _Array) -> _Array:
    """Return shared weights or biases as if each location of y had its own."""
    return np.broadcast_to(w, y.shape[:2] + w.shape)


def conv_forward(x: _Array, w_FKKC: _Array, b_F: _Array, y: _Array, *geometry: int) -> None:
    """Twin of `kernels.layers.conv.conv_forward`."""
    local_forward(x, _untied(w_FKKC, y), _untied(b_F, y), y, *geometry)


def conv_backward_weights(x: _Array, dz: _Array, dw_FKKC: _Array, *geometry: int) -> None:
    """Twin of `kernels.layers.conv.conv_backward_weights`."""
    dw_HWFKKC = np.empty(dz.shape[:2] + dw_FKKC.shape, dw_FKKC.dtype)
    local_backward_weights(x, dz, dw_HWFKKC, *geometry)
    dw_FKKC[:] = dw_HWFKKC.sum(axis=(0, 1))


def conv_backward_input(dz: _Array, w_FKKC: _Array, dx: _Array, *geometry: int) -> None:
    """Twin of `kernels.layers.conv.conv_backward_input`."""
    local_backward_input(dz, _untied(w_FKKC, dz), dx, *geometry)


def spatial_activation_backward(dy: _Array, y: _Array, code: int) -> None:
    """Twin of `kernels.layers.bias.spatial_activation_backward`."""
    dz = dy.reshape(-1, dy.shape[-1]).copy()
    activation_backward(dz, y.reshape(dz.shape), np.empty(len(dz), dz.dtype), code)
    dy[:] = dz.reshape(dy.shape)


def local_bias_sums(dz: _Array, db_HWF: _Array) -> None:
    """Twin of `kernels.layers.bias.local_bias_sums`."""
    db_HWF[:] = dz.sum(axis=3)


def shared_bias_sums(dz: _Array, db_F: _Array) -> None:
    """Twin of `kernels.layers.bias.shared_bias_sums`."""
    db_F[:] = dz.sum(axis=(0, 1, 3))
