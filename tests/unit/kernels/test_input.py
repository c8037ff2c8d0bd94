"""Gathering of minibatches against the NumPy twin."""

import numpy as np
import pytest

from kernels.layers.input import gather_transpose, gather_transpose_scaled
from kernels.reference import dense as reference


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("batch", [0, 1, 8, 29])
def test_gather_transpose(batch, dtype):
    random = np.random.default_rng(1)
    raw = (random.random((40, 13)) * 255).astype(dtype)
    rows = random.integers(0, 40, batch)
    real = np.float64 if dtype == np.float64 else np.float32
    mine, right = np.empty((13, batch), real), np.empty((13, batch), real)
    gather_transpose(raw, rows, 1 / 255, -0.5, mine)
    reference.gather_transpose(raw, rows, 1 / 255, -0.5, right)
    np.testing.assert_allclose(mine, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("batch", [0, 8, 29])
def test_gather_transpose_scaled(batch, dtype):
    random = np.random.default_rng(2)
    raw = (random.random((40, 13)) * 255).astype(dtype)
    rows = random.integers(0, 40, batch)
    real = np.float64 if dtype == np.float64 else np.float32
    scale, offset = random.normal(size=(2, 13)).astype(real)
    mine, right = np.empty((13, batch), real), np.empty((13, batch), real)
    gather_transpose_scaled(raw, rows, scale, offset, mine)
    reference.gather_transpose_scaled(raw, rows, scale, offset, right)
    np.testing.assert_allclose(mine, right, rtol=1e-5, atol=1e-4 if real is np.float32 else 1e-12)


def test_a_column_far_from_zero_keeps_what_it_differs_by():
    seconds = 1.7e9 + np.arange(16.0)[:, None]
    out = np.empty((1, 16), np.float32)
    gather_transpose_scaled(seconds, np.arange(16), np.ones(1), np.array([-1.7e9]), out)
    np.testing.assert_array_equal(out[0], np.arange(16))
