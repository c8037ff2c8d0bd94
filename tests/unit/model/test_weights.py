"""Weights of examples: against PyTorch, and against examples that are there more than once."""

from typing import Any

import numpy as np
import pytest

from dbmpi.config.layers import Dense
from dbmpi.layout.network import from_layers
from dbmpi.layout.partitioning import Partitioning
from dbmpi.model.partition import PartitionModel
from dbmpi.model.tensors import tensors

RNG = np.random.default_rng(8)
INPUTS, UNITS, B = 5, 4, 6
X = RNG.normal(size=(INPUTS, B))
LABELS, FLOATS = RNG.integers(0, UNITS, B), RNG.normal(size=(UNITS, B))
TARGETS = {
    "softmax": ("softmax", LABELS),
    "logistic": ("logistic", LABELS),
    "squared labels": ("squared", LABELS),
    "floats": ("squared", FLOATS),
    "several": ("logistic", (FLOATS > 0).astype("f8")),
}
THETA = RNG.normal(size=UNITS * (INPUTS + 1))


def stepped(loss: str, x: Any, targets: Any, weights: Any) -> tuple[float, Any]:
    """Return the summed loss, and the gradient of the mean."""
    plan = Partitioning(from_layers([Dense(units=UNITS)], INPUTS, loss), 1)
    model = PartitionModel(plan, 0, targets.ndim == 1, np.dtype("f8"), 0.0)
    gradient = np.empty_like(THETA)
    workspace = model.workspace(x.shape[1])
    workspace.states[0][...], workspace.weights = x, weights
    views = tensors(plan, 0, THETA), tensors(plan, 0, gradient)
    return model.differentiate(*views, x.shape[1], targets).loss_sum, gradient


@pytest.mark.parametrize("name", TARGETS)
def test_a_weight_of_2_is_an_example_that_is_there_twice(name: str) -> None:
    loss, targets = TARGETS[name]
    weights = np.array([1.0, 2, 0, 1, 3, 1])
    rows = np.repeat(np.arange(B), weights.astype(int))
    expected = stepped(loss, X[:, rows], targets[..., rows], None)
    found = stepped(loss, X, targets, weights)
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(found[1], expected[1] * len(rows) / B, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", TARGETS)
def test_weights_of_1_are_none(name: str) -> None:
    loss, targets = TARGETS[name]
    found, expected = (stepped(loss, X, targets, weights) for weights in (np.ones(B), None))
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12, atol=1e-15)


def test_class_weights_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    by_class = np.array([0.5, 2.0, 1.0, 4.0])
    w, b = (
        torch.from_numpy(one.copy()).requires_grad_() for one in (THETA[: UNITS * INPUTS], THETA[-UNITS:])
    )
    z = w.reshape(UNITS, INPUTS) @ torch.from_numpy(X) + b[:, None]
    right = torch.nn.functional.cross_entropy(
        z.T, torch.from_numpy(LABELS), weight=torch.from_numpy(by_class), reduction="sum"
    )
    (right / B).backward()
    loss, gradient = stepped("softmax", X, LABELS, by_class[LABELS])
    assert loss == pytest.approx(right.item(), rel=1e-12)
    expected = np.concatenate([w.grad.numpy(), b.grad.numpy()])
    np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-13)
