"""Update rules and vector operations of the parameter server: one pass each over slices, in place.

Letters: w parameters, g gradient, rate the learning rate; v velocity of momentum; a sum of squared gradients
of Adagrad; m and v means of gradients and of squared gradients of Adam. The vectors of a call are 1-D, of one
length and one dtype, and do not overlap; scalars are Python floats, taken in the precision of w.

A rule is a formula that takes one parameter to its next value. Two kernels apply it: `sgd` in place, and
`sgd_out` with a copy of the new w to a second array in the same pass; and so on. They share the formula as a
helper, except for Adam: LLVM adds up its terms in another order when they come from a helper, which would
change the last digit.
"""

import numpy as np

from kernels.deferred import prange
from kernels.jit import helper, parallel_kernel

_Array = np.ndarray


@helper
def _sgd(w: float, g: float, rate: float) -> float:
    return w - rate * g


@helper
def _momentum(w: float, g: float, v: float, rate: float, mu: float) -> tuple[float, float]:
    """Return the new w and v."""
    velocity = mu * v + g
    return w - rate * velocity, velocity


@helper
def _adagrad(w: float, g: float, a: float, rate: float, eps: float) -> tuple[float, float]:
    """Return the new w and a."""
    total = a + g * g
    return w - rate * g / (np.sqrt(total) + eps), total


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
        w[i] = _sgd(w[i], g[i], rate_w)


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
        w[i], v[i] = _momentum(w[i], g[i], v[i], rate_w, mu_w)


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
        w[i], a[i] = _adagrad(w[i], g[i], a[i], rate_w, eps_w)


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
def mean_of_two(out: _Array, x: _Array, y: _Array, scale: float) -> None:
    """Take a multiple of a sum, half of it for the mean: out := scale (x + y).

    Local.

    Parameters
    ----------
    out, x, y : float array (n,)
        out is overwritten.
    scale : float
        Factor.
    """
    scale_x = x.dtype.type(scale)
    for i in prange(out.size):
        out[i] = scale_x * (x[i] + y[i])


@parallel_kernel
def move_towards(a: _Array, w: _Array, share: float) -> None:
    """Mix parameters into an average: a := a + share (w - a).

    Local.

    Parameters
    ----------
    a, w : float array (n,)
        The average, overwritten, and the parameters.
    share : float
        Of the parameters in the new average.
    """
    share_w = w.dtype.type(share)
    for i in prange(w.size):
        a[i] += share_w * (w[i] - a[i])


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
        new = _sgd(w[i], g[i], rate_w)
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
        new, v[i] = _momentum(w[i], g[i], v[i], rate_w, mu_w)
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
        new, a[i] = _adagrad(w[i], g[i], a[i], rate_w, eps_w)
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
