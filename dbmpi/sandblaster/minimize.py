"""The optimizer on the coordinator: it decides by scalars, and never holds a vector. Pure.

Sandblaster (Dean et al. 2012, section 4.2): the vectors are on the shards, and the coordinator sends them
small operations. Here is the loop that all batch methods share,

    p_k from the method;  alpha_k by a line search;  x_(k+1) = x_k + alpha_k p_k

A direction costs two round trips whatever the length of the history: one stores the step just taken and
answers the inner products that are new, the other, ahead of the first evaluation, combines the direction and
goes along it. Each evaluation adds one, for the slope.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Protocol

from dbmpi.comm.operations import BASE, DIRECTION, GRADIENT, PARAMETERS, Program
from dbmpi.coordinator.stopping import End
from dbmpi.sandblaster.conjugate_gradient import ConjugateGradient
from dbmpi.sandblaster.direction import Direction, Method, steepest
from dbmpi.sandblaster.lbfgs import LBFGS
from dbmpi.sandblaster.line_search import Trial, search
from dbmpi.sandblaster.optimizer_state import Iterate, Limits, OptimizerState


class Problem(Protocol):
    """Vectors that are held elsewhere, by number, and the objective."""

    sampled: bool  # whether the batch is another sample in each iteration

    def run(self, program: Program) -> list[float]:
        """Perform a program in one round trip; return its dot products, in order."""

    def evaluate(self, before: Program) -> float:
        """Run a program, then a pass over the batch: return f(PARAMETERS); its gradient is then GRADIENT."""

    def resample(self) -> None:
        """Let the passes that follow be over the next sample."""

    def note(self, state: OptimizerState) -> None:
        """Remember where the minimization stands: should it be ended now, it can go on from there."""


@dataclass(frozen=True)
class Iteration:
    """What one iteration did; number 0 is the start.

    `loss` and `gradient_norm` are those at its end (of the sample that comes next, if there are samples),
    `evaluations` its passes over the batch, and `restarted` says that it went along the negative gradient for
    want of a better direction. `line_search` has step length and loss of each point that it tried, in order.
    """

    number: int
    loss: float
    gradient_norm: float
    step_length: float
    evaluations: int
    restarted: bool
    line_search: tuple[tuple[float, float], ...] = ()


def make(name: str, history: int) -> Method:
    """Return the method of this name, "lbfgs" or "conjugate_gradient"; only the first has a history."""
    return _MAKERS[name](history)


_MAKERS: dict[str, Callable[[int], Method]] = {
    "lbfgs": LBFGS,
    "conjugate_gradient": lambda history: ConjugateGradient(),
}


def minimize(
    problem: Problem,
    method: Method,
    limits: Limits,
    on_iteration: Callable[[Iteration], None],
    state: OptimizerState | None = None,
) -> End:
    """Minimize f from PARAMETERS; the best iterate is there at the end, and in BASE at any time.

    What the problem or `on_iteration` raises passes through. From a `state`, that of an earlier run,
    minimization goes on as if it had not been interrupted; PARAMETERS, the method, and the vectors that it
    needs (`Method.vectors`) must be as they were.

    Returns
    -------
    str
        "converged" by one of the tolerances, or because f cannot be seen to fall any more; "iterations" when
        they are used up; "failed" when f or its gradient is not finite at an iterate, or f does not fall
        along the negative gradient though it should.
    """
    problem.run(Program().copy(BASE, PARAMETERS))
    if state is None or state.at is None:
        at = _measure(problem, method, Program(), problem.evaluate(Program()))
        state = replace(state, at=at) if state else OptimizerState(at.loss, 0, inf, False, at)
        problem.note(state)
        on_iteration(Iteration(state.number, at.loss, at.gradient_norm, 0.0, 1, False))
    while state.at is not None and not state.ends(limits):
        if state.number >= limits.iterations:
            return "iterations"
        step = _step(problem, method, state.at) if state.at.finite else None
        if step is None:
            problem.run(Program().copy(PARAMETERS, BASE))
            return "converged" if state.exhausted else "failed"
        state = _advance(problem, method, step, state.after(step.end.phi, limits))
        assert state.at is not None
        problem.note(state)
        on_iteration(step.report(state.number, state.at, problem.sampled))
    return "converged"


@dataclass(frozen=True)
class _Step:
    """A step that was taken: where the search ended, along what, and what it cost."""

    end: Trial
    direction: Direction
    tried: tuple[Trial, ...]
    restarted: bool

    def report(self, number: int, at: Iterate, anew: int) -> Iteration:
        passes, search = len(self.tried) + anew, tuple((one.alpha, one.phi) for one in self.tried)
        return Iteration(number, at.loss, at.gradient_norm, self.end.alpha, passes, self.restarted, search)


class _Line:
    """phi(alpha) = f(x_k + alpha p_k): a pass over the batch and two round trips, the first ahead of it."""

    def __init__(self, problem: Problem, direction: Direction) -> None:
        self._problem = problem
        self._before = Program().combine(DIRECTION, direction.terms)
        self.tried: list[Trial] = []

    def __call__(self, alpha: float) -> Trial:
        phi = self._problem.evaluate(self._before.combine(PARAMETERS, [(1.0, BASE), (alpha, DIRECTION)]))
        self._before = Program()
        (slope,) = self._problem.run(Program().dots([(GRADIENT, DIRECTION)]))
        self.tried.append(Trial(alpha, phi, slope))
        return self.tried[-1]


def _step(problem: Problem, method: Method, at: Iterate) -> _Step | None:
    """Search along the direction; if that is no good, along the negative gradient."""
    tried: tuple[Trial, ...] = ()
    for direction in (at.direction, steepest(at.gg)):
        restarted = direction is not at.direction
        if restarted:
            if direction == at.direction:  # the same search would fail again
                break
            method.restart()
        if direction.descends(at.gradient_norm):
            line = _Line(problem, direction)
            end = search(line, Trial(0.0, at.loss, direction.slope), direction.alpha, method.c2)
            tried += tuple(line.tried)
            if end is not None:
                return _Step(end, direction, tried, restarted)
    return None


def _advance(problem: Problem, method: Method, step: _Step, state: OptimizerState) -> OptimizerState:
    """Make the point reached the iterate; with samples, see it anew in the next one.

    The gradient's change y is thus taken on one sample, that of the step, at both of its ends.
    """
    program, loss = Program(), step.end.phi
    method.update_history(program, step.end.alpha * step.direction.slope)
    if problem.sampled:
        problem.run(program)
        problem.note(state)
        problem.resample()
        program, loss = Program(), problem.evaluate(Program())
    return replace(state, at=_measure(problem, method, program, loss))


def _measure(problem: Problem, method: Method, program: Program, loss: float) -> Iterate:
    """Run a program and learn what there is to know at an iterate."""
    method.request_products(program.dots([(GRADIENT, GRADIENT), (PARAMETERS, PARAMETERS)]))
    gg, xx, *scalars = problem.run(program)
    return Iterate(loss, gg, xx, method.direction(scalars))
