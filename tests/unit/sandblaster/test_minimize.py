"""The optimizer over vectors in slices: where it arrives, what that costs, and how it ends when it cannot."""

import math
import zlib

import numpy as np
import pytest

from dbmpi.comm.operations import BASE, BASE_GRADIENT, DIRECTION, GRADIENT, PARAMETERS, Kind, Program
from dbmpi.sandblaster import line_search
from dbmpi.sandblaster.direction import Direction
from dbmpi.sandblaster.line_search import EVALUATIONS
from dbmpi.sandblaster.minimize import make, minimize
from dbmpi.sandblaster.optimizer_state import Limits
from tests.doubles.fake_shards import (
    Sliced,
    network,
    network_start,
    quadratic,
    rosenbrock,
    rosenbrock_start,
)

METHODS = ["lbfgs", "conjugate_gradient"]


class Run:
    """A minimization: its end, its records, and what the shards hold."""

    def __init__(self, objectives, x0, limits, method="lbfgs", history=10, double=Sliced, **options):
        self.method = make(method, history)
        self.shards = double(objectives, np.asarray(x0, float), self.method.pairs, **options)
        self.records, self.iterates = [], []
        self.end = minimize(self.shards, self.method, limits, self._on_iteration)
        self.x, self.last = self.shards.vector(PARAMETERS), self.records[-1]
        assert np.array_equal(self.x, self.shards.vector(BASE)), "the end must be the best iterate"
        assert [record.number for record in self.records] == list(range(len(self.records)))

    def _on_iteration(self, record):
        self.records.append(record)
        self.iterates.append(self.shards.vector(BASE))

    @property
    def restarts(self):
        return sum(record.restarted for record in self.records)


# --- it converges


@pytest.mark.parametrize("slices", [1, 2, 5])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [100, 1000])
def test_rosenbrock(n, method, slices):
    run = Run(rosenbrock, rosenbrock_start(n), Limits(4000, 1e-6), method, slices=slices)
    assert run.end == "converged" and run.restarts == 0
    assert np.allclose(run.x, 1.0, atol=1e-4)
    assert run.last.gradient_norm <= 1e-6 * np.linalg.norm(run.x)


@pytest.mark.parametrize("slices", [1, 2, 5])
@pytest.mark.parametrize("method", METHODS)
def test_a_quadratic_of_condition_1e6(method, slices):
    x0 = np.random.default_rng(0).normal(size=20)
    run = Run(quadratic(20, 1e6), x0, Limits(4000, 1e-3), method, slices=slices)
    assert run.end == "converged" and run.last.loss <= 1e-10 * run.records[0].loss


@pytest.mark.parametrize("method", METHODS)
def test_slices_change_rounding_only(method):
    """The sums of slices differ in the last bit; 15 iterations on, that is still nothing."""
    for objective, x0 in ((rosenbrock, rosenbrock_start(100)), (quadratic(100, 1e6), np.ones(100))):
        runs = [Run(objective, x0, Limits(15), method, slices=slices) for slices in (1, 2, 5)]
        for run in runs[1:]:
            assert run.shards.passes == runs[0].shards.passes
            assert np.allclose(run.iterates, runs[0].iterates, rtol=1e-6, atol=1e-6)


def test_it_is_deterministic():
    runs = [Run(rosenbrock, rosenbrock_start(100), Limits(60), slices=3) for _ in range(2)]
    assert runs[0].records == runs[1].records and np.array_equal(runs[0].x, runs[1].x)


@pytest.mark.parametrize("history", [0, 1, 2, 50])
def test_any_length_of_history(history):
    run = Run(quadratic(20, 50.0), np.ones(20), Limits(2000, 1e-8), history=history)
    assert run.end == "converged" and run.method.pairs == (history + 1 if history else 0)


def test_without_history_a_step_begins_with_the_length_of_the_one_before():
    """A small gradient needs long steps, which are not looked for anew each time."""
    f = quadratic(20, 50.0)
    run = Run(lambda x: tuple(1e-3 * part for part in f(x)), np.ones(20), Limits(2000, 1e-11), history=0)
    assert run.end == "converged" and run.shards.passes < 1.5 * run.last.number


