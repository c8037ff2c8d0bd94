"""Dropout: its numbers are SplitMix64's, its masks have the right statistics, and no split changes them."""

import numpy as np
import pytest

from kernels.layers import dropout
from kernels.reference import spatial

SEED, COUNTER = 7, 1234


def _mask(units, batch, *, first=0, seed=SEED, counter=COUNTER, keep=0.5):
    """Whether each unit and example is kept."""
    y = np.ones((units, batch), np.float32)
    dropout.dropout_forward(y, first, seed, counter, keep)
    return y != 0


def _correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_the_generator_is_splitmix64():
    """The numbers that its authors' C code gives from seed 1234567."""
    right = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [int(dropout.random_word(np.uint64(1234567), n)) for n in range(4)] == right


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (40, 17), (0, 4)])
def test_equals_its_twin(shape, dtype):
    y = np.random.default_rng(0).normal(size=shape).astype(dtype)
    right = y.copy()
    dropout.dropout_forward(y, 3, SEED, COUNTER, 0.7)
    spatial.dropout_forward(right, 3, SEED, COUNTER, 0.7)
    np.testing.assert_allclose(y, right, rtol=1e-6)


def test_rectangle_equals_its_twin():
    y = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype(np.float32)
    right = y.copy()
    dropout.spatial_dropout_forward(y[:2, 1:], 2, 3, 9, SEED, COUNTER, 0.7)
    spatial.spatial_dropout_forward(right[:2, 1:], 2, 3, 9, SEED, COUNTER, 0.7)
    np.testing.assert_allclose(y, right, rtol=1e-6)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.8])
def test_keeps_the_expected_share_and_value(keep):
    y = np.ones((2000, 100), np.float64)
    dropout.dropout_forward(y, 0, SEED, COUNTER, keep)
    assert set(np.unique(y)) == {0, 1 / keep}
    five_sigma = 5 * np.sqrt(keep * (1 - keep) / y.size)
    assert abs(np.mean(y != 0) - keep) < five_sigma
    for axis in (0, 1):  # no unit and no example is favoured: the shares spread as binomial ones do
        shares = np.mean(y != 0, axis=axis)
        expected = np.sqrt(keep * (1 - keep) / y.shape[axis])
        assert 0.75 < shares.std() / expected < 1.25


def test_keep_1_changes_nothing():
    y = np.random.default_rng(0).normal(size=(500, 64)).astype(np.float32)
    before = y.copy()
    dropout.dropout_forward(y, 0, SEED, COUNTER, 1.0)
    np.testing.assert_array_equal(y, before)


def test_neighbours_steps_layers_and_seeds_are_independent():
    mask = _mask(1000, 100)
    others = [
        _mask(1000, 100, seed=SEED + 1),
        _mask(1000, 100, counter=COUNTER + 1),
        _mask(1000, 100, first=1000),
    ]
    pairs = [(mask, other) for other in others]
    pairs += [(mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1]), (mask[1:, 1:], mask[:-1, :-1])]
    pairs += [(mask[1:, :-1], mask[:-1, 1:])]
    for a, b in pairs:
        assert abs(_correlation(a, b)) < 5 / np.sqrt(a.size)


@pytest.mark.parametrize("cut", [1, 13, 29])
def test_no_split_of_the_units_changes_the_mask(cut):
    whole = _mask(30, 9)
    parts = [_mask(cut, 9), _mask(30 - cut, 9, first=cut)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_rectangles_of_an_image_have_the_mask_of_its_units():
    height, width, maps, batch = 7, 6, 3, 5
    whole = np.ones((height, width, maps, batch), np.float32)
    units = whole.reshape(-1, batch).copy()
    dropout.dropout_forward(units, 0, SEED, COUNTER, 0.5)
    for rows in (slice(0, 4), slice(4, 7)):
        for columns in (slice(0, 1), slice(1, 6)):
            piece = whole[rows, columns]
            dropout.spatial_dropout_forward(piece, rows.start, columns.start, width, SEED, COUNTER, 0.5)
    np.testing.assert_array_equal(whole.reshape(-1, batch), units)


def test_backward_applies_the_mask_of_forward():
    y, dy = np.ones((50, 20), np.float64), np.full((50, 20), 3.0)
    dropout.dropout_forward(y, 4, SEED, COUNTER, 0.6)
    dropout.dropout_backward(dy, 4, SEED, COUNTER, 0.6)
    np.testing.assert_allclose(dy, 3 * y, rtol=1e-14)


def test_nan_is_not_hidden():
    y = np.full((20, 20), np.nan, np.float32)
    dropout.dropout_forward(y, 0, SEED, COUNTER, 0.5)
    assert np.isnan(y).all()
