"""What a method of optimization is to the coordinator: the next direction, from inner products. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any, Protocol

from dbmpi.comm.operations import BASE_GRADIENT, Program, Term

# A cosine of p and -g below this is rounding: f need not fall along p (Nocedal & Wright, equation 3.12).
LEAST_DESCENT = 1e-10


@dataclass(frozen=True)
class Direction:
    """The direction p_k of an iteration.

    Parameters
    ----------
    terms
        The linear combination of vectors that it is.
    slope
        g_k . p_k, the slope of f along it.
    norm
        |p_k|
    alpha
        The step length to try first; 1 is that of Newton's method.
    """

    terms: Sequence[Term]
    slope: float
    norm: float
    alpha: float = 1.0

    def descends(self, gradient_norm: float) -> bool:
        """Whether f falls along it; not so either if one of its numbers is not finite."""
        return 0 < self.alpha < inf and -self.slope > LEAST_DESCENT * gradient_norm * self.norm

    @property
    def expected_decrease(self) -> float:
        """How far f should fall at the first step length, if f is a parabola with its minimum there."""
        return -self.alpha * self.slope / 2


class Method(Protocol):
    """Where to go from an iterate; the first three are called once an iterate, in this order."""

    c2: float  # of the line search
    vectors_persist: bool  # whether `vectors` stay as they are until the next iterate

    @property
    def pairs(self) -> int:
        """How many pair numbers it uses, from 0."""

    def update_history(self, program: Program, slope: float) -> None:
        """Let BASE follow PARAMETERS, and keep what matters of the step; not called at the start.

        GRADIENT and BASE_GRADIENT are those at its two ends, on one sample; `slope` is alpha_k g_k . p_k.
        """

    def request_products(self, program: Program) -> None:
        """Let BASE_GRADIENT follow GRADIENT, now that of the sample to come, and ask for inner products."""

    def direction(self, scalars: Sequence[float]) -> Direction:
        """Return p_k, from the answers."""

    def restart(self) -> None:
        """Begin anew: the next step is along the negative gradient."""

    def vectors(self) -> list[int]:
        """Return the vectors that it needs at an iterate, besides PARAMETERS and BASE, which is the same."""

    def state(self) -> dict[str, Any]:
        """Return what it knows at an iterate as plain numbers, for `restore`."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, of the same method with the same history."""


def steepest(gg: float, slope: float | None = None) -> Direction:
    """Return p = -g.

    Parameters
    ----------
    gg
        g . g
    slope
        alpha_(k-1) g_(k-1) . p_(k-1) of the step before: this one shall change f as much, to first order
        (Nocedal & Wright, section 3.5). Without it, the first step to try has length 1 at most.
    """
    norm = sqrt(gg)
    alpha = -slope / gg if slope and gg else min(1.0, 1 / norm) if norm else 1.0
    return Direction([(-1.0, BASE_GRADIENT)], -gg, norm, alpha)
