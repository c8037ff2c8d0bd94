"""Dropout by a counter: each unit and example draws its own random number, whichever process computes it.

SplitMix64 (Steele, Lea and Flood 2014) is a counter `state + n * WEYL` and a function `mix` that scrambles
it. Here seed, counter, unit and example go in one after the other, so that the mask is the same however a
layer is split, and nothing is stored for backward.

Letters: U units, B minibatch; of an image H rows, W columns, C maps.
"""

import numpy as np

from kernels.deferred import prange
from kernels.jit import helper, parallel_kernel
from kernels.layers.windows import check_rectangle
from kernels.llvm.views import block

_Array = np.ndarray

_WEYL = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
_FACTOR_1, _FACTOR_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)
_ONE = np.uint64(1)
_WORDS = 4294967296.0  # 2^32: the upper halves of the random words are compared


@helper
def _mix(z: np.uint64) -> np.uint64:
    """Return the scrambled counter."""
    z = (z ^ (z >> _30)) * _FACTOR_1
    z = (z ^ (z >> _27)) * _FACTOR_2
    return z ^ (z >> _31)


@helper
def random_word(state: np.uint64, n: int) -> np.uint64:
    """Return number n (from 0) of the SplitMix64 sequence that begins at `state`."""
    return _mix(state + (np.uint64(n) + _ONE) * _WEYL)


@helper
def _layer_state(seed: int, counter: int) -> np.uint64:
    """Return where the sequence of a layer's units begins."""
    return random_word(random_word(np.uint64(seed), 0), counter)


@helper
def _drop_row(y_UB: _Array, u: int, state: np.uint64, keep: float) -> None:
    """Multiply the row of one unit by 1/keep or by 0; `state` is the unit's."""
    limit = np.uint64(keep * _WORDS)
    zero, scale = y_UB.dtype.type(0), y_UB.dtype.type(1 / keep)
    for b in range(y_UB.shape[1]):
        kept = (random_word(state, b) >> _32) < limit
        y_UB[u, b] *= scale if kept else zero  # a product, so that NaN stays NaN


@parallel_kernel
def dropout_forward(y_UB: _Array, first_unit: int, seed: int, counter: int, keep: float) -> None:
    """Overwrite y with y / keep where a unit is kept and with 0 where it is dropped.

    Local.

    Parameters
    ----------
    y_UB : float array (U, B)
        In: activations. Out: the activations that go on.
    first_unit : int
        Number in the layer of the unit in row 0; the mask depends on it and not on the split.
    seed : int
        0 or more; of the run and replica.
    counter : int
        0 or more; another one for every step and layer, such as step * layers + layer.
    keep : float
        Probability that a unit is kept, above 0 and at most 1.

    Notes
    -----
    E[y out] = y in. A unit is dropped for each example by itself. Source: Srivastava et al. 2014, section 10
    (scaled in training, so that evaluation needs nothing).
    """
    layer = _layer_state(seed, counter)
    for u in prange(y_UB.shape[0]):
        _drop_row(y_UB, u, random_word(layer, first_unit + u), keep)


@parallel_kernel
def spatial_dropout_forward(
    y: _Array, row: int, column: int, image_width: int, seed: int, counter: int, keep: float
) -> None:
    """Do what `dropout_forward` does on a rectangle of an image.

    Local.

    Parameters
    ----------
    y : float array (H, W, C, B)
        In: activations. Out: the activations that go on. C and B contiguous.
    row, column : int
        Place of y[0, 0] in the layer's image.
    image_width : int
        Columns of the whole image.
    seed, counter, keep
        As in `dropout_forward`.

    Notes
    -----
    Map c at (i, j) of the image is unit (i * image_width + j) * C + c: the mask is that of the whole image
    seen as (H*W*C, B).
    """
    check_rectangle(y)
    layer = _layer_state(seed, counter)
    for i in prange(y.shape[0]):
        for j in range(y.shape[1]):
            y_CB = block(y, i, j)
            unit = ((row + i) * image_width + column + j) * y.shape[2]
            for c in range(y.shape[2]):
                _drop_row(y_CB, c, random_word(layer, unit + c), keep)


# The layer is a product with a diagonal matrix, its own transpose: the same calls turn dy into dx.
dropout_backward = dropout_forward
spatial_dropout_backward = spatial_dropout_forward
