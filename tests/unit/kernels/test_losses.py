"""Losses, whole and split: against the NumPy twins, SciPy, finite differences, and PyTorch."""

import numpy as np
import pytest

from kernels.losses import elementwise, softmax
from kernels.reference import losses as reference

DTYPES = [np.float32, np.float64]
SPLITS = [
    (0, 11),
    (0, 4, 11),
    (0, 0, 3, 3, 11),
    (0, 1, 2, 11, 11),
]  # bounds of the partitions, some without units
B = 37


def _batch(dtype, seed=0, units=11):
    random = np.random.default_rng(seed)
    return random.normal(0, 3, (units, B)).astype(dtype), random.integers(0, units, B)


def _merged(z, labels, bounds):
    stats, merged = np.full((len(bounds) - 1, 4, B), 7.0), np.full((4, B), 7.0)
    for p, (start, stop) in enumerate(zip(bounds, bounds[1:], strict=False)):
        softmax.softmax_stats(z[start:stop], start, labels, stats[p])
    softmax.merge_stats(stats, merged)
    return merged


def _loss(merged):
    return np.mean(merged[softmax.MAX] + np.log(merged[softmax.SUM]) - merged[softmax.TARGET])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bounds", SPLITS)
def test_softmax_loss_equals_scipy_however_it_is_split(bounds, dtype):
    z, labels = _batch(dtype)
    merged = _merged(z, labels, bounds)
    right = (
        -pytest.importorskip("scipy.special")
        .log_softmax(z.astype(np.float64), axis=0)[labels, np.arange(B)]
        .mean()
    )
    assert _loss(merged) == pytest.approx(right, rel=1e-6 if dtype == np.float32 else 1e-13)
    np.testing.assert_array_equal(merged[softmax.ARGMAX], z.argmax(axis=0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_kernels_equal_their_twins(dtype):
    z, labels = _batch(dtype, seed=1)
    mine, right = np.empty((3, 4, B)), np.empty((3, 4, B))
    for p, (start, stop) in enumerate([(0, 5), (5, 5), (5, 11)]):
        softmax.softmax_stats(z[start:stop], start, labels, mine[p])
        reference.softmax_stats(z[start:stop], start, labels, right[p])
    np.testing.assert_allclose(mine, right, rtol=1e-6)
    merged, merged_right = np.empty((4, B)), np.empty((4, B))
    softmax.merge_stats(mine, merged)
    reference.merge_stats(mine, merged_right)
    np.testing.assert_allclose(merged, merged_right, rtol=1e-14)
    part, part_right, db, db_right = z[5:].copy(), z[5:].copy(), np.empty(6, dtype), np.empty(6, dtype)
    softmax.softmax_delta(part, 5, labels, merged, 0.3, db)
    reference.softmax_delta(part_right, 5, labels, merged, 0.3, db_right)
    np.testing.assert_allclose(part, part_right, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(db, db_right, rtol=1e-5, atol=1e-6)


def test_softmax_delta_agrees_with_finite_differences():
    z, labels = _batch(np.float64, seed=2)
    delta, db = z.copy(), np.empty(11)
    softmax.softmax_delta(delta, 0, labels, _merged(z, labels, (0, 11)), 1 / B, db)
    for o, b in [(0, 0), (labels[5], 5), (10, 36)]:
        step = np.zeros_like(z)
        step[o, b] = 1e-6
        numeric = (
            _loss(_merged(z + step, labels, (0, 11))) - _loss(_merged(z - step, labels, (0, 11)))
        ) / 2e-6
        assert delta[o, b] == pytest.approx(numeric, rel=1e-5, abs=1e-9)
    np.testing.assert_allclose(db, delta.sum(axis=1), atol=1e-15)


def test_gradients_equal_pytorch():
    torch = pytest.importorskip("torch")
    z, labels = _batch(np.float64, seed=3)
    onehot = torch.nn.functional.one_hot(torch.from_numpy(labels), 11).double()
    for kind in ("softmax", "logistic"):
        x = torch.from_numpy(z.T.copy()).requires_grad_()
        mine, db = z.copy(), np.empty(11)
        if kind == "softmax":
            right = torch.nn.functional.cross_entropy(x, torch.from_numpy(labels), reduction="sum")
            softmax.softmax_delta(mine, 0, labels, _merged(z, labels, (0, 11)), 1.0, db)
        else:
            right = torch.nn.functional.binary_cross_entropy_with_logits(x, onehot, reduction="sum")
            assert elementwise.logistic_delta(mine, 0, labels, 1.0, db) == pytest.approx(
                right.item(), rel=1e-12
            )
        right.backward()
        np.testing.assert_allclose(mine, x.grad.numpy().T, rtol=1e-12, atol=1e-14)


def test_the_gradient_of_several_labels_equals_pytorch_and_finite_differences():
    z, _ = _batch(np.float64, seed=7)
    t = (_batch(np.float64, seed=8)[0] > 1).astype(np.float64)
    mine, db = z.copy(), np.empty(11)
    loss = elementwise.multilabel_delta(mine, t, 1.0, db)
    np.testing.assert_allclose(db, mine.sum(axis=1), atol=1e-13)
    for o, b in [(0, 0), (5, 9), (10, 36)]:
        step = np.zeros_like(z)
        step[o, b] = 1e-5
        up, down = (elementwise.multilabel_loss(z + sign * step, t) for sign in (1, -1))
        assert mine[o, b] == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-7)
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(z.copy()).requires_grad_()
    right = torch.nn.functional.binary_cross_entropy_with_logits(x, torch.from_numpy(t), reduction="sum")
    right.backward()
    assert loss == pytest.approx(right.item(), rel=1e-12)
    np.testing.assert_allclose(mine, x.grad.numpy(), rtol=1e-11, atol=1e-13)


def test_extreme_logits_neither_overflow_nor_hide_nan():
    z, labels = np.zeros((3, B), np.float32), np.zeros(B, np.int64)
    z[1] = 1e30
    assert _loss(_merged(z, labels, (0, 1, 3))) == pytest.approx(1e30)
    z[2, 4] = np.nan
    for bounds in ((0, 3), (0, 2, 3), (0, 1, 3)):
        assert np.isnan(_merged(z, labels, bounds)[softmax.SUM]).nonzero()[0].tolist() == [4]


def test_the_lowest_of_equal_units_wins():
    merged = _merged(np.ones((4, B), np.float32), np.zeros(B, np.int64), (0, 2, 4))
    assert not merged[softmax.ARGMAX].any()
    stats = np.empty((4, B))
    softmax.argmax_stats(np.ones((4, B), np.float32), 5, stats)
    np.testing.assert_array_equal(stats, np.repeat([[1.0], [0], [0], [5]], B, axis=1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first", [0, 6])
def test_elementwise_losses_equal_their_twins(first, dtype):
    z, labels = _batch(dtype, seed=4, units=6)
    labels, target = labels * 2, _batch(dtype, seed=5, units=6)[0]
    for name, arguments in (
        ("logistic", (first, labels)),
        ("squared_labels", (first, labels)),
        ("squared", (target,)),
        ("multilabel", ((target > 0).astype(dtype),)),
    ):
        mine, right, db, db_right = z.copy(), z.copy(), np.empty(6, dtype), np.empty(6, dtype)
        loss = getattr(elementwise, f"{name}_delta")(mine, *arguments, 0.25, db)
        assert loss == pytest.approx(
            getattr(reference, f"{name}_delta")(right, *arguments, 0.25, db_right), rel=1e-6
        )
        assert loss == pytest.approx(getattr(elementwise, f"{name}_loss")(z, *arguments), rel=1e-12)
        np.testing.assert_allclose(mine, right, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(db, db_right, rtol=1e-5, atol=1e-5)


def test_logistic_loss_is_stable_and_shows_nan():
    z, labels = np.full((2, 2000), 80.0, np.float32), np.zeros(2000, np.int64)
    assert elementwise.logistic_loss(z, 0, labels) == pytest.approx(80 * 2000)
    assert elementwise.logistic_loss(z * 0, 0, labels) == pytest.approx(
        4000 * np.log(2)
    )  # 2^2000 alone would overflow
    assert elementwise.logistic_loss(np.full((1, 40), -1e30, np.float32), 3, labels[:40]) == 0
    z[1, 1999] = np.nan
    assert np.isnan(elementwise.logistic_loss(z, 0, labels))