def test_conjugate_gradients_are_those_of_the_formula():
    method, g, p = make("conjugate_gradient", 0), np.ones(20), -np.ones(20)
    rng = np.random.default_rng(3)
    shards = Sliced(None, np.zeros(20), slices=2)
    for number in range(12):
        shards.put(GRADIENT, g)
        program = Program()
        if number:
            method.update_history(program, -2.5)
        method.request_products(program)
        direction = method.direction(shards.run(program))
        shards.run(Program().combine(DIRECTION, direction.terms))
        assert np.allclose(shards.vector(DIRECTION), p, rtol=1e-12)
        assert direction.slope == pytest.approx(g @ p) and direction.norm == pytest.approx(np.linalg.norm(p))
        assert not number or g @ p >= 0 or direction.alpha == pytest.approx(-2.5 / (g @ p))
        before, g = g, rng.normal(size=20)
        p = -g + max(0.0, g @ (g - before) / (before @ before)) * p


def test_conjugate_gradients_end_on_a_quadratic():
    """With searches nearly exact, n distinct eigenvalues take about n iterations."""
    a = np.array([1.0, 2.0, 5.0, 10.0, 20.0])
    method = make("conjugate_gradient", 10)
    assert method.pairs == 0
    method.c2 = 1e-6
    shards, records = Sliced(lambda x: (float(a * x @ x) / 2, a * x), np.ones(5)), []
    assert minimize(shards, method, Limits(50, 1e-8), records.append) == "converged"
    assert len(records) - 1 <= 8


# --- what it costs


@pytest.mark.parametrize("history", [0, 1, 5, 20])
def test_two_round_trips_a_direction_and_one_an_evaluation(history):
    run = Run(rosenbrock, rosenbrock_start(100), Limits(40), history=history)
    passes = [record.evaluations for record in run.records]
    assert run.shards.passes == sum(passes) and passes[0] == 1 and max(passes) > 1
    # The start: BASE, and what is known there. An iteration: one for the new products, one ahead of the first
    # evaluation (which `evaluate` makes), and one after each evaluation.
    assert run.shards.trips == 2 + sum(1 + count for count in passes[1:])
    assert max(run.shards.scalars) <= 2 + 6 * history + 6


def test_first_step():
    """Of length 1 where the gradient is steep, and the gradient where it is not; later the Newton step."""
    for scale, alpha in ((100.0, 0.01), (0.1, 1.0)):
        run = Run(lambda x, c=scale: (c * x[0], np.array([c])), [0.0], Limits(1))
        assert run.shards.losses[1] == pytest.approx(-(scale**2) * alpha)
    run = Run(quadratic(30, 10.0), np.ones(30), Limits(20))
    assert [record.step_length for record in run.records].count(1.0) >= 15


# --- how it ends


def test_tolerances():
    limits = Limits(1000, gradient_tolerance=1e-3)
    run = Run(rosenbrock, rosenbrock_start(100), limits)
    gradients = [record.gradient_norm for record in run.records]
    norms = [norm / np.linalg.norm(x) for norm, x in zip(gradients, run.iterates, strict=True)]
    assert run.end == "converged" and norms[-1] <= 1e-3 < min(norms[:-1])
    run = Run(rosenbrock, rosenbrock_start(100), Limits(1000, decrease_tolerance=1e-2))
    falls = [1 - b.loss / a.loss for a, b in zip(run.records, run.records[1:], strict=False)]
    assert run.end == "converged" and falls[-1] <= 1e-2 < min(falls[:-1])
    run = Run(rosenbrock, rosenbrock_start(100), Limits(7))
    assert run.end == "iterations" and run.last.number == 7
    run = Run(rosenbrock, rosenbrock_start(100), Limits(0))
    assert run.end == "iterations" and run.shards.passes == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("x0", [np.zeros(20), np.ones(20)])
def test_nothing_to_do(method, x0):
    """A start at the optimum, and a function that is flat."""
    for f in (lambda x: (float((x - x0) @ (x - x0)), 2 * (x - x0)), lambda x: (3.0, np.zeros(20))):
        run = Run(f, x0, Limits(100), method)
        assert (run.end, run.shards.passes, len(run.records)) == ("converged", 1, 1)
        assert np.array_equal(run.x, x0)


@pytest.mark.parametrize(
    ("loss", "gradient"), [(math.nan, 1), (math.inf, 1), (-math.inf, 1), (1.0, math.nan), (1.0, math.inf)]
)
@pytest.mark.parametrize("method", METHODS)
def test_a_start_that_is_not_finite_fails(method, loss, gradient):
    run = Run(lambda x: (loss, np.full(3, gradient)), np.ones(3), Limits(100), method)
    assert run.end == "failed" and run.shards.passes == 1 and np.array_equal(run.x, np.ones(3))


