"""No update makes a parameter or a state infinite; what is refused leaves no trace, and is counted."""

import numpy as np
import pytest

from dbmpi.comm.protocol import RECENT, Status
from dbmpi.config.algorithms import Downpour
from dbmpi.layout.sharding import Piece
from dbmpi.server.held import Held
from dbmpi.server.magnitudes import largest
from dbmpi.server.rules import make
from dbmpi.server.shard import Shard

RULES = ["sgd", "momentum", "adagrad", "adam", "adarevision"]
N = 40


def shard(rule: str, dtype: type = np.float32, **keys: float) -> Shard:
    config = Downpour(rule=rule, **keys)
    return Shard(0, {Piece(0, 0, 0, 0, N): np.ones(N, dtype)}, make(config), config)


def one(value: float, dtype: type = np.float32) -> np.ndarray:
    """Return a gradient with one large element."""
    gradient = np.full(N, 0.5, dtype)
    gradient[3] = value
    return gradient


def vectors(made: Shard) -> np.ndarray:
    return np.array([made.held[0].value, *made.held[0].states])


@pytest.mark.parametrize("value", [1e20, -1e20, 1e38, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("rule", RULES)
def test_a_large_gradient_is_used_or_refused_and_never_stored_as_infinity(rule, value):
    made = shard(rule)
    made.push(0, one(1.0), 0, 0.1)
    before = vectors(made)
    status = made.push(0, one(value), 1, 0.1)
    usable = abs(value) <= {"sgd": 1e38, "momentum": 1e20}.get(rule, 0)  # these do not square it
    assert status is (Status.OK if usable else Status.NOT_FINITE)
    assert np.isfinite(vectors(made)).all()
    if not usable:
        assert np.array_equal(vectors(made), before) and made.held[0].version == 1
        assert made.report()["not_finite"] == 1
    made.push(0, one(1.0), 1, 0.1)
    assert np.all(made.held[0].value != before[0]), "a parameter does not move any more"


@pytest.mark.parametrize("rule", RULES)
def test_float64_holds_what_float32_does_not(rule):
    made = shard(rule, np.float64)
    assert made.push(0, one(1e38, np.float64), 0, 0.1) is Status.OK
    assert made.push(0, one(1e155, np.float64), 0, 0.1) is Status.NOT_FINITE  # nor its square a float64


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rate", [1e30, 1e39, 1e300])
def test_a_rate_that_the_precision_does_not_hold(rule, rate):
    made = shard(rule)
    statuses = [made.push(0, one(1e5), 0, rate) for _ in range(5)]
    assert np.isfinite(vectors(made)).all()
    assert rate == 1e30 or set(statuses) == {Status.NOT_FINITE}


@pytest.mark.parametrize(
    ("rule", "value"), [("sgd", 1e37), ("momentum", 1e37), ("adagrad", 4e18), ("adarevision", 4e18)]
)
def test_what_adds_up_is_bounded_too(rule, value):
    made = shard(rule)
    statuses = [made.push(0, one(value), 0, 1.0) for _ in range(40)]
    assert statuses[0] is Status.OK and statuses[-1] is Status.NOT_FINITE
    held = vectors(made)
    assert np.isfinite(held).all() and np.abs(held).max() <= np.finfo("f4").max / 4


@pytest.mark.parametrize("rule", RULES)
def test_bounds_grow_by_many_small_updates_without_refusing_one(rule):
    made, rng = shard(rule, epsilon=1e-38), np.random.default_rng(0)  # with which bounds say little
    for _ in range(30):
        gradient = rng.normal(size=N).astype(np.float32)
        assert made.push(0, gradient, 0, 0.1) is Status.OK
    assert made.held[0].version == 30


@pytest.mark.parametrize("rule", RULES)
def test_an_update_that_was_tried_on_copies_is_the_same_update(rule):
    plain, tried = shard(rule), shard(rule)
    gradients = np.random.default_rng(1).normal(size=(6, N)).astype(np.float32)
    out = np.zeros(N, np.float32)
    for gradient in gradients:
        assert plain.push(0, gradient, 0, 0.1, np.empty_like(out)) is Status.OK
        held = tried.held[0]
        assert held._try(tried.rule, gradient, 0.1, out)
        assert np.array_equal(out, held.value)
    np.testing.assert_allclose(vectors(tried), vectors(plain), rtol=1e-6)
    assert tried.held[0].version == plain.held[0].version == 6


@pytest.mark.parametrize("rule", ["adagrad", "adam", "adarevision"])
def test_a_state_that_was_infinite_when_it_was_saved_is_not_silent(rule):
    made = shard(rule)
    made.held[0].states[-1][7] = np.inf
    made.restore([3])
    for _ in range(RECENT):
        assert made.push(0, one(1.0), 3, 0.1) is Status.NOT_FINITE
    assert made.report()["recent_not_finite"] == RECENT


def test_the_users_own_limit_comes_first():
    made = shard("adagrad", max_gradient_norm=10.0)
    assert made.push(0, one(1e20), 0, 0.1) is Status.TOO_LARGE
    assert (made.report()["recent"], made.report()["recent_not_finite"]) == (1, 0)


def test_the_last_pushes_are_remembered_and_stale_ones_are_not_judged():
    made = shard("sgd", max_staleness=1)
    for n in range(RECENT):
        made.push(0, one(np.nan if n < 30 else 1.0), made.held[0].version, 0.1)
    made.push(0, one(np.nan), 0, 0.1)
    report = made.report()
    assert (report["recent"], report["recent_not_finite"], report["stale"]) == (RECENT, 30, 1)
    for _ in range(10):
        made.push(0, one(1.0), made.held[0].version, 0.1)
    assert made.report()["recent_not_finite"] == 20


def test_the_piece_that_refuses_most_is_reported():
    config = Downpour(rule="sgd")
    pieces = [Piece(n, 0, 0, 5 * n, 5 * n + 5) for n in range(3)]
    made = Shard(0, {piece: np.ones(5, "f4") for piece in pieces}, make(config), config)
    for n, bad in enumerate([1, 3, 2]):
        for k in range(5):
            made.push(n, np.full(5, np.inf if k < bad else 0.0, "f4"), 0, 0.1)
    assert (made.report()["recent"], made.report()["recent_not_finite"]) == (5, 3)


@pytest.mark.parametrize(("updates", "judged"), [(0, 0), (7, 7), (900, RECENT)])
def test_updates_before_a_checkpoint_were_not_refused(updates, judged):
    held = Held(np.ones(3), [])
    held.count_from(updates)
    assert (held.version, held.recent.judged, held.recent.refused) == (updates, judged, 0)


def test_an_empty_piece():
    held = Held(np.empty(0, "f4"), [])
    assert held.update(make(Downpour(rule="sgd")), np.empty(0, "f4"), 0.0, 0.1, None)
    assert held.bounds == (0.0,) and largest(np.dtype("f4")) == pytest.approx(4.25e37, rel=0.01)
