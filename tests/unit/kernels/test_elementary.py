"""The vectorized exp and tanh against NumPy in extended precision."""

import numpy as np
import pytest

from kernels import elementary
from kernels.jit import kernel


@kernel
def _exp_all(x, y):
    for i in range(x.size):
        y[i] = elementary.exp(x[i])


@kernel
def _tanh_all(x, y):
    for i in range(x.size):
        y[i] = elementary.tanh(x[i])


def _apply(function, x):
    y = np.empty_like(x)
    function(x, y)
    return y


def _error_in_ulp(y, right):
    return np.abs(y - right) / np.spacing(np.abs(right).astype(y.dtype))


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.float32, -87.3, 88.7), (np.float64, -708.3, 709.7)])
def test_exp_is_right_to_two_ulp(dtype, low, high):
    x = np.concatenate([np.linspace(low, high, 100_001), np.linspace(-1, 1, 50_001)]).astype(dtype)
    assert _error_in_ulp(_apply(_exp_all, x), np.exp(x.astype(np.longdouble))).max() < 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_is_right_to_three_ulp(dtype):
    x = np.concatenate([np.linspace(-20, 20, 100_001), np.linspace(-1e-3, 1e-3, 10_000)]).astype(dtype)
    assert _error_in_ulp(_apply(_tanh_all, x), np.tanh(x.astype(np.longdouble))).max() < 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(dtype):
    x = np.array([0, -1e30, -np.inf, 1e30, np.inf, np.nan] * 16, dtype)  # long enough for the vector loop
    np.testing.assert_array_equal(_apply(_exp_all, x), [1, 0, 0, np.inf, np.inf, np.nan] * 16)
    np.testing.assert_array_equal(_apply(_tanh_all, x), [0, -1, -1, 1, 1, np.nan] * 16)


def test_exp_goes_to_zero_through_the_subnormals():
    y = _apply(_exp_all, np.linspace(-110, -80, 10_001).astype(np.float32))
    assert np.all(np.diff(y) >= 0)
    assert y[0] == 0 < y[-1]


def test_outside_of_kernels_they_are_plain_functions():
    assert elementary.exp(0.0) == 1.0
    assert elementary.tanh(0.0) == 0.0
