"""AdaRevision on a shard: what it does to late gradients, rebuilt from all of them."""

import numpy as np
import pytest

from dbmpi.comm.protocol import Op, Status
from dbmpi.config.algorithms import Downpour
from dbmpi.layout.sharding import Piece
from dbmpi.server.rules import make
from dbmpi.server.shard import Shard

N, EPS = 6, 1e-8
FIRST = np.linspace(-1, 1, N)
PUSH = Op.PUSH | Op.FETCH | Op.LEARN  # of a replica that waits for what it fetches


def shard(rule: str = "adarevision", dtype: type = np.float64, **keys: float) -> Shard:
    config = Downpour(rule=rule, **keys)
    return Shard(0, {Piece(0, 0, 0, 0, N): FIRST.astype(dtype)}, make(config), config)


def push(
    made: Shard, client: int, gradient: np.ndarray, version: int, rate: float, out: np.ndarray | None = None
) -> Status:
    """Push, and fetch, as a replica that waits does."""
    since = made.since(0, client, PUSH, version, 1)
    status = made.push(0, gradient.astype(made.dtype), version, rate, out, since=since)
    made.fetch(0, client)
    return status


def late(updates: int, clients: int) -> list[tuple[int, int, np.ndarray, float]]:
    """Return pushes of clients in any order: client, version, gradient, rate, which is also 0."""
    random, versions, pushes = np.random.default_rng(7), [0] * clients, []
    for t in range(updates):
        client = int(random.integers(clients))
        rate = 0.0 if 10 <= t < 14 else 0.1 / (1 + t / 20)
        pushes.append((client, versions[client], random.normal(size=N), rate))
        versions[client] = t + 1
    return pushes


