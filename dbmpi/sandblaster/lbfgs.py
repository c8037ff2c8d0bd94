"""The direction of L-BFGS, computed from inner products alone. Pure.

The two-loop recursion (Nocedal & Wright, 2nd ed., Algorithm 7.4) takes a gradient g and the last m pairs

    s_i = x_(i+1) - x_i,    y_i = g_(i+1) - g_i

to p = -H g. All its vectors lie in the span of s_1 .. s_m, y_1 .. y_m, g, so it can run on their coefficients
delta, once the inner products of these 2m + 1 vectors are known (W. Chen, Z. Wang and J. Zhou, Large-scale
L-BFGS using MapReduce, NIPS 2014, Algorithm 3). A new iterate changes three rows of that matrix; the shards
answer them in the round trip that stores the pair.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from dbmpi.comm.operations import BASE, BASE_GRADIENT, GRADIENT, PARAMETERS, Program, change, step
from dbmpi.sandblaster.direction import Direction, steepest

Pair = tuple[int, int]  # the vectors s and y, or any two vectors
Products = Mapping[Pair, float]  # (smaller, larger number): inner product

# A pair is kept if the cosine of s and y is above this. On a quadratic of condition kappa it is at least
# 2 sqrt(kappa) / (kappa + 1), and doubles resolve no condition of 4e16. What is below is rounding, or f
# curves down along s: either would spoil H, which has to stay positive definite.
LEAST_CURVATURE = 1e-8


class LBFGS:
    """Limited-memory BFGS (Algorithm 7.5) with `history` pairs.

    One more pair number than pairs is used: the newest pair is put there, and takes the place of the oldest
    only once its curvature is known to be good.
    """

    c2 = 0.9
    vectors_persist = True

    def __init__(self, history: int) -> None:
        self._history = history
        self._kept: list[int] = []  # pair numbers, oldest first
        self._new: int | None = None
        self._asked: list[Pair] = []
        self._products: dict[Pair, float] = {}
        self._slope: float | None = None

    @property
    def pairs(self) -> int:
        """How many pair numbers it uses, from 0."""
        return self._history + 1 if self._history else 0

    def update_history(self, program: Program, slope: float) -> None:
        """Store the pair of the step just taken, in the free number."""
        self._slope = slope
        if not self._history:
            program.copy(BASE, PARAMETERS)
            return
        self._new = next(pair for pair in range(self.pairs) if pair not in self._kept)
        program.commit(self._new)

    def request_products(self, program: Program) -> None:
        """Ask for the rows of the matrix that are new: s and y of the newest pair, and g."""
        old = _vectors(self._kept)
        fresh = [*([] if self._new is None else _vectors([self._new])), BASE_GRADIENT]
        self._asked = [(vector, other) for vector in fresh for other in old]
        self._asked += [(a, b) for i, a in enumerate(fresh) for b in fresh[i:]]
        program.copy(BASE_GRADIENT, GRADIENT).dots(self._asked)

    def direction(self, scalars: Sequence[float]) -> Direction:
        """Return p = -H g."""
        self._products |= {_key(*pair): scalar for pair, scalar in zip(self._asked, scalars, strict=True)}
        self._admit()
        if not self._kept:
            return steepest(self._products[BASE_GRADIENT, BASE_GRADIENT], self._slope)
        delta = two_loop([(step(pair), change(pair)) for pair in self._kept], self._products)
        slope = _dot(delta, {BASE_GRADIENT: 1.0}, self._products)
        squared = _dot(delta, delta, self._products)
        terms = [(factor, vector) for vector, factor in delta.items()]
        return Direction(terms, slope, sqrt(max(squared, 0.0)))

    def restart(self) -> None:
        """Drop the history."""
        self._kept = []

    def vectors(self) -> list[int]:
        """Return the gradient, and the pairs."""
        new = [] if self._new is None else [self._new]
        return [BASE_GRADIENT, *_vectors([*self._kept, *new])]

    def state(self) -> dict[str, Any]:
        """Return the pairs and their inner products."""
        known = set(self.vectors())
        products = [[*pair, value] for pair, value in self._products.items() if known.issuperset(pair)]
        return {"kept": list(self._kept), "new": self._new, "products": products, "slope": self._slope}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self._kept, self._new, self._slope = list(state["kept"]), state["new"], state["slope"]
        self._products = {(int(u), int(v)): float(value) for u, v, value in state["products"]}

    def _admit(self) -> None:
        """Let the newest pair take the place of the oldest, unless its curvature is not safely positive."""
        if self._new is None:
            return
        s, y = step(self._new), change(self._new)
        ss, sy, yy = (self._products[pair] for pair in ((s, s), _key(s, y), (y, y)))
        if sy > LEAST_CURVATURE * sqrt(ss) * sqrt(yy):
            self._kept = [*self._kept, self._new][-self._history :]
        self._new = None


def two_loop(pairs: Sequence[Pair], products: Products) -> dict[int, float]:
    """Return the coefficients delta of p = -H g in the vectors of the history and g (Algorithm 7.4).

    Parameters
    ----------
    pairs
        The vectors (s_i, y_i), oldest first; at least one.
    products
        The inner products of all of them and g, which is `operations.BASE_GRADIENT`.
    """
    delta = {vector: 0.0 for pair in pairs for vector in pair} | {BASE_GRADIENT: -1.0}
    alpha: dict[int, float] = {}
    for s, y in reversed(pairs):
        alpha[s] = _dot(delta, {s: 1.0}, products) / products[_key(s, y)]
        delta[y] -= alpha[s]
    s, y = pairs[-1]
    gamma = products[_key(s, y)] / products[y, y]  # equation 7.20: H_0 = gamma I
    delta = {vector: gamma * factor for vector, factor in delta.items()}
    for s, y in pairs:
        beta = _dot(delta, {y: 1.0}, products) / products[_key(s, y)]
        delta[s] += alpha[s] - beta
    return delta


def _dot(left: Mapping[int, float], right: Mapping[int, float], products: Products) -> float:
    """Return the inner product of two combinations of vectors."""
    return sum(a * b * products[_key(u, v)] for u, a in left.items() for v, b in right.items())


def _vectors(pairs: Sequence[int]) -> list[int]:
    return [vector for pair in pairs for vector in (step(pair), change(pair))]


def _key(left: int, right: int) -> Pair:
    return (min(left, right), max(left, right))