@pytest.mark.parametrize("method", METHODS)
def test_an_infinite_gradient_is_not_flat_beside_infinite_parameters(method):
    far = np.full(3, 1e200)  # their dot product is infinite in float64
    run = Run(lambda x: (1.0, np.full(3, 1e200)), far, Limits(100, gradient_tolerance=1e-6), method)
    assert run.end == "failed"


@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_with_the_wrong_sign_fails(method):
    run = Run(lambda x: (float(x @ x) + 1, -2 * x), np.ones(5), Limits(100), method)
    assert run.end == "failed" and run.shards.passes == 1 + EVALUATIONS
    assert np.array_equal(run.x, np.ones(5))


@pytest.mark.parametrize("bad", [math.inf, math.nan])
@pytest.mark.parametrize("method", METHODS)
def test_a_region_that_is_not_finite_is_walked_around(method, bad):
    """-log of the distances to two walls, with nothing beyond; the first steps lead there."""

    def barrier(x):
        if np.any(abs(x) >= 1):
            return bad, np.full_like(x, bad)
        return float(np.sum(100 * (x - 0.9) ** 2 - np.log(1 - x * x))), 200 * (x - 0.9) + 2 * x / (1 - x * x)

    run = Run(barrier, np.linspace(-0.99, 0.99, 20), Limits(200, 1e-6), method)
    assert run.end == "converged" and np.ptp(run.x) < 1e-6 and not np.all(np.isfinite(run.shards.losses))


@pytest.mark.parametrize("method", METHODS)
def test_a_minimum_beyond_a_wall_is_approached(method):
    """f falls towards the wall, and curves down: no pair is fit for the history."""

    def f(x):
        return (float(-x @ x), -2 * x) if x @ x < 4 else (math.inf, np.full_like(x, math.nan))

    run = Run(f, np.full(5, 0.1), Limits(100), method)
    assert run.end in ("converged", "failed")
    assert 1.99 < np.linalg.norm(run.x) < 2 and run.last.loss == min(record.loss for record in run.records)
    assert method != "lbfgs" or run.method._kept == []


@pytest.mark.parametrize("method", METHODS)
def test_negative_curvature_on_the_way(method):
    """A double well from near its ridge."""

    def wells(x):
        return float(np.sum(x**4 / 4 - x**2 / 2)), x**3 - x

    run = Run(wells, np.linspace(-0.1, 0.1, 20), Limits(200, 1e-8), method)
    assert run.end == "converged" and np.allclose(abs(run.x), 1.0)


# --- restarts


class Misled:
    """A method that once gives another direction."""

    def __init__(self, method, wrong):
        self._method, self._wrong = method, wrong
        self._looks = 0

    def __getattr__(self, name):
        return getattr(self._method, name)

    def direction(self, scalars):
        right = self._method.direction(scalars)
        self._looks += 1
        return self._wrong if self._looks == 6 else right


UPHILL = [(1.0, BASE_GRADIENT)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("wrong", "passes"),
    [
        (Direction(UPHILL, slope=0.0, norm=1.0), 0),
        (Direction(UPHILL, slope=-1e-12, norm=1.0), 0),
        (Direction(UPHILL, slope=math.nan, norm=1.0), 0),
        (Direction(UPHILL, slope=-1.0, norm=math.nan), 0),
        (Direction(UPHILL, slope=-1.0, norm=1.0, alpha=0.0), 0),
        (Direction(UPHILL, slope=-1.0, norm=1.0), EVALUATIONS),  # looks like a descent; the search finds out
    ],
)
def test_a_direction_that_is_no_good_is_replaced_by_the_gradient(method, wrong, passes):
    runs = []
    for direction in (Direction(UPHILL, slope=1.0, norm=1.0), wrong):
        misled = Misled(make(method, 10), direction)
        shards, records = Sliced(rosenbrock, rosenbrock_start(100), misled.pairs), []
        assert minimize(shards, misled, Limits(4000, 1e-6), records.append) == "converged"
        assert [record.number for record in records if record.restarted] == [6]
        assert shards.passes == sum(record.evaluations for record in records)
        runs.append(records)
    assert runs[1][6].evaluations == runs[0][6].evaluations + passes
    assert runs[1][-1] == runs[0][-1]


def test_a_restart_drops_the_history():
    misled = Misled(make("lbfgs", 10), Direction(UPHILL, slope=1.0, norm=1.0))
    kept = []
    shards = Sliced(rosenbrock, rosenbrock_start(100), misled.pairs)
    minimize(shards, misled, Limits(8), lambda record: kept.append(len(misled._kept)))
    assert kept == [0, 1, 2, 3, 4, 5, 1, 2, 3]


