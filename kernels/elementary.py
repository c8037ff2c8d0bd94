"""Exponential, logistic function and hyperbolic tangent in plain arithmetic, which LLVM vectorizes.

Numba without SVML calls the C library once per element for `exp` and `tanh`, ten times slower than these.
Each takes and returns a float32 or float64 scalar, chosen at compile time. Helpers of kernels, not kernels.

Source: S. L. Moshier, Cephes: range reduction by ln 2 in two pieces, the single precision polynomials,
the rational tanh.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.deferred import overload, types
from kernels.jit import exact_helper
from kernels.llvm.bitcast import reinterpret

F, D = np.float32, np.float64

# exp(x) = 2^n exp(r) with n the integer nearest x/ln 2. Adding 1.5*2^(mantissa bits) rounds to an integer,
# which then stands in the low bits of the sum.
_LOG2E_F, _MAGIC_F, _MAGIC_BITS_F = F(1.44269504088896341), F(12582912.0), np.int32(0x4B400000)
_LN2_HIGH_F, _LN2_LOW_F = F(0.693359375), F(-2.12194440e-4)
_LOWEST_F, _HIGHEST_F = F(-104.0), F(89.0)  # beyond them exp is 0 or infinite
_LOG2E_D, _MAGIC_D = D(1.44269504088896341), D(6755399441055744.0)
_MAGIC_BITS_D = np.int64(0x4338000000000000)
_LN2_HIGH_D, _LN2_LOW_D = D(6.93145751953125e-1), D(1.42860682030941723212e-6)
_LOWEST_D, _HIGHEST_D = D(-746.0), D(710.0)

_ONE_F, _TWO_F, _ONE_D, _TWO_D = F(1), F(2), D(1), D(2)
_SMALL_F, _SMALL_D = F(0.625), D(0.625)  # below it tanh(x) is x + x^3 times a function of x^2


@exact_helper
def _power_of_two_32(n: np.int32) -> np.float32:
    return reinterpret(np.int32((n + np.int32(127)) << np.int32(23)))


@exact_helper
def _power_of_two_64(n: np.int64) -> np.float64:
    return reinterpret((n + np.int64(1023)) << np.int64(52))


@exact_helper
def exp32(x: np.float32) -> np.float32:
    """Return e^x within 2 units in the last place; 0 far below, infinity far above, NaN for NaN."""
    x = _LOWEST_F if x < _LOWEST_F else x
    x = _HIGHEST_F if x > _HIGHEST_F else x
    shifted = x * _LOG2E_F + _MAGIC_F
    n = np.int32(reinterpret(shifted) - _MAGIC_BITS_F)
    whole = shifted - _MAGIC_F
    r = x - whole * _LN2_HIGH_F - whole * _LN2_LOW_F
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    p = p * (r * r) + r + _ONE_F
    half = np.int32(n >> np.int32(1))  # in two factors, since 2^n itself may be out of range
    return p * _power_of_two_32(half) * _power_of_two_32(np.int32(n - half))


@exact_helper
def exp64(x: np.float64) -> np.float64:
    """Return e^x within 1e-15 of itself; 0 far below, infinity far above, NaN for NaN."""
    x = _LOWEST_D if x < _LOWEST_D else x
    x = _HIGHEST_D if x > _HIGHEST_D else x
    shifted = x * _LOG2E_D + _MAGIC_D
    n = reinterpret(shifted) - _MAGIC_BITS_D
    whole = shifted - _MAGIC_D
    r = x - whole * _LN2_HIGH_D - whole * _LN2_LOW_D
    p = 1.0 / 6227020800.0  # the Taylor series to r^13: |r| < 0.35
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * (r * r) + r + 1.0
    half = n >> np.int64(1)
    return p * _power_of_two_64(half) * _power_of_two_64(n - half)


@exact_helper
def tanh32(x: np.float32) -> np.float32:
    """Return tanh(x) within 3 units in the last place; NaN for NaN."""
    size = abs(x)
    z = x * x
    p = F(-5.70498872745e-3)
    p = p * z + F(2.06390887954e-2)
    p = p * z + F(-5.37397155531e-2)
    p = p * z + F(1.33314422036e-1)
    p = p * z + F(-3.33332819422e-1)
    near = p * z * x + x
    far = _ONE_F - _TWO_F / (exp32(size + size) + _ONE_F)
    return near if size < _SMALL_F else (-far if x < F(0) else far)


@exact_helper
def tanh64(x: np.float64) -> np.float64:
    """Return tanh(x) within 1e-15 of itself; NaN for NaN."""
    size = abs(x)
    z = x * x
    p = (-9.64399179425052238628e-1 * z - 9.92877231001918586564e1) * z - 1.61468768441708447952e3
    q = ((z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3) * z + 4.84406305325125486048e3
    far = exp64(size + size) + _ONE_D
    sign = -_ONE_D if x < 0.0 else _ONE_D
    near = size < _SMALL_D  # choose before the division: LLVM does not vectorize a division in a branch
    whole = x if near else sign
    over = x * z * p if near else -_TWO_D * sign
    under = q if near else far
    return whole + over / under


def exp(x: float) -> float:
    """Return e^x."""
    return math.exp(x)


def tanh(x: float) -> float:
    """Return tanh(x)."""
    return math.tanh(x)


@overload(exp)
def _exp(x: Any) -> Callable[..., Any]:
    if x == types.float32:
        return lambda x: exp32(x)
    return lambda x: exp64(x)


@overload(tanh)
def _tanh(x: Any) -> Callable[..., Any]:
    if x == types.float32:
        return lambda x: tanh32(x)
    return lambda x: tanh64(x)
