"""First parameters: the same whatever P and S, in their bounds, different for each seed and tensor."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi import initialize
from dbmpi.config import Dense
from dbmpi.network import Network, from_layers
from dbmpi.partition import Partitioning
from dbmpi.sharding import cut


def network(*units: int, activation: str = "relu", inputs: int = 7) -> Network:
    hidden = [Dense(units=n, activation=activation) for n in units[:-1]]
    return from_layers([*hidden, Dense(units=units[-1])], inputs, "softmax")


def assembled(net: Network, partitions: int, shards: int, most: int, seed: int) -> dict[str, np.ndarray]:
    """Draw every piece on its own, as the shards do, and put the tensors together."""
    plan = Partitioning(net, partitions)
    vectors = [np.full(size, np.nan) for size in plan.sizes]
    for piece in cut(plan.sizes, shards, most):
        initialize.piece(plan, piece, seed, vectors[piece.partition][piece.start : piece.stop])
    whole = {tensor.name: np.full(tensor.shape, np.nan) for tensor in net.tensors}
    for partition in range(partitions):
        for part in plan.slices(partition):
            values = vectors[partition][part.offset : part.offset + part.size]
            whole[part.tensor.name][part.start : part.stop] = values.reshape(part.shape)
    return whole


@settings(deadline=None, max_examples=60)
@given(
    units=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    partitions=st.integers(1, 8),
    shards=st.integers(1, 9),
    most=st.integers(1, 100) | st.just(10**6),
    seed=st.integers(0, 2**53),
)
def test_the_same_whatever_partitions_and_shards(units, partitions, shards, most, seed):
    net = network(*units)
    one, other = assembled(net, 1, 1, 10**6, seed), assembled(net, partitions, shards, most, seed)
    assert all(np.array_equal(one[name], other[name]) for name in one)


@given(start=st.integers(0, 60), length=st.integers(0, 60))
@settings(deadline=None)
def test_a_range_is_cut_from_the_tensor_s_own_stream(start, length):
    net = network(10, 12, inputs=12)
    tensor = net.tensors[0]
    whole = initialize.values(net, tensor, 5, 0, 120)
    part = initialize.values(net, tensor, 5, start, start + length)
    assert np.array_equal(part, whole[start : start + length])


@pytest.mark.parametrize(
    ("activation", "bound"),
    [("relu", np.sqrt(6 / 300)), *[(a, np.sqrt(6 / 700)) for a in ("tanh", "sigmoid", "identity")]],
)
def test_weights_are_uniform_within_their_bound(activation, bound):
    net = network(400, 10, activation=activation, inputs=300)
    w = initialize.values(net, net.tensors[0], 1, 0, 120_000)
    assert np.abs(w).max() <= bound and np.abs(w).max() > 0.999 * bound
    assert abs(w.mean()) < 5 * bound / np.sqrt(3 * len(w))
    assert w.var() == pytest.approx(bound**2 / 3, rel=0.02)
    quarters = np.histogram(w, 4, (-bound, bound))[0] / len(w)
    assert quarters == pytest.approx([0.25] * 4, abs=0.01)


def test_biases_are_zero():
    assert not any(assembled(network(5, 4), 2, 2, 100, 1)[f"layers.{i}.bias"].any() for i in (0, 1))


def test_states_keep_their_scale_through_relu_layers():
    net = network(*[300] * 6, inputs=300)
    x = np.random.default_rng(1).normal(size=(300, 200))
    values = assembled(net, 1, 1, 10**7, 1)
    for layer in range(5):
        x = np.maximum(values[f"layers.{layer}.weight"] @ x, 0)
    assert 0.3 < np.mean(x**2) < 3


def test_seeds_and_tensors_differ():
    net = network(8, 8, 8, inputs=8)
    draws = [initialize.values(net, net.tensors[i], seed, 0, 64) for i in (0, 2, 4) for seed in (1, 2, 3)]
    scaled = [draw / np.abs(draw).max() for draw in draws]
    for i, one in enumerate(scaled):
        assert all(abs(np.corrcoef(one, other)[0, 1]) < 0.5 for other in scaled[:i])


def test_layers_of_equal_shape_have_the_bounds_of_their_own_activation():
    specs = [Dense(units=8, activation="relu"), Dense(units=8, activation="tanh")]
    net = from_layers(specs, 8, "softmax")
    largest = [np.abs(initialize.values(net, net.tensors[i], 1, 0, 64)).max() for i in (0, 2)]
    assert largest[0] > np.sqrt(6 / 16) >= largest[1]


def test_float32_arrays_get_the_rounded_values():
    net = network(5, 4)
    plan = Partitioning(net, 1)
    (piece,) = cut(plan.sizes, 1, 10**6)
    single, double = np.empty(piece.size, np.float32), np.empty(piece.size)
    initialize.piece(plan, piece, 3, single)
    initialize.piece(plan, piece, 3, double)
    assert np.array_equal(single, double.astype(np.float32))
