"""A shard: the rule on its slice, the guards, and what it counts."""

import numpy as np
import pytest

from dbmpi.comm.protocol import HISTOGRAM, SHARD_REPORT, Status
from dbmpi.config.algorithms import Downpour
from dbmpi.layout.sharding import Piece
from dbmpi.server.rounds import CHUNK, Mean
from dbmpi.server.rules import make
from dbmpi.server.shard import Shard

FIRST, SECOND = Piece(4, 0, 1, 10, 15), Piece(7, 1, 1, 0, 3)


def shard(dtype: type = np.float64, **keys: float) -> Shard:
    config = Downpour(**({"rule": "sgd"} | keys))
    values = {piece: np.ones(piece.size, dtype) for piece in (FIRST, SECOND)}
    return Shard(1, values, make(config), config)


def ones(value: float = 1.0, size: int = 5) -> np.ndarray:
    return np.full(size, value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("start", [0.0, 0.25])
@pytest.mark.parametrize(
    ("rule", "states"), [("sgd", 0), ("momentum", 1), ("adagrad", 1), ("adam", 2), ("adarevision", 2)]
)
def test_a_piece_has_the_states_of_its_rule_in_its_own_dtype_and_shape(dtype, rule, states, start):
    made = shard(dtype, rule=rule, initial_accumulator=start)
    for held, size in ((made.held[4], 5), (made.held[7], 3)):
        assert len(held.states) == states and held.version == 0
        assert all(s.dtype == held.value.dtype == dtype and s.shape == (size,) for s in held.states)
        first = start if rule in ("adagrad", "adarevision") else 0.0
        assert all(np.all(s == first) for s in held.states)


def test_a_push_is_applied_to_the_current_value():
    made = shard()
    assert made.push(4, ones(2.0), 0, 0.25) is Status.OK
    assert made.push(4, ones(2.0), 0, 0.5) is Status.OK  # computed from old parameters: applied all the same
    held = made.fetch(4)
    assert held.value.tolist() == [1 - 0.5 - 1.0] * 5 and held.version == 2
    assert made.fetch(7).value.tolist() == [1.0] * 3 and made.fetch(7).version == 0


def test_adagrad_includes_the_current_gradient_and_is_elementwise():
    made = shard(rule="adagrad", epsilon=1e-12)
    gradients = [np.array([1.0, -2.0, 0.5, 0.0, 4.0]), np.array([3.0, 1.0, -0.5, 0.0, 0.0])]
    expected, squares = np.ones(5), np.zeros(5)
    for gradient in gradients:
        made.push(4, gradient, 0, 0.1)
        squares += gradient**2
        expected -= np.where(gradient == 0, 0, 0.1 * gradient / np.sqrt(np.where(squares == 0, 1, squares)))
    np.testing.assert_allclose(made.held[4].value, expected, rtol=1e-10)


def test_adam_counts_the_updates_of_each_piece():
    made = shard(rule="adam", epsilon=1e-12)
    made.push(4, ones(3.0), 0, 0.1)
    made.push(4, ones(3.0), 0, 0.1)
    made.push(7, ones(3.0, 3), 0, 0.1)
    # With a constant gradient each corrected step is exactly the rate.
    np.testing.assert_allclose(made.held[4].value, 0.8)
    np.testing.assert_allclose(made.held[7].value, 0.9)


def test_a_push_copies_the_new_value_for_the_reply_unless_it_is_refused():
    made, out = shard(rule="adagrad"), np.full(5, 7.0)
    assert made.push(4, ones(np.inf), 0, 0.1, out) is Status.NOT_FINITE
    assert out.tolist() == [7.0] * 5
    assert made.push(4, ones(), 0, 0.1, out) is Status.OK
    assert np.array_equal(out, made.held[4].value) and not np.shares_memory(out, made.held[4].value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_is_refused_and_leaves_no_trace(bad):
    made = shard(rule="adagrad")
    gradient = ones()
    gradient[3] = bad
    assert made.push(4, gradient, 0, 0.1) is Status.NOT_FINITE
    held = made.held[4]
    assert held.version == 0 and held.value.tolist() == [1.0] * 5 and not held.states[0].any()
    assert made.report()["not_finite"] == 1 and made.report()["updates"] == 0


def test_a_large_gradient_is_refused_by_its_norm():
    made = shard(max_gradient_norm=10.0)
    assert made.push(4, ones(4.0), 0, 0.1) is Status.OK  # norm 8.9
    assert made.push(4, ones(4.5), 0, 0.1) is Status.TOO_LARGE  # norm 10.06
    assert made.report()["too_large"] == 1


def test_without_a_limit_any_finite_gradient_passes():
    assert shard(np.float32).push(4, ones(1e18).astype(np.float32), 0, 0.1) is Status.OK


def test_staleness_beyond_the_limit_is_refused():
    made = shard(max_staleness=2)
    for _ in range(3):
        assert made.push(4, ones(), made.held[4].version, 0.1) is Status.OK
    assert made.push(4, ones(), 1, 0.1) is Status.OK  # 2 behind
    assert made.push(4, ones(), 1, 0.1) is Status.STALE  # now 3 behind
    assert made.held[4].version == 4 and made.report()["stale"] == 1


def test_staleness_is_counted_in_updates_of_the_piece():
    made = shard()
    for version in (0, 0, 0, 3, 1):
        made.push(4, ones(), version, 0.1)
    made.push(7, ones(size=3), 0, 0.1)
    report = made.report()
    assert report["histogram"][:4].tolist() == [3, 1, 1, 1] and report["histogram"].sum() == 6
    assert (report["staleness_sum"], report["staleness_max"]) == (0 + 1 + 2 + 0 + 3 + 0, 3)


def test_very_stale_pushes_share_the_last_place_of_the_histogram():
    made = shard()
    for _ in range(HISTOGRAM + 10):
        made.push(4, ones(0.0), 0, 0.1)
    report = made.report()
    assert report["histogram"].tolist() == [1] * (HISTOGRAM - 1) + [11]
    assert report["staleness_max"] == HISTOGRAM + 9


def test_refused_pushes_do_not_count_for_staleness():
    made = shard(max_staleness=1)
    for _ in range(5):
        made.push(4, ones(), 0, 0.1)
    report = made.report()
    assert (report["updates"], report["stale"]) == (2, 3)
    assert report["histogram"].sum() == 2 and report["staleness_max"] == 1


def test_report():
    made = shard()
    made.push(4, ones(), 0, 0.1)
    made.push(7, ones(size=3), 0, 0.1)
    made.fetch(4)
    report = made.report()
    assert report.dtype == SHARD_REPORT and report.shape == ()
    assert [report[name] for name in ("shard", "pieces", "updates", "fetches")] == [1, 2, 2, 1]
    assert report["last"] == 0


def test_a_report_is_a_copy():
    made = shard()
    report = made.report()
    made.push(4, ones(), 0, 0.1)
    assert report["histogram"].sum() == 0


def test_a_shard_without_parameters():
    config = Downpour(rule="adagrad")
    report = Shard(3, {}, make(config), config).report()
    assert (report["shard"], report["pieces"], report["updates"]) == (3, 0, 0)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adagrad", "adam"])
def test_average_makes_one_step_of_several_pushes_with_their_mean(rule):
    """And one of what is left, with its sum over that number; a refused push is none of them."""
    made, twin, out = shard(rule=rule, average=3), shard(rule=rule), np.zeros(5)
    gradients = np.random.default_rng(2).normal(size=(8, 5))
    for i, gradient in enumerate(gradients):
        before = made.held[4].value.copy()
        assert made.push(4, gradient, 0, 0.1, out) is Status.OK
        if i % 3 == 2:
            twin.push(4, gradients[i - 2 : i + 1].mean(0), 0, 0.1)
            np.testing.assert_allclose(made.held[4].value, twin.held[4].value, rtol=1e-12)
        else:
            assert np.array_equal(made.held[4].value, before)
        assert np.array_equal(out, made.held[4].value)
        assert made.push(4, ones(np.nan), 0, 0.1, out) is Status.NOT_FINITE
    made.close([4, 7])
    twin.push(4, gradients[6:].sum(0) / 3, 0, 0.1)
    np.testing.assert_allclose(made.held[4].value, twin.held[4].value, rtol=1e-12)
    assert (made.held[4].version, made.held[7].version) == (3, 0)
    after = made.held[4].value.copy()
    made.close([4])
    assert np.array_equal(made.held[4].value, after)


def test_pushes_that_cannot_be_added_up_are_refused():
    made, large = shard(np.float32, average=3), np.full(5, 1e37, np.float32)
    taken = [made.push(4, large, 0, 1e-40) for _ in range(3)]
    assert taken == [Status.OK, Status.NOT_FINITE, Status.NOT_FINITE]


@pytest.mark.parametrize("size", [5, 200_000])
@pytest.mark.parametrize("norm", [10.0, np.inf])  # with the other it is tried on a copy
def test_a_round_makes_one_step_with_the_mean_and_copies_it_for_all(size, norm):
    piece, config = Piece(0, 0, 0, 0, size), Downpour(rule="sgd")
    made, twin = (Shard(0, {piece: np.ones(size)}, make(config), config) for _ in range(2))
    gradients, outs = np.random.default_rng(3).normal(size=(3, size)), list(np.zeros((3, size)))
    mean = Mean(list(gradients), [1.0, 1.0, 0.5], np.empty(CHUNK))
    assert made.step(0, mean, norm, 0.1, outs) is Status.OK
    twin.push(0, np.average(gradients, axis=0, weights=[1, 1, 0.5]), 0, 0.1)
    np.testing.assert_allclose(made.held[0].value, twin.held[0].value, rtol=1e-9)
    assert all(np.array_equal(out, made.held[0].value) for out in outs)
    assert made.step(0, None, 0.0, 0.1, outs) is Status.OK and made.held[0].version == 1


def test_a_round_whose_step_could_not_be_held_changes_nothing():
    made, out, large = shard(rule="sgd"), np.zeros(5), np.full(5, 1e300)
    mean = Mean([large, large], [1.0, 1.0], np.empty(CHUNK))
    assert made.step(4, mean, 1e301, 1e200, [out]) is Status.NOT_FINITE
    assert out.tolist() == made.held[4].value.tolist() == [1.0] * 5 and made.held[4].version == 0
