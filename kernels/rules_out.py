"""The update rules of `kernels.rules`, each also writing the new parameters to a second array.

A shard that answers a push with its new parameters fills the reply so, in one pass: measured 1.1 to 1.4
times as fast as the rule followed by a copy.
"""

import numpy as np
from numba import prange

from kernels.jit import parallel_kernel

_Array = np.ndarray


@parallel_kernel
def sgd_out(w: _Array, g: _Array, rate: float, out: _Array) -> None:
    """Do as `kernels.rules.sgd`, and write the new w to `out`.

    Local.

    Parameters
    ----------
    w, g, rate
        As in `kernels.rules.sgd`.
    out : float array (n,)
        Out: a copy of the new w.
    """
    rate_w = w.dtype.type(rate)
    for i in prange(w.size):
        new = w[i] - rate_w * g[i]
        w[i] = new
        out[i] = new


@parallel_kernel
def momentum_out(w: _Array, g: _Array, v: _Array, rate: float, mu: float, out: _Array) -> None:
    """Do as `kernels.rules.momentum`, and write the new w to `out`.

    Local.

    Parameters
    ----------
    w, g, v, rate, mu
        As in `kernels.rules.momentum`.
    out : float array (n,)
        Out: a copy of the new w.
    """
    rate_w, mu_w = w.dtype.type(rate), w.dtype.type(mu)
    for i in prange(w.size):
        velocity = mu_w * v[i] + g[i]
        v[i] = velocity
        new = w[i] - rate_w * velocity
        w[i] = new
        out[i] = new


@parallel_kernel
def adagrad_out(w: _Array, g: _Array, a: _Array, rate: float, eps: float, out: _Array) -> None:
    """Do as `kernels.rules.adagrad`, and write the new w to `out`.

    Local.

    Parameters
    ----------
    w, g, a, rate, eps
        As in `kernels.rules.adagrad`.
    out : float array (n,)
        Out: a copy of the new w.
    """
    rate_w, eps_w = w.dtype.type(rate), w.dtype.type(eps)
    for i in prange(w.size):
        total = a[i] + g[i] * g[i]
        a[i] = total
        new = w[i] - rate_w * g[i] / (np.sqrt(total) + eps_w)
        w[i] = new
        out[i] = new


@parallel_kernel
def adam_out(
    w: _Array,
    g: _Array,
    m: _Array,
    v: _Array,
    rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    t: int,
    out: _Array,
) -> None:
    """Do as `kernels.rules.adam`, and write the new w to `out`.

    Local.

    Parameters
    ----------
    w, g, m, v, rate, beta1, beta2, eps, t
        As in `kernels.rules.adam`.
    out : float array (n,)
        Out: a copy of the new w.
    """
    real = w.dtype.type
    keep_m, take_m, keep_v, take_v = real(beta1), real(1 - beta1), real(beta2), real(1 - beta2)
    step, grow, eps_w = real(rate / (1 - beta1**t)), real(1 / (1 - beta2**t)), real(eps)
    for i in prange(w.size):
        mean, square = keep_m * m[i] + take_m * g[i], keep_v * v[i] + take_v * g[i] * g[i]
        m[i] = mean
        v[i] = square
        new = w[i] - step * mean / (np.sqrt(grow * square) + eps_w)
        w[i] = new
        out[i] = new
