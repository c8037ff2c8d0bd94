"""Passes over the batch to reach a loss, against SciPy's L-BFGS-B and PyTorch's LBFGS from the same starts.

Counted is every evaluation of function and gradient, those of line searches too. On Rosenbrock's function the
count is chaotic: from one start to the next it differs by a quarter, so sums over many starts are compared.
"""

import numpy as np
import pytest

from dbmpi.sandblaster.minimize import make, minimize
from dbmpi.sandblaster.optimizer_state import Limits
from tests.doubles.fake_shards import Sliced, network, network_start, rosenbrock, rosenbrock_start

optimize = pytest.importorskip("scipy.optimize")
torch = pytest.importorskip("torch")

HISTORY, MOST = 10, 1.1
ITERATIONS, EVALUATIONS = 5000, 10_000


class Reached(Exception):
    """The loss is there."""


class Counted:
    """An objective that counts its evaluations until a loss is reached, and at which each other one was."""

    def __init__(self, objective, losses):
        self._objective, self._losses = objective, list(losses)
        self.evaluations, self.at = 0, []

    def __call__(self, x):
        self.evaluations += 1
        loss, gradient = self._objective(x)
        while self._losses and loss <= self._losses[0]:
            self.at.append(self.evaluations)
            self._losses.pop(0)
        if not self._losses:
            raise Reached
        return loss, gradient


def ours(objective, x0):
    method = make("lbfgs", HISTORY)
    minimize(Sliced(objective, x0, method.pairs), method, Limits(ITERATIONS), lambda record: None)


def scipys(objective, x0):
    options = {"maxcor": HISTORY, "maxiter": ITERATIONS, "maxfun": EVALUATIONS, "ftol": 0, "gtol": 0}
    optimize.minimize(objective, x0, jac=True, method="L-BFGS-B", options=options)


def torchs(objective, x0):
    x = torch.tensor(x0, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [x], 1.0, ITERATIONS, EVALUATIONS, 0, 0, HISTORY, line_search_fn="strong_wolfe"
    )

    def closure():
        loss, gradient = objective(x.detach().numpy().copy())
        x.grad = torch.from_numpy(gradient)
        return torch.tensor(loss, dtype=torch.float64)

    optimizer.step(closure)


def passes(optimizer, objective, starts, losses):
    """Return the evaluations until each loss was reached, summed over the starts."""
    counts = []
    for x0 in starts:
        counted = Counted(objective, losses)
        with pytest.raises(Reached):
            optimizer(counted, x0)
        counts.append(counted.at)
    return np.sum(counts, axis=0)


def compare(objective, starts, losses):
    own = passes(ours, objective, starts, losses)
    for reference in (scipys, torchs):
        theirs = passes(reference, objective, starts, losses)
        print(f"{reference.__name__}: {own} / {theirs} = {np.round(own / theirs, 3)}")
        assert np.all(own <= MOST * theirs), f"{own} passes, {reference.__name__}: {theirs}"


@pytest.mark.parametrize("n", [100, 1000])
def test_rosenbrock_from_the_usual_start(n):
    """And from multiples of it; all pairs of variables go the same way."""
    starts = [scale * np.tile([-1.2, 1.0], n // 2) for scale in (0.5, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0)]
    compare(rosenbrock, starts, [1e-3, 1e-8])


def test_rosenbrock_with_all_pairs_different():
    starts = [rosenbrock_start(n, seed) for n, seeds in ((100, 40), (1000, 16)) for seed in range(seeds)]
    compare(rosenbrock, starts, [1e-8])


def test_a_network_on_the_digits():
    compare(network(), [network_start(seed) for seed in range(8)], [0.1, 0.01, 0.001])
