"""Bias, activation and derivative: against the NumPy twins, and against finite differences."""

import numpy as np
import pytest

from kernels.layers import dense
from kernels.layers.activations import CODES
from kernels.reference import dense as reference

DTYPES = [np.float32, np.float64]
SHAPES = [(1, 1), (5, 3), (7, 100), (3, 17), (0, 4)]


def _close(dtype):
    return {"rtol": 2e-6, "atol": 2e-6} if dtype == np.float32 else {"rtol": 1e-13, "atol": 1e-13}


def _arrays(shape, dtype, seed=0):
    random = np.random.default_rng(seed)
    return (random.normal(0, 3, shape).astype(dtype) for _ in range(3)), random.normal(size=shape[0]).astype(
        dtype
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_forward_equals_its_twin(code, shape, dtype):
    (z, extra, _), b = _arrays(shape, dtype)
    for name, more in (("bias_activation", ()), ("bias_activation_sum", (extra,))):
        mine, right = z.copy(), z.copy()
        getattr(dense, name)(mine, *more, b, code)
        getattr(reference, name)(right, *more, b, code)
        np.testing.assert_allclose(mine, right, **_close(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_backward_equals_its_twin(code, shape, dtype):
    (y, dy, _), db = _arrays(shape, dtype)
    mine, right, db_right = dy.copy(), dy.copy(), db.copy()
    dense.activation_backward(mine, y, db, code)
    reference.activation_backward(right, y, db_right, code)
    np.testing.assert_allclose(mine, right, **_close(dtype))
    np.testing.assert_allclose(db, db_right, rtol=1e-5, atol=1e-4 if dtype == np.float32 else 1e-11)


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_derivative_agrees_with_finite_differences(code):
    (z, dy, _), b = _arrays((4, 9), np.float64, seed=1)

    def loss(b):
        y = z.copy()
        dense.bias_activation(y, b, code)
        return np.sum(y * dy)

    numeric = [(loss(b + h) - loss(b - h)) / 2e-6 for h in np.eye(4) * 1e-6]
    y, dz, db = z.copy(), dy.copy(), np.empty(4)
    dense.bias_activation(y, b, code)
    dense.activation_backward(dz, y, db, code)
    np.testing.assert_allclose(db, numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_nan_is_not_hidden(code):
    z = np.zeros((2, 40), np.float32)
    z[1, 20] = np.nan
    dense.bias_activation(z, np.zeros(2, np.float32), code)
    assert np.argwhere(np.isnan(z)).tolist() == [[1, 20]]


def test_sigmoid_saturates_without_nan():
    z = np.array([[-1e4, -100, 0, 100, 1e4, -np.inf, np.inf, 0]], np.float32)
    dense.bias_activation(z, np.zeros(1, np.float32), CODES["sigmoid"])
    np.testing.assert_allclose(z, [[0, 0, 0.5, 1, 1, 0, 1, 0.5]], atol=1e-30)


@pytest.mark.parametrize("dtype", DTYPES)
def test_row_sums_and_accumulate(dtype):
    (x, y, _), db = _arrays((6, 33), dtype)
    total = x + y
    dense.row_sums(x, db)
    np.testing.assert_allclose(db, x.sum(axis=1), rtol=1e-5, atol=1e-5)
    dense.accumulate(y, x)
    np.testing.assert_array_equal(y, total)
