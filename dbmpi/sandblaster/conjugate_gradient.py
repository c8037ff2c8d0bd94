"""The direction of nonlinear conjugate gradients. Pure.

    p_k = -g_k + beta_k p_(k-1),    beta_k = max(0, g_k . (g_k - g_(k-1)) / g_(k-1) . g_(k-1))

Polak-Ribiere+ (Nocedal & Wright, 2nd ed., Algorithm 5.4 with equations 5.44 and 5.45).
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from dbmpi.comm.operations import BASE, BASE_GRADIENT, DIRECTION, GRADIENT, PARAMETERS, Program
from dbmpi.sandblaster.direction import Direction, steepest


class ConjugateGradient:
    """Needs no history: the direction before is still there."""

    c2 = 0.1
    vectors_persist = False  # the direction is the next one from the first step of a search on
    pairs = 0

    def __init__(self) -> None:
        self._slope: float | None = None
        self._gg = 0.0

    def update_history(self, program: Program, slope: float) -> None:
        """Put the gradient's change along the step just taken where the gradient before it was."""
        self._slope = slope
        program.copy(BASE, PARAMETERS)
        program.combine(BASE_GRADIENT, [(1.0, GRADIENT), (-1.0, BASE_GRADIENT)])

    def request_products(self, program: Program) -> None:
        """Ask for the products of beta, and of the new direction with itself and g."""
        program.dots([(GRADIENT, GRADIENT)])
        if self._slope is not None:
            program.dots([(GRADIENT, BASE_GRADIENT), (GRADIENT, DIRECTION), (DIRECTION, DIRECTION)])
        program.copy(BASE_GRADIENT, GRADIENT)

    def direction(self, scalars: Sequence[float]) -> Direction:
        """Return p_k; its first step length matches the step before to first order (section 3.5)."""
        gg_before, self._gg = self._gg, scalars[0]
        if self._slope is None:
            return steepest(self._gg)
        gg, gy, gp, pp = scalars
        beta = max(0.0, gy / gg_before) if gg_before else 0.0
        slope = -gg + beta * gp
        norm = sqrt(max(gg - 2 * beta * gp + beta * beta * pp, 0.0))
        alpha = self._slope / slope if slope < 0 else 1.0
        return Direction([(-1.0, BASE_GRADIENT), (beta, DIRECTION)], slope, norm, alpha)

    def restart(self) -> None:
        """Nothing: a step along -g is the first of a new series in any case."""

    def vectors(self) -> list[int]:
        """Return the gradient, and the direction before."""
        return [BASE_GRADIENT, DIRECTION]

    def state(self) -> dict[str, Any]:
        """Return g . g and the slope of the step before."""
        return {"slope": self._slope, "gg": self._gg}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self._slope, self._gg = state["slope"], float(state["gg"])