# --- float32


def test_float32_near_convergence(monkeypatch):
    """1 + a quadratic, off by some roundings of float32: it stands still long before the gradient does."""
    a = np.geomspace(1, 100, 50).astype(np.float32)

    def f(x):
        roundings = zlib.crc32(x.tobytes()) % 5 - 2
        return float(np.float32(1 + float(a * x @ x) / 2 + 6e-8 * roundings)), a * x

    x0 = np.random.default_rng(0).normal(size=50)
    run = Run(f, x0, Limits(500, 1e-6), dtype=np.float32)
    assert run.end == "converged" and run.restarts == 0 and run.last.gradient_norm <= 1e-6
    assert run.shards.passes <= 1.2 * run.last.number
    monkeypatch.setattr(line_search, "ROUNDING", 0.0)  # without the approximate Wolfe condition
    assert Run(f, x0, Limits(500, 1e-6), dtype=np.float32).last.gradient_norm > 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_a_network_in_float32_goes_as_far_as_float32_does(method):
    run = Run(network(np.float32), network_start(), Limits(200), method, dtype=np.float32)
    assert run.end == "converged" and run.last.loss < 1e-7
    usual = [record.evaluations for record in run.records if record.loss > 1e-6]
    assert np.mean(usual) < (1.2 if method == "lbfgs" else 3)


# --- samples


class Watched(Sliced):
    """Sees to it that each pair, and each base, is of one sample."""

    pairs = 0

    def perform(self, program):
        if Kind.COMMIT in program.records["kind"]:
            self.pairs += 1
            self.check(GRADIENT, PARAMETERS)
            self.check(BASE_GRADIENT, BASE)
        return super().perform(program)

    def check(self, gradient, point):
        assert np.array_equal(self.vector(gradient), self.objective(self.vector(point))[1])


def samples(count=8, rows=200, n=20):
    """Return least-squares problems, all with nearly the same solution, and that."""
    rng = np.random.default_rng(5)
    solution = rng.normal(size=n)

    def objective(a, b):
        return lambda x: (float((a @ x - b) @ (a @ x - b)) / (2 * len(b)), a.T @ (a @ x - b) / len(b))

    def sample():
        a = rng.normal(size=(rows, n)) * np.geomspace(1, 10, n)
        return objective(a, a @ solution + 0.01 * rng.normal(size=rows))

    return [sample() for _ in range(count)], solution


@pytest.mark.parametrize("method", METHODS)
def test_with_samples_a_pair_is_of_one_sample(method):
    objectives, solution = samples()
    run = Run(objectives, np.zeros(20), Limits(60), method, double=Watched, slices=2)
    steps = run.last.number
    assert run.shards.samples == steps
    assert run.shards.passes == sum(record.evaluations for record in run.records)
    assert run.shards.pairs == (steps if method == "lbfgs" else 0)
    run.shards.check(BASE_GRADIENT, BASE)
    assert np.linalg.norm(run.x - solution) < 0.01 * np.linalg.norm(solution)
    assert run.last.loss == run.shards.objective(run.x)[0]  # of the sample to come
    assert min(record.evaluations for record in run.records[1:]) == 2  # one of them for the new sample


def test_a_sample_that_is_not_finite_ends_it():
    run = Run([quadratic(5, 10.0), lambda x: (math.nan, x)], np.ones(5), Limits(10))
    assert run.end == "failed" and run.last.number == 1 and np.all(np.isfinite(run.x))


# --- exceptions of the caller's


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop_at", range(12))
def test_what_the_problem_raises_passes_through_and_leaves_a_valid_base(method, stop_at):
    x0 = rosenbrock_start(100)
    method = make(method, 10)
    shards, records = Sliced(rosenbrock, x0, method.pairs, stop_at=stop_at), []
    with pytest.raises(TimeoutError):
        minimize(shards, method, Limits(100), records.append)
    base = shards.vector(BASE)
    if records:
        assert rosenbrock(base)[0] == records[-1].loss == min(record.loss for record in records)
    else:
        assert np.array_equal(base, x0)


def test_what_on_iteration_raises_passes_through():
    def stop(record):
        if record.number == 3:
            raise KeyboardInterrupt

    shards = Sliced(rosenbrock, rosenbrock_start(100), make("lbfgs", 5).pairs)
    with pytest.raises(KeyboardInterrupt):
        minimize(shards, make("lbfgs", 5), Limits(100), stop)
    assert np.array_equal(shards.vector(PARAMETERS), shards.vector(BASE))
