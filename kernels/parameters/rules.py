"""Update rules and vector operations of the parameter service: one pass each over slices, in place.

`w` parameters, `g` gradient, `rate` the learning rate (a Python float, taken in the precision of `w`). The
vectors of a call are 1-D, of one length and one dtype, and do not overlap.
"""

import numpy as np
from numba import prange

from kernels.jit import parallel_kernel

_Array = np.ndarray


@parallel_kernel
def sgd(w: _Array, g: _Array, rate: float) -> None:
    """Step down the gradient: w := w - rate g.

    Local.

    Parameters
    ----------
    w, g : float array (n,)
        Parameters, overwritten, and gradient.
    rate : float
        Learning rate.
    """
    rate_w = w.dtype.type(rate)
    for i in prange(w.size):
        w[i] -= rate_w * g[i]


@parallel_kernel
def momentum(w: _Array, g: _Array, v: _Array, rate: float, mu: float) -> None:
    """Step down a decaying sum of gradients: v := mu v + g; w := w - rate v.

    Local.

    Parameters
    ----------
    w, g, v : float array (n,)
        Parameters, gradient, velocity; w and v are overwritten.
    rate, mu : float
        Learning rate; share of the velocity that is kept.

    Notes
    -----
    Source: Polyak 1964, in the form of PyTorch (the rate outside of the velocity).
    """
    rate_w, mu_w = w.dtype.type(rate), w.dtype.type(mu)
    for i in prange(w.size):
        velocity = mu_w * v[i] + g[i]
        v[i] = velocity
        w[i] -= rate_w * velocity


@parallel_kernel
def adagrad(w: _Array, g: _Array, a: _Array, rate: float, eps: float) -> None:
    """Step by Adagrad: a := a + g^2; w := w - rate g / (sqrt(a) + eps).

    Local.

    Parameters
    ----------
    w, g, a : float array (n,)
        Parameters, gradient, sum of squared gradients; w and a are overwritten.
    rate : float
        gamma of the paper.
    eps : float
        Keeps 0/0 from a parameter that never had a gradient, such as a weight of a dead ReLU. It is small, so
        that a first step is nearly `rate` whatever the size of the gradient.

    Notes
    -----
    eta[i,K] = gamma / sqrt(sum_{j<=K} g[i,j]^2), the current gradient included.
    Source: the paper, section 4.1.
    """
    rate_w, eps_w = w.dtype.type(rate), w.dtype.type(eps)
    for i in prange(w.size):
        total = a[i] + g[i] * g[i]
        a[i] = total
        w[i] -= rate_w * g[i] / (np.sqrt(total) + eps_w)


@parallel_kernel
def adam(
    w: _Array, g: _Array, m: _Array, v: _Array, rate: float, beta1: float, beta2: float, eps: float, t: int
) -> None:
    """Step by Adam, with m and v corrected for their start at zero.

    Local.

    Parameters
    ----------
    w, g, m, v : float array (n,)
        Parameters, gradient, mean of gradients, mean of squared gradients; w, m and v are overwritten.
    rate, beta1, beta2, eps : float
        Learning rate, share of m kept, share of v kept, the guard against 0/0.
    t : int
        Number of this update, from 1.

    Notes
    -----
    m := beta1 m + (1 - beta1) g; v := beta2 v + (1 - beta2) g^2;
    w := w - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps).
    Source: Kingma and Ba, ICLR 2015, Algorithm 1.
    """
    real = w.dtype.type
    keep_m, take_m, keep_v, take_v = real(beta1), real(1 - beta1), real(beta2), real(1 - beta2)
    step, grow, eps_w = real(rate / (1 - beta1**t)), real(1 / (1 - beta2**t)), real(eps)
    for i in prange(w.size):
        mean, square = keep_m * m[i] + take_m * g[i], keep_v * v[i] + take_v * g[i] * g[i]
        m[i] = mean
        v[i] = square
        w[i] -= step * mean / (np.sqrt(grow * square) + eps_w)


@parallel_kernel
def sum_of_squares(g: _Array) -> float:
    """Return the sum of g^2, in float64.

    Local. The guard of every push: finite exactly when every element is and the sum fits a float64.

    Parameters
    ----------
    g : float array (n,)
        Any vector.

    Returns
    -------
    float
        The square of the Euclidean norm; infinity or NaN when an element is.
    """
    total = 0.0
    for i in prange(g.size):
        total += np.float64(g[i]) * np.float64(g[i])
    return total


@parallel_kernel
def add_scaled(y: _Array, a: float, x: _Array) -> None:
    """Add a multiple: y := y + a x.

    Local.

    Parameters
    ----------
    y, x : float array (n,)
        y is overwritten.
    a : float
        Factor.
    """
    a_y = y.dtype.type(a)
    for i in prange(y.size):
        y[i] += a_y * x[i]


@parallel_kernel
def accrue_and_step(accrued: _Array, g: _Array, w: _Array, rate: float) -> None:
    """Accrue a gradient and step the local copy in one pass: accrued := accrued + g; w := w - rate g.

    Local.

    Parameters
    ----------
    accrued, g, w : float array (n,)
        Sum of raw gradients since the last push, gradient, local parameters; the first and last are
        overwritten.
    rate : float
        The client's fixed rate.

    Notes
    -----
    Source: the paper, appendix, Algorithm 7.1 (DownpourSGDClient).
    """
    rate_w = w.dtype.type(rate)
    for i in prange(w.size):
        accrued[i] += g[i]
        w[i] -= rate_w * g[i]


@parallel_kernel
def sgd_out(w: _Array, g: _Array, rate: float, out: _Array) -> None:
    """Do as `kernels.parameters.rules.sgd`, and write the new w to `out`.

    Local.

    Parameters
    ----------
    w, g, rate
        As in `kernels.parameters.rules.sgd`.
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
    """Do as `kernels.parameters.rules.momentum`, and write the new w to `out`.

    Local.

    Parameters
    ----------
    w, g, v, rate, mu
        As in `kernels.parameters.rules.momentum`.
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
    """Do as `kernels.parameters.rules.adagrad`, and write the new w to `out`.

    Local.

    Parameters
    ----------
    w, g, a, rate, eps
        As in `kernels.parameters.rules.adagrad`.
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
    """Do as `kernels.parameters.rules.adam`, and write the new w to `out`.

    Local.

    Parameters
    ----------
    w, g, m, v, rate, beta1, beta2, eps, t
        As in `kernels.parameters.rules.adam`.
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
