"""Where a minimization stands between two iterations, and a run with it: plain numbers, no vector. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf, isfinite, sqrt
from typing import Any

from dbmpi.sandblaster.direction import Direction
from dbmpi.sandblaster.line_search import ROUNDING


@dataclass(frozen=True)
class Limits:
    """When to stop; a tolerance of 0 switches its criterion off.

    Parameters
    ----------
    iterations
        At most so many.
    gradient_tolerance
        Stops at |g| <= gradient_tolerance max(1, |x|), in Euclidean norms.
    decrease_tolerance
        Stops at f_k - f_(k+1) <= decrease_tolerance max(|f_k|, |f_(k+1)|). SciPy's `ftol` has a 1 among
        these, which would end a run whose loss goes to 0.001 a thousand times too early.
    """

    iterations: int
    gradient_tolerance: float = 0.0
    decrease_tolerance: float = 0.0

    def flat(self, gradient_norm: float, parameters_norm: float) -> bool:
        """Whether the gradient is small enough; one of 0 is, with any tolerance."""
        return gradient_norm <= self.gradient_tolerance * max(1.0, parameters_norm)

    def level(self, before: float, after: float) -> bool:
        """Whether f decreased too little."""
        tolerance = self.decrease_tolerance
        return tolerance > 0 and before - after <= tolerance * max(abs(before), abs(after))


@dataclass(frozen=True)
class Iterate:
    """What is known at x_k before the step; `gg` is g_k . g_k, `xx` x_k . x_k."""

    loss: float
    gg: float
    xx: float
    direction: Direction

    @property
    def gradient_norm(self) -> float:
        """|g_k|"""
        return sqrt(self.gg)

    @property
    def finite(self) -> bool:
        """Whether there is a way on from here."""
        return isfinite(self.loss) and isfinite(self.gg)

    def exhausted(self, decrease: float, rounding: float) -> bool:
        """Whether a search from here that failed had nothing to find: f fell, or should fall, by rounding."""
        expected_decrease = (
            self.direction.expected_decrease if self.direction.descends(self.gradient_norm) else inf
        )
        return self.finite and min(decrease, expected_decrease) <= rounding


@dataclass(frozen=True)
class OptimizerState:
    """Where a minimization stands between two iterations: all that the coordinator knows but for the method.

    Parameters
    ----------
    first_loss
        That of the start.
    number
        Iterations done.
    decrease, level
        How far the last one lowered the loss, and whether that was too little to go on.
    at
        The iterate; None where the loss and the gradient there are still to be evaluated.
    """

    first_loss: float
    number: int
    decrease: float
    level: bool
    at: Iterate | None

    @property
    def exhausted(self) -> bool:
        """Whether a search from here that failed had nothing to find."""
        return self.at is not None and self.at.exhausted(self.decrease, ROUNDING * abs(self.first_loss))

    def ends(self, limits: Limits) -> bool:
        """Whether one of the tolerances is met."""
        at = self.at  # an infinite gradient is not small, though it may be beside infinite parameters
        return self.level or (at is not None and at.finite and limits.flat(at.gradient_norm, sqrt(at.xx)))

    def after(self, loss: float, limits: Limits) -> "OptimizerState":
        """Return where it stands once a step has been taken, to a point that is not looked at yet."""
        assert self.at is not None
        decrease, level = self.at.loss - loss, limits.level(self.at.loss, loss)
        return OptimizerState(self.first_loss, self.number + 1, decrease, level, None)

    def state(self) -> dict[str, Any]:
        """Return it as plain numbers, for `optimizer_state_of`."""
        return asdict(self)


def optimizer_state_of(state: Mapping[str, Any]) -> OptimizerState:
    """Return what `OptimizerState.state` was made from."""
    at = state["at"]
    if at is not None:
        direction = dict(at["direction"])
        direction["terms"] = [(float(factor), int(vector)) for factor, vector in direction["terms"]]
        at = Iterate(at["loss"], at["gg"], at["xx"], Direction(**direction))
    return OptimizerState(
        state["first_loss"], int(state["number"]), state["decrease"], bool(state["level"]), at
    )


@dataclass(frozen=True)
class RollbackPoint:
    """Where a run stands at an iterate: what a checkpoint or a mirror has of it besides the parameters.

    Parameters
    ----------
    optimizer_state
        None before the first pass.
    method
        `Method.state`; empty where the method has to begin anew.
    vectors
        The numbers of the vectors that the method needs.
    sample
        Number of the sample that the next pass is over.
    """

    optimizer_state: OptimizerState | None = None
    method: Mapping[str, Any] = field(default_factory=dict)
    vectors: Sequence[int] = ()
    sample: int = 0

    def for_return(self, vectors_persist: bool) -> "RollbackPoint":
        """Return the point as it is once the search for the next iterate has begun.

        The loss and the gradient are to be evaluated again. Where vectors do not persist, the search
        overwrites them, and the method has to begin anew.
        """
        at_rest = self.optimizer_state
        state = replace(at_rest, at=None) if at_rest is not None else None
        if vectors_persist:
            return replace(self, optimizer_state=state)
        return RollbackPoint(state, sample=self.sample)