def test_parameters_are_those_of_all_gradients_at_their_revised_rates():
    """`eta[v][j]` are the rates at which the gradients j are in the parameters of version v."""
    made, pushes = shard(), late(60, 5)
    for client in range(5):
        made.fetch(0, client)
    gradients = np.array([gradient for _, _, gradient, _ in pushes])
    rates = np.array([rate for *_, rate in pushes])
    eta, z, largest = np.zeros((61, 60, N)), np.zeros(N), np.zeros(N)
    for t, (client, version, gradient, rate) in enumerate(pushes):
        assert push(made, client, gradient, version, rate) is Status.OK
        before, mean = np.sqrt(largest) + EPS, rates[version:t].mean() if version < t else 0.0
        since = eta[t] - eta[version]
        b = (since * gradients).sum(0) * before / mean if mean else 0.0
        z += gradient**2 + 2 * gradient * b
        largest = np.maximum(np.maximum(largest, z), gradient**2)
        eta[t + 1] = eta[version] + since * before / (np.sqrt(largest) + EPS)
        eta[t + 1][t] += rate / (np.sqrt(largest) + EPS)
        held = made.held[0]
        np.testing.assert_allclose(held.value, FIRST - (eta[t + 1] * gradients).sum(0), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(held.states, [z, largest], rtol=1e-9)
    report = made.report()
    assert report["unknown"] == 0 and 0 < report["revised"] < report["stepped"]


def test_b_is_the_sum_of_the_gradients_since():
    """Exactly so where squares add next to nothing to the accumulator, and steps are of one rate."""
    made, pushes = shard(initial_accumulator=1e9), late(10, 4)
    for client in range(4):
        made.fetch(0, client)
    z = np.full(N, 1e9)
    for t, (client, version, gradient, _) in enumerate(pushes):
        b = sum((pushes[k][2] for k in range(version, t)), np.zeros(N))
        z += gradient**2 + 2 * gradient * b
        push(made, client, gradient, version, 0.1)
    np.testing.assert_allclose(made.held[0].states[0] - 1e9, z - 1e9, rtol=1e-4)


@pytest.mark.parametrize("start", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_delay_it_is_adagrad(dtype, start):
    mine, other = (shard(rule, dtype, initial_accumulator=start) for rule in ("adarevision", "adagrad"))
    mine.fetch(0, 3)
    for t, (_, _, gradient, rate) in enumerate(late(30, 1)):
        push(mine, 3, gradient, t, rate)
        push(other, 3, gradient, t, rate)
        np.testing.assert_allclose(mine.held[0].value, other.held[0].value, rtol=1e-6)
    np.testing.assert_allclose(mine.held[0].states[1], other.held[0].states[0], rtol=1e-6)
    assert mine.held[0].versions.copies == 0  # nobody holds what is replaced


def test_the_sum_of_squares_may_fall_and_what_steps_go_by_does_not():
    made = shard()
    made.fetch(0, 1)
    made.fetch(0, 2)
    push(made, 1, np.ones(N), 0, 0.1)
    push(made, 2, -0.9 * np.ones(N), 0, 0.1)  # the other way: 0.81 - 1.8
    np.testing.assert_allclose(made.held[0].states, [[0.01] * N, [1.0] * N], atol=1e-6)


def test_no_step_exceeds_the_rate_however_far_the_sum_of_squares_has_fallen():
    made = shard()
    for client in (1, 2, 3):
        made.fetch(0, client)
    push(made, 1, np.ones(N), 0, 0.1)
    push(made, 2, -3 * np.ones(N), 0, 0.1)  # of 9 - 6 + 1 are left
    push(made, 3, -2 * np.ones(N), 0, 0.1)
    before = made.held[0].value.copy()
    push(made, 1, 9 * np.ones(N), 1, 0.1)
    assert made.held[0].states[1].tolist() == [81.0] * N
    assert np.all(np.abs(made.held[0].value - before) <= 0.1 + np.abs(FIRST - 0.1 - before))


@pytest.mark.parametrize("version", [3, 99])
def test_of_an_unknown_version_nothing_is_revised_and_it_is_counted(version):
    made, other = shard(), shard("adagrad")
    for t in range(5):
        for each in (made, other):
            each.push(0, np.ones(N), t, 0.1)
    for each in (made, other):
        push(each, 1, np.ones(N), version, 0.1)
    np.testing.assert_allclose(made.held[0].value, other.held[0].value)
    assert (made.report()["unknown"], other.report()["unknown"]) == (1, 0)


@pytest.mark.parametrize("gradient", [np.inf, np.nan, 1e160, 4.0])
def test_a_refused_push_changes_nothing_and_frees_its_version(gradient):
    made = shard(max_gradient_norm=5.0)
    made.fetch(0, 1)
    made.fetch(0, 2)
    push(made, 2, np.ones(N), 0, 0.1)
    held = made.held[0]
    before, sums = [held.value.copy(), *(state.copy() for state in held.states)], made.tally.revision.copy()
    assert held.versions.copies == 1
    assert push(made, 1, np.full(N, gradient), 0, 0.1) is not Status.OK
    push(made, 2, np.full(N, np.nan), 1, 0.1)  # the next request
    assert np.array_equal([held.value, *held.states], before) and np.array_equal(made.tally.revision, sums)
    assert held.versions.copies == 0 and held.version == 1


def test_the_copy_for_the_reply_is_the_new_value():
    made, out = shard(), np.zeros(N)
    made.fetch(0, 1)
    made.fetch(0, 2)
    for client in (1, 2):
        push(made, client, np.ones(N), 0, 0.1, out)
        assert np.array_equal(out, made.held[0].value)


def test_an_update_tried_on_copies_is_the_same_update():
    """Where bounds say little: with this epsilon they are beyond float32."""
    plain, tried = shard(dtype=np.float32), shard(dtype=np.float32, epsilon=1e-61)
    for made in (plain, tried):
        for client in range(5):
            made.fetch(0, client)
        for client, version, gradient, _ in late(40, 5):
            assert push(made, client, 1e10 * gradient, version, 0.1) is Status.OK
    np.testing.assert_allclose(tried.held[0].value, plain.held[0].value, rtol=1e-4)
    assert tried.tally.revision.tolist() == [0.0, 0.0] and tried.report()["unknown"] == 0
