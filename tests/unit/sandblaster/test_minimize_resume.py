"""A minimization that is ended in any pass, saved and resumed, takes the steps of one that was not."""

import json

import numpy as np
import pytest

from dbmpi.comm.operations import BASE, PARAMETERS, Program
from dbmpi.sandblaster.minimize import make, minimize
from dbmpi.sandblaster.optimizer_state import Limits, optimizer_state_of
from tests.doubles.fake_shards import Sliced, quadratic, rosenbrock, rosenbrock_start

LIMITS = Limits(12)


class Noting(Sliced):
    """Keeps what a checkpoint would hold."""

    method = None
    saved = None

    def note(self, state):
        self.saved = json.dumps([state.state(), self.method.state(), self.method.vectors(), self.samples])


def run(objectives, name, stop_at=None, saved=None, stop_after=None):
    """Return the problem, and the losses of its iterations; ended in a pass, or after an iteration."""

    def take(record):
        losses.append(record.loss)
        if record.number == stop_after:
            raise TimeoutError

    method = make(name, 3)
    problem = Noting(objectives, rosenbrock_start(40), method.pairs, 3, stop_at=stop_at)
    problem.method, losses, start = method, [], None
    if saved is not None:
        state, known, numbers, samples = json.loads(saved.saved)
        for number in (PARAMETERS, *numbers):
            problem.put(number, saved.vector(number))
        method.restore(known)
        start, problem.samples = optimizer_state_of(state), samples + (state["at"] is None)
    try:
        minimize(problem, method, LIMITS, take, start)
    except TimeoutError:
        problem.run(Program().copy(PARAMETERS, BASE))
    return problem, losses


@pytest.mark.parametrize("sampled", [False, True])
def test_l_bfgs_ended_in_any_pass_goes_on_as_if_it_had_not(sampled):
    objectives = [rosenbrock, quadratic(40, 10.0)] if sampled else rosenbrock
    whole, losses = run(objectives, "lbfgs")
    for stop_at in range(1, whole.passes):
        first, before = run(objectives, "lbfgs", stop_at)
        second, after = run(objectives, "lbfgs", saved=first)
        assert np.array_equal(second.vector(PARAMETERS), whole.vector(PARAMETERS)), stop_at
        assert before + after == losses


def test_conjugate_gradients_go_on_from_the_end_of_an_iteration():
    whole, losses = run(rosenbrock, "conjugate_gradient")
    for stop_after in range(len(losses) - 1):
        first, before = run(rosenbrock, "conjugate_gradient", stop_after=stop_after)
        second, after = run(rosenbrock, "conjugate_gradient", saved=first)
        assert np.array_equal(second.vector(PARAMETERS), whole.vector(PARAMETERS)), stop_after
        assert before + after == losses
