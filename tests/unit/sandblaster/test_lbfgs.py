"""The vector-free direction against the two-loop recursion on vectors."""

import numpy as np
import pytest

from dbmpi.comm.operations import BASE, BASE_GRADIENT, DIRECTION, GRADIENT, PARAMETERS, Program, change, step
from dbmpi.sandblaster import lbfgs
from dbmpi.sandblaster.lbfgs import LBFGS
from tests.doubles.fake_shards import Sliced

N = 30


def classical(pairs, g):
    """Return -H g (Nocedal & Wright, Algorithm 7.4) for the pairs (s, y), oldest first."""
    q, alphas = g.copy(), []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    s, y = pairs[-1]
    r = s @ y / (y @ y) * q
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        r += s * (alpha - y @ r / (s @ y))
    return -r


class Walk:
    """A method that is led along random points, and the pairs that it should keep."""

    def __init__(self, history, condition=1e3, slices=1):
        self.method, self.history = LBFGS(history), history
        self.shards = Sliced(None, np.zeros(N), self.method.pairs, slices)
        self._rng = np.random.default_rng(7)
        basis = np.linalg.qr(self._rng.normal(size=(N, N)))[0]
        self._hessian = basis * np.geomspace(1, condition, N) @ basis.T
        self.pairs, self._x, self.g = [], np.zeros(N), self._rng.normal(size=N)
        self._look(Program().copy(BASE, PARAMETERS))

    def step(self, curvature=1.0):
        """Go a random step; the gradient changes by `curvature` times what the Hessian says."""
        s = self._rng.normal(size=N)
        y = curvature * self._hessian @ s
        self._x, self.g = self._x + s, self.g + y
        self.shards.put(PARAMETERS, self._x)
        program = Program()
        self.method.update_history(program, -1.0)
        if curvature > 0 and self.history:
            self.pairs = [*self.pairs, (s, y)][-self.history :]
        self._look(program)

    def _look(self, program):
        self.shards.put(GRADIENT, self.g)
        self.method.request_products(program)
        self.direction = self.method.direction(self.shards.run(program))
        self.shards.run(Program().combine(DIRECTION, self.direction.terms))

    def check(self):
        p = self.shards.vector(DIRECTION)
        expected = classical(self.pairs, self.g) if self.pairs else -self.g
        assert np.linalg.norm(p - expected) <= 1e-10 * np.linalg.norm(expected)
        assert self.direction.slope == pytest.approx(expected @ self.g, rel=1e-10)
        assert self.direction.norm == pytest.approx(np.linalg.norm(expected), rel=1e-10)
        assert np.array_equal(self.shards.vector(BASE), self._x)
        assert np.array_equal(self.shards.vector(BASE_GRADIENT), self.g)


@pytest.mark.parametrize("slices", [1, 2, 5])
@pytest.mark.parametrize("history", [1, 2, 5, 20])
def test_equals_the_two_loop_recursion(history, slices):
    """Before the history is full, when it is, and when its numbers are used again."""
    walk = Walk(history, slices=slices)
    walk.check()
    for _ in range(min(3 * history, 25)):
        walk.step()
        walk.check()


def test_without_history_it_goes_along_the_negative_gradient():
    walk = Walk(0)
    assert walk.method.pairs == 0
    for _ in range(3):
        walk.step()
        walk.check()


@pytest.mark.parametrize("curvature", [-1.0, 0.0])
def test_a_pair_without_curvature_takes_the_place_of_none(curvature):
    walk = Walk(4)
    walk.step(curvature)
    walk.check()
    for _ in range(4):
        walk.step()
    for _ in range(6):
        walk.step(curvature)
        walk.check()
    walk.step()
    walk.check()
    assert len(walk.pairs) == 4 and walk.method.pairs == 5


def test_a_pair_of_rounding_is_none():
    walk = Walk(4)
    walk.step()
    least = lbfgs.LEAST_CURVATURE
    method = walk.method
    kept = list(method._kept)
    for cosine, admitted in ((0.5 * least, False), (2 * least, True)):
        program = Program()
        method.update_history(program, -1.0)
        method.request_products(program)
        answers = dict.fromkeys(method._asked, 0.0)
        s, y = step(method._new), change(method._new)
        answers |= {(s, s): 4.0, (y, y): 9.0, (s, y): 6 * cosine, (BASE_GRADIENT, BASE_GRADIENT): 1.0}
        method.direction(list(answers.values()))
        assert (method._kept != kept) == admitted


def test_after_it_has_forgotten_it_begins_anew():
    walk = Walk(3)
    for _ in range(5):
        walk.step()
    walk.method.restart()
    walk.pairs = []
    for _ in range(5):
        walk.step()
        walk.check()


def test_an_ill_conditioned_history_still_gives_a_descent():
    walk = Walk(10, condition=1e8)
    for _ in range(25):
        walk.step()
        assert walk.direction.descends(np.linalg.norm(walk.g))
        expected = classical(walk.pairs, walk.g)
        assert np.linalg.norm(walk.shards.vector(DIRECTION) - expected) <= 1e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("history", [1, 5, 20])
def test_only_new_inner_products_are_asked_for(history):
    walk = Walk(history)
    for _ in range(history + 3):
        walk.step()
    assert walk.shards.scalars[-2] == 6 * history + 6  # three rows, of the pairs kept and of the new three
    assert walk.shards.trips == 2 * (history + 3) + 2  # one for them, one for the direction
