"""Each rule against its formula, and the fixed rate of local steps."""

import numpy as np
import pytest

from dbmpi.config.algorithms import Downpour
from dbmpi.server.rules import STATES, local_rate, make

N, UPDATES, RATE = 23, 6, 0.05


def gradients() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(UPDATES, N))


def by_rule(config: Downpour) -> np.ndarray:
    """Return the parameters after all updates."""
    rule, w = make(config), np.linspace(-1, 1, N)
    states = [np.zeros(N) for _ in rule.states]
    for t, g in enumerate(gradients(), start=1):
        rule.apply(w, g.copy(), states, RATE, t)
    return w


def test_sgd():
    assert np.allclose(by_rule(Downpour(rule="sgd")), np.linspace(-1, 1, N) - RATE * gradients().sum(0))


def test_momentum():
    w, v = np.linspace(-1, 1, N), np.zeros(N)
    for g in gradients():
        v = 0.7 * v + g
        w -= RATE * v
    assert np.allclose(by_rule(Downpour(rule="momentum", momentum=0.7)), w)


def test_adagrad_of_the_paper():
    g = gradients()
    eta = RATE / (np.sqrt(np.cumsum(g**2, axis=0)) + 1e-8)
    assert np.allclose(by_rule(Downpour(rule="adagrad")), np.linspace(-1, 1, N) - (eta * g).sum(0))


def test_adam_of_the_paper():
    w, m, v = np.linspace(-1, 1, N), np.zeros(N), np.zeros(N)
    for t, g in enumerate(gradients(), start=1):
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
        w -= RATE * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-3)
    assert np.allclose(by_rule(Downpour(rule="adam", beta1=0.8, beta2=0.95, epsilon=1e-3)), w)


@pytest.mark.parametrize("rule", STATES)
def test_the_copy_for_the_reply_is_the_new_value(rule):
    made = make(Downpour(rule=rule))
    alone, copied, out = np.linspace(-1, 1, N), np.linspace(-1, 1, N), np.full(N, np.nan)
    states, others = ([np.zeros(N) for _ in made.states] for _ in range(2))
    for t, g in enumerate(gradients(), start=1):
        made.apply(alone, g.copy(), states, RATE, t)
        made.apply(copied, g.copy(), others, RATE, t, out)
        assert np.array_equal(out, copied)
        np.testing.assert_allclose(copied, alone, rtol=1e-14)
    np.testing.assert_allclose(others, states, rtol=1e-14)


@pytest.mark.parametrize(
    ("rule", "states"),
    [
        ("sgd", ()),
        ("momentum", ("velocity",)),
        ("adagrad", ("squares",)),
        ("adam", ("mean", "mean_square")),
        ("adarevision", ("revised_squares", "squares")),
    ],
)
def test_states_are_named(rule, states):
    assert make(Downpour(rule=rule)).states == states


@pytest.mark.parametrize("rule", STATES)
def test_float32_stays_float32(rule):
    made, w = make(Downpour(rule=rule)), np.ones(4, np.float32)
    made.apply(w, np.ones(4, np.float32), [np.zeros(4, np.float32) for _ in made.states], 0.1, 1)
    np.testing.assert_allclose(w, 0.9, rtol=1e-6)


@pytest.mark.parametrize(
    ("rule", "given", "expected"),
    [
        ("sgd", "auto", 0.2),
        ("adagrad", "auto", 0.02),
        ("adam", "auto", 0.02),
        ("adagrad", 0.3, 0.3),
        ("sgd", 0.0, 0.0),
    ],
)
def test_local_rate(rule, given, expected):
    assert local_rate(Downpour(rule=rule, learning_rate=0.2, local_rate=given)) == pytest.approx(expected)
