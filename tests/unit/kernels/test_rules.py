"""Update rules and vector operations against their NumPy twins, PyTorch's optimizers, and hard values."""

import numpy as np
import pytest

from kernels.parameters import rules
from kernels.reference import parameters as reference

DTYPES = [np.float32, np.float64]
ADAM = (0.01, 0.9, 0.999, 1e-8)
CALLS = {  # rule: (vectors of state, scalars)
    "sgd": (0, (0.1,)),
    "momentum": (1, (0.1, 0.9)),
    "adagrad": (1, (0.1, 1e-8)),
    "adam": (2, (*ADAM, 3)),
}


def _vectors(count, dtype, n=1003, seed=0):
    random = np.random.default_rng(seed)
    return [random.normal(size=n).astype(dtype) for _ in range(count)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", CALLS)
def test_rules_equal_their_twins(rule, dtype):
    states, scalars = CALLS[rule]
    w, g = _vectors(2, dtype)
    state = [np.abs(v) for v in _vectors(states, dtype, seed=1)]
    vectors = [[v.copy() for v in (w, g, *state)] for _ in range(3)]
    getattr(rules, rule)(*vectors[0], *scalars)
    getattr(reference, rule)(*vectors[1], *scalars)
    out = np.empty_like(w)
    getattr(rules, f"{rule}_out")(*vectors[2], *scalars, out)
    for mine, right, fused in zip(*vectors, strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-5 if dtype == np.float32 else 1e-13, atol=1e-6)
        np.testing.assert_array_equal(mine, fused)
    np.testing.assert_array_equal(out, vectors[2][0])


@pytest.mark.parametrize("rule", CALLS)
def test_rules_equal_pytorch(rule):
    torch = pytest.importorskip("torch")
    w, *gradients = _vectors(5, np.float64, n=50)
    parameter = torch.from_numpy(w.copy()).requires_grad_()
    optimizer = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
        "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, eps=1e-8),
        "adam": lambda p: torch.optim.Adam(p, lr=ADAM[0], betas=ADAM[1:3], eps=ADAM[3]),
    }[rule]([parameter])
    state = [np.zeros(50) for _ in range(CALLS[rule][0])]
    for t, g in enumerate(gradients, start=1):
        scalars = (*ADAM, t) if rule == "adam" else CALLS[rule][1]
        getattr(rules, rule)(w, g, *state, *scalars)
        parameter.grad = torch.from_numpy(g.copy())
        optimizer.step()
    np.testing.assert_allclose(w, parameter.detach().numpy(), rtol=1e-12, atol=1e-13)


def test_adagrad_leaves_a_parameter_without_gradient_alone():
    w, g, a = np.ones(40, np.float32), np.zeros(40, np.float32), np.zeros(40, np.float32)
    g[3] = 1e-3
    rules.adagrad(w, g, a, 0.1, 1e-8)
    assert w[3] == pytest.approx(0.9, rel=1e-4)  # the first step is the rate, whatever the gradient
    assert np.all(np.delete(w, 3) == 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 500, 1002])
def test_sum_of_squares_shows_every_bad_element(place, bad, dtype):
    (g,) = _vectors(1, dtype)
    assert rules.sum_of_squares(g) == pytest.approx(reference.sum_of_squares(g), rel=1e-12)
    g[place] = bad
    assert not np.isfinite(rules.sum_of_squares(g))


def test_sum_of_squares_is_finite_for_every_finite_float32():
    assert rules.sum_of_squares(np.full(1000, np.finfo(np.float32).max)) == pytest.approx(1.158e80, rel=1e-3)
    assert rules.sum_of_squares(np.full(3, 1e160)) == np.inf
    assert rules.sum_of_squares(np.empty(0, np.float32)) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_vector_operations_equal_their_twins(dtype):
    y, x, w = _vectors(3, dtype)
    mine, right = [y.copy(), x, w.copy()], [y.copy(), x, w.copy()]
    rules.accrue_and_step(*mine, 0.3)
    reference.accrue_and_step(*right, 0.3)
    rules.add_scaled(mine[0], -0.7, x)
    reference.add_scaled(right[0], -0.7, x)
    rules.mean_of_two(mine[2], mine[0], x, 0.5)
    reference.mean_of_two(right[2], right[0], x, 0.5)
    rules.move_towards(mine[0], mine[2], 0.2)
    reference.move_towards(right[0], right[2], 0.2)
    for m, r in zip(mine, right, strict=True):
        np.testing.assert_allclose(m, r, rtol=1e-5, atol=1e-6)
