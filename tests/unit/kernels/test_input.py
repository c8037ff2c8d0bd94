"""Gathering of minibatches against the NumPy twin."""

import numpy as np
import pytest

from kernels.layers.input import gather_transpose
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
