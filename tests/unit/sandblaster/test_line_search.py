"""The line search on functions of one variable: the strong Wolfe conditions, and what else may happen."""

import math

import numpy as np
import pytest

from dbmpi.sandblaster import line_search
from dbmpi.sandblaster.line_search import C1, EVALUATIONS, Trial, search


class Line:
    """phi and phi' of a function of one variable, and the points asked for."""

    def __init__(self, phi, slope):
        self._phi, self._slope = phi, slope
        self.asked = []

    def __call__(self, alpha):
        self.asked.append(alpha)
        return self.at(alpha)

    def at(self, alpha):
        return Trial(alpha, float(self._phi(alpha)), float(self._slope(alpha)))

    def search(self, alpha=1.0, c2=0.9):
        found = search(self, self.at(0.0), alpha, c2)
        assert len(self.asked) <= EVALUATIONS + 1  # and one, to return to the best point
        assert found is None or found.alpha == self.asked[-1], "the last pass must be that of the result"
        return found

    def wolfe(self, found, c2):
        start = self.at(0.0)
        return (
            found.phi <= start.phi + C1 * found.alpha * start.slope
            and abs(found.slope) <= c2 * abs(start.slope)
        )  # fmt: skip


# The test functions of More & Thuente 1994, section 5.
def yanai(b1, b2):
    g1, g2 = math.sqrt(1 + b1**2) - b1, math.sqrt(1 + b2**2) - b2
    return (
        lambda a: g1 * math.sqrt((1 - a) ** 2 + b2**2) + g2 * math.sqrt(a**2 + b1**2),
        lambda a: g1 * (a - 1) / math.sqrt((1 - a) ** 2 + b2**2) + g2 * a / math.sqrt(a**2 + b1**2),
    )


def oscillating(beta=0.01, ell=39):
    def phi0(a):
        if a <= 1 - beta:
            return 1 - a
        return a - 1 if a >= 1 + beta else (a - 1) ** 2 / (2 * beta) + beta / 2

    def slope0(a):
        return -1 if a <= 1 - beta else 1 if a >= 1 + beta else (a - 1) / beta

    return (
        lambda a: phi0(a) + 2 * (1 - beta) / (ell * math.pi) * math.sin(ell * math.pi / 2 * a),
        lambda a: slope0(a) + (1 - beta) * math.cos(ell * math.pi / 2 * a),
    )


FUNCTIONS = {
    "parabola": (lambda a: (a - 3) ** 2, lambda a: 2 * (a - 3)),
    "5.1": (lambda a: -a / (a * a + 2), lambda a: (a * a - 2) / (a * a + 2) ** 2),
    "5.3": oscillating(),
    "5.4": yanai(0.001, 0.001),
    "5.5": yanai(0.01, 0.001),
    "5.6": yanai(0.001, 0.01),
}


@pytest.mark.parametrize("c2", [0.9, 0.1])
@pytest.mark.parametrize("alpha", [1e-3, 1e-1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_strong_wolfe_conditions_hold(name, alpha, c2):
    line = Line(*FUNCTIONS[name])
    assert line.wolfe(line.search(alpha, c2), c2)
    assert len(line.asked) <= 12


def test_a_good_first_step_is_taken_with_one_evaluation():
    line = Line(lambda a: (a - 1) ** 2, lambda a: 2 * (a - 1))
    assert line.search().alpha == 1.0 and len(line.asked) == 1


@pytest.mark.parametrize("alpha", [1e-3, 1e-1, 1.0, 10.0, 1e3])
def test_it_does_not_look_for_a_minimum_narrower_than_it_is_worth(alpha):
    """More & Thuente's 5.2: the slope at 0 is so small that only 1e-7 around the minimum is as flat."""
    line = Line(
        lambda a: (a + 0.004) ** 5 - 2 * (a + 0.004) ** 4,
        lambda a: 5 * (a + 0.004) ** 4 - 8 * (a + 0.004) ** 3,
    )
    assert line.search(alpha).alpha == pytest.approx(1.596, rel=1e-3)


@pytest.mark.parametrize("bad", [math.inf, math.nan, -math.inf])
@pytest.mark.parametrize("wall", [0.9, 0.3, 1e-3])
def test_beyond_a_wall_it_comes_back_by_halves(wall, bad):
    line = Line(lambda a: (a - wall / 2) ** 2 if a < wall else bad, lambda a: 2 * (a - wall / 2))
    found = line.search()
    assert line.wolfe(found, 0.9)
    halves = math.ceil(math.log2(1 / wall))
    assert line.asked[: halves + 1] == [2.0**-k for k in range(halves + 1)]


def test_a_gradient_that_is_not_finite_is_too_far_as_well():
    line = Line(lambda a: (a - 0.25) ** 2, lambda a: 2 * (a - 0.25) if a < 0.6 else math.nan)
    assert line.search().alpha == 0.25 and line.asked == [1.0, 0.5, 0.25]


@pytest.mark.parametrize("wall", [0.7, 55.0])
def test_a_function_that_falls_towards_a_wall_is_followed_close_to_it(wall):
    line = Line(lambda a: -a if a < wall else math.inf, lambda a: -1.0)
    found = line.search()
    assert 0.99 * wall < found.alpha < wall and len(line.asked) < 15


@pytest.mark.parametrize("slope", [-1.0, -1e-3])
def test_a_function_that_only_rises_gives_nothing(slope):
    """The gradient is wrong."""
    line = Line(lambda a: 1 + a, lambda a: slope if a == 0 else 1.0)
    assert line.search() is None


def test_a_function_that_falls_for_ever_ends_with_the_best_point():
    line = Line(lambda a: -a, lambda a: -1.0)
    assert line.search().alpha == max(line.asked) and len(line.asked) == EVALUATIONS


@pytest.mark.parametrize("alpha", [0.1, 1.0, 1.9, 5.0])
def test_near_the_optimum_the_slope_decides(monkeypatch, alpha):
    """1 + 1e-9 (alpha - 1)^2 in float32 is 1 or off by a rounding: the condition of Hager & Zhang."""
    rng = np.random.default_rng(0)
    line = Line(lambda a: 1.0 + (6e-8 * rng.integers(0, 3) if a else 6e-8), lambda a: 2e-9 * (a - 1))
    found = line.search(alpha, 0.1)
    assert abs(found.alpha - 1) <= 0.1 and len(line.asked) <= 4
    monkeypatch.setattr(line_search, "ROUNDING", 0.0)  # without the condition
    line = Line(lambda a: 1.0 + (6e-8 if a else 0.0), lambda a: 2e-9 * (a - 1))
    assert line.search(alpha, 0.1) is None


def test_the_step_lengths_do_not_leave_the_representable_numbers():
    line = Line(lambda a: -a, lambda a: -1.0)
    assert math.isfinite(line.search(alpha=1e-300).alpha)
    line = Line(lambda a: a, lambda a: -1.0)
    assert line.search(alpha=5e-324) is None
