"""AdaRevision, Adagrad for gradients from old parameters: one pass over slices, in place.

Letters: w parameters, g gradient, old the parameters that g was computed from, rate the learning rate, z the
sum of squares as delays make it, a the largest z so far (z' of the paper), which the steps go by. The vectors
of a call are 1-D, of one length and one dtype, and do not overlap; scalars are Python floats, taken in the
precision of w.

    b = (old - w) (sqrt(a) + eps) / mean         the gradients that were applied since, by what they did
    z := z + g^2 + 2 g b;  a' = max(a, z, g^2)
    w := w - rate g / (sqrt(a') + eps) + (1 - (sqrt(a) + eps) / (sqrt(a') + eps)) (old - w);  a := a'

The last term takes back of the steps since then what they would be shorter by, had a' been known.

References
----------
McMahan and Streeter, Delay-Tolerant Algorithms for Asynchronous Distributed Online Learning, NIPS 2014,
AdaptiveRevision. Departures: b, a sum of gradients there, is found from the parameters, steps are revised at
the rates that they had, and a' is at least g^2, so that no step exceeds the rate (docs/revision.md).
"""

import numpy as np

from kernels.deferred import prange
from kernels.jit import exact_helper, parallel_kernel

_Array = np.ndarray


@exact_helper
def _revise(
    w: float, g: float, z: float, a: float, old: float, rate: float, per_rate: float, eps: float
) -> tuple[float, float, float, float, float]:
    """Return the new w, z and a, the step by g, and what is taken back."""
    far, root = old - w, np.sqrt(a) + eps
    b = far * root * per_rate
    total, square = z + g * (g + b + b), g * g
    most = max(a, max(total, square))
    divisor = np.sqrt(most) + eps
    step, back = rate * g / divisor, far * (divisor - root) / divisor
    return w - step + back, total, most, step, back


@exact_helper
def _step(
    w: float, g: float, z: float, a: float, rate: float, eps: float
) -> tuple[float, float, float, float]:
    """Return the new w, z and a, and the step, by a g from the parameters of this moment."""
    square = g * g
    total = z + square
    most = max(a, max(total, square))
    step = rate * g / (np.sqrt(most) + eps)
    return w - step, total, most, step


@parallel_kernel
def adarevision(
    w: _Array,
    g: _Array,
    z: _Array,
    a: _Array,
    old: _Array,
    rate: float,
    per_rate: float,
    eps: float,
    sums: _Array,
) -> None:
    """Apply a gradient from old parameters.

    Local.

    Parameters
    ----------
    w, g, z, a, old : float array (n,)
        See the module; w, z and a are overwritten.
    rate : float
        Learning rate of this update.
    per_rate : float
        1 / mean, the mean rate of the updates since `old`; 0 where that is 0, and then b is 0.
    eps : float
        Keeps 0/0 from a parameter that never had a gradient.
    sums : float64 array (2,)
        The sums of |what is taken back| and of |rate g / (sqrt(a') + eps)| are added to it.
    """
    real = w.dtype.type
    rate_w, per_rate_w, eps_w = real(rate), real(per_rate), real(eps)
    revised = stepped = real(0)
    for i in prange(w.size):
        w[i], z[i], a[i], step, back = _revise(w[i], g[i], z[i], a[i], old[i], rate_w, per_rate_w, eps_w)
        revised += abs(back)
        stepped += abs(step)
    sums[0] += revised
    sums[1] += stepped


@parallel_kernel
def adarevision_out(
    w: _Array,
    g: _Array,
    z: _Array,
    a: _Array,
    old: _Array,
    rate: float,
    per_rate: float,
    eps: float,
    sums: _Array,
    out: _Array,
) -> None:
    """Do as `kernels.parameters.revision.adarevision`, and write the new w to `out`.

    Local.

    Parameters
    ----------
    w, g, z, a, old, rate, per_rate, eps, sums
        As in `kernels.parameters.revision.adarevision`.
    out : float array (n,)
        Out: a copy of the new w.
    """
    real = w.dtype.type
    rate_w, per_rate_w, eps_w = real(rate), real(per_rate), real(eps)
    revised = stepped = real(0)
    for i in prange(w.size):
        new, z[i], a[i], step, back = _revise(w[i], g[i], z[i], a[i], old[i], rate_w, per_rate_w, eps_w)
        w[i] = new
        out[i] = new
        revised += abs(back)
        stepped += abs(step)
    sums[0] += revised
    sums[1] += stepped


@parallel_kernel
def adarevision_fresh(
    w: _Array, g: _Array, z: _Array, a: _Array, rate: float, eps: float, sums: _Array
) -> None:
    """Apply a gradient from the parameters of this moment, or from unknown ones: b = 0.

    Local.

    Parameters
    ----------
    w, g, z, a, rate, eps, sums
        As in `kernels.parameters.revision.adarevision`.
    """
    rate_w, eps_w = w.dtype.type(rate), w.dtype.type(eps)
    stepped = w.dtype.type(0)
    for i in prange(w.size):
        w[i], z[i], a[i], step = _step(w[i], g[i], z[i], a[i], rate_w, eps_w)
        stepped += abs(step)
    sums[1] += stepped


@parallel_kernel
def adarevision_fresh_out(
    w: _Array, g: _Array, z: _Array, a: _Array, rate: float, eps: float, sums: _Array, out: _Array
) -> None:
    """Do as `kernels.parameters.revision.adarevision_fresh`, and write the new w to `out`.

    Local.

    Parameters
    ----------
    w, g, z, a, rate, eps, sums
        As in `kernels.parameters.revision.adarevision`.
    out : float array (n,)
        Out: a copy of the new w.
    """
    rate_w, eps_w = w.dtype.type(rate), w.dtype.type(eps)
    stepped = w.dtype.type(0)
    for i in prange(w.size):
        new, z[i], a[i], step = _step(w[i], g[i], z[i], a[i], rate_w, eps_w)
        w[i] = new
        out[i] = new
        stepped += abs(step)
    sums[1] += stepped
