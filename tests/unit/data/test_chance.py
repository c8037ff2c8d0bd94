"""The loss of chance: against the loss of the best constant answer, found by brute force."""

import numpy as np
import pytest

from dbmpi.data.chance import MOST_CLASSES, LabelChance, TargetChance

RNG = np.random.default_rng(5)


def least(losses_CN: np.ndarray) -> float:
    """Return the least mean loss of C constant answers."""
    return float(losses_CN.mean(axis=1).min())


def test_labels():
    labels = RNG.choice(3, 300, p=[0.7, 0.2, 0.1])
    chance = LabelChance()
    for part in np.split(labels, [7, 7, 120]):
        chance.add(part)
    q = np.linspace(0.001, 0.999, 999)
    grid_CK = np.array([(a, b, 1 - a - b) for a in q[::4] for b in q[::4] if a + b < 0.9995])
    found, is_class = chance.losses(), labels == np.arange(3)[:, None]
    assert found["softmax"] == pytest.approx(least(-np.log(grid_CK)[:, labels]), rel=1e-3)
    logistic = sum(least(np.where(is_k, -np.log(q[:, None]), -np.log1p(-q[:, None]))) for is_k in is_class)
    squared = sum(least(0.5 * (q[:, None] - is_k) ** 2) for is_k in is_class)
    assert found["logistic"] == pytest.approx(logistic, rel=1e-3)
    assert found["squared"] == pytest.approx(squared, rel=1e-3)


def test_a_single_class_leaves_nothing_to_learn():
    chance = LabelChance()
    chance.add(np.full(9, 4))
    assert chance.losses() == {"softmax": 0.0, "logistic": 0.0, "squared": 0.0}


@pytest.mark.parametrize("labels", [[], [3, MOST_CLASSES], [10**15]])
def test_it_is_not_known(labels):
    chance = LabelChance()
    chance.add(np.array(labels, np.int64))
    chance.add(np.array(labels, np.int64))
    assert chance.losses() == {}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_targets(dtype):
    targets = (RNG.normal(size=(200, 3)) * [1, 5, 0] + [1e4, -3, 7]).astype(dtype)
    chance = TargetChance()
    for part in np.split(targets, [1, 150]):
        chance.add(part)
    expected = 0.5 * targets.astype(np.float64).var(axis=0).sum()
    assert chance.losses()["squared"] == pytest.approx(expected, rel=1e-9)
    assert TargetChance().losses() == {}


def test_targets_as_large_as_they_may_be():
    chance = TargetChance()
    chance.add(np.array([[1e18], [-1e18]], np.float32))
    assert chance.losses()["squared"] == pytest.approx(5e35)
