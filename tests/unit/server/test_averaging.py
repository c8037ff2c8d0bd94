"""The average of the parameters against one computed from the parameters after every update."""

import numpy as np
import pytest

from dbmpi.comm.protocol import Status
from dbmpi.config.algorithms import Downpour
from dbmpi.layout.sharding import Piece
from dbmpi.server.averaging import averaged, share
from dbmpi.server.held import CHUNK
from dbmpi.server.rounds import Mean
from dbmpi.server.rules import STATES, make
from dbmpi.server.shard import Shard

N = 40
PIECE = Piece(0, 0, 0, 0, N)


def shard(rule: str = "adagrad", decay: float = 0.99, dtype: type = np.float64, **keys: float) -> Shard:
    config = Downpour(rule=rule, **keys)
    values = np.linspace(-1, 1, N).astype(dtype)
    return Shard(0, {PIECE: values}, averaged(make(config), decay), config)


def mean_of(iterates: list[np.ndarray], decay: float) -> np.ndarray:
    """Return the average after all iterates, the first of which is the start, by its definition."""
    average, last = iterates[0], 0
    for t, values in enumerate(iterates[1:], start=1):
        if t <= 512 or (t - 512) % 32 == 0:
            kept = min(decay, (1 + t) / (10 + t)) ** (t - last)
            average, last = kept * average + (1 - kept) * values, t
    return average


def learn(made: Shard, updates: int, seed: int = 0) -> list[np.ndarray]:
    """Return the parameters before the first update, and after each."""
    rng, held = np.random.default_rng(seed), made.held[0]
    iterates, outs = [held.value.copy()], (None, np.zeros(N, held.value.dtype))
    for t in range(updates):
        gradient = (iterates[-1] - 0.3 + rng.normal(size=N)).astype(held.value.dtype)
        assert made.push(0, gradient, held.version, 0.05, outs[t % 2]) is Status.OK
        iterates.append(held.value.copy())
    return iterates


@pytest.mark.parametrize("updates", [1, 7, 512, 543, 700])
@pytest.mark.parametrize("rule", STATES)
def test_the_average_is_that_of_the_parameters_after_each_update(rule, updates):
    made, plain = shard(rule), Shard(0, {PIECE: np.linspace(-1, 1, N)}, make(Downpour(rule=rule)), Downpour())
    iterates = learn(made, updates)
    np.testing.assert_allclose(made.evaluated(0), mean_of(iterates, 0.99), rtol=1e-12, atol=1e-14)
    assert np.array_equal(learn(plain, updates)[-1], iterates[-1]), "averaging changes what is learned"
    assert np.array_equal(plain.evaluated(0), iterates[-1])


def test_in_a_long_run_older_parameters_count_less_by_the_decay():
    made, t = shard("sgd", 0.9), 512
    made.restore([t])
    made.held[0].value[:] = 0.0
    made.held[0].states[-1][:] = 1.0
    for n in range(1, 31):
        made.push(0, np.zeros(N), made.held[0].version, 0.1)
        assert made.evaluated(0) == pytest.approx(0.9 ** (n - n % 3))


def test_shares_are_of_the_last_tenth_until_the_decay_is_more():
    assert share(0.999, 1) == pytest.approx(9 / 11) and share(0.999, 90) == pytest.approx(0.09)
    assert share(0.5, 90) == 0.5 and share(0.999, 513) == 0.0
    assert share(0.999, 32 * 10**6) == pytest.approx(1 - 0.999**32)
    assert share(0.5, 10**6 + 1) == 0.5


def test_float32_stays_float32():
    made = shard(dtype=np.float32)
    iterates = learn(made, 300)
    assert made.evaluated(0).dtype == np.float32
    np.testing.assert_allclose(made.evaluated(0), mean_of(iterates, 0.99), rtol=1e-5, atol=1e-6)


def test_a_round_averages_part_by_part():
    size = CHUNK + 3
    values, g = np.zeros(size, np.float32), np.linspace(-1, 1, size).astype(np.float32)
    config = Downpour(rule="sgd")
    made = Shard(0, {Piece(0, 0, 0, 0, size): values}, averaged(make(config), 0.9), config)
    out = np.zeros(size, np.float32)
    assert made.step(0, Mean([g], [1.0], g[:0]), 1.0, 1.0, [out]) is Status.OK
    np.testing.assert_allclose(made.evaluated(0), -g * share(0.9, 1), rtol=1e-6)
    assert np.array_equal(out, -g)


@pytest.mark.parametrize("value", [1e20, 3e37, 1e38, np.inf, np.nan])
@pytest.mark.parametrize("rule", STATES)
def test_no_average_becomes_infinite(rule, value):
    made = shard(rule, dtype=np.float32)
    gradient = np.full(N, 0.5, np.float32)
    for sign in (1, -1, -1, 1):
        gradient[3] = sign * value
        made.push(0, gradient, 0, 1.0)
        assert np.isfinite([made.held[0].value, *made.held[0].states]).all()


def test_the_average_is_saved_mirrored_and_taken_over():
    made = shard()
    learn(made, 20)
    copy = made.snapshot(None)
    assert np.array_equal(copy["rule.average"], made.evaluated(0))
    config, own = Downpour(rule="adagrad"), Piece(1, 0, 1, N, N + 2)
    heir = Shard(1, {own: np.ones(2)}, averaged(make(config), 0.99), config)
    heir.adopt([PIECE], copy)
    assert np.array_equal(heir.evaluated(0), made.evaluated(0)) and heir.evaluated(1).tolist() == [1, 1]
    learn(made, 20, seed=1)
    learn(heir, 20, seed=1)
    assert np.array_equal(heir.evaluated(0), made.evaluated(0))
