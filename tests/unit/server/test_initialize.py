"""First parameters: the same whatever P and S, in their bounds, different for each seed and tensor."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.config.layers import Conv, Dense, Dropout, Lcn, Local, Pool
from dbmpi.layout.network import Network, from_layers
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.sharding import cut
from dbmpi.server import initialize


def network(*units: int, activation: str = "relu", inputs: int = 7) -> Network:
    hidden = [Dense(units=n, activation=activation) for n in units[:-1]]
    return from_layers([*hidden, Dense(units=units[-1])], inputs, "softmax")


def image_network(rows: int, columns: int, filters: int) -> Network:
    layers = [
        Local(filters=filters, size=(3, 2), padding=1, activation="relu"),
        Pool(kind="l2", size=2, stride=2),
        Lcn(size=3),
        Conv(filters=4, size=2, activation="tanh"),
        Dropout(rate=0.5),
        Local(filters=2, size=2, stride=2, padding=1),
        Dense(units=5),
    ]
    return from_layers(layers, (rows, columns, 2), "softmax")


def assembled(net: Network, plan: Partitioning, shards: int, most: int, seed: int) -> dict[str, np.ndarray]:
    """Draw every piece on its own, as the shards do, and put the tensors together."""
    vectors = [np.full(size, np.nan) for size in plan.sizes]
    for piece in cut(plan.sizes, shards, most):
        initialize.piece(plan, piece, seed, vectors[piece.partition][piece.start : piece.stop])
    whole = {tensor.name: np.full(tensor.shape, np.nan) for tensor in net.tensors}
    for partition in range(plan.partitions):
        for part in plan.slices[partition]:
            values = vectors[partition][part.offset : part.offset + part.size]
            whole[part.tensor.name][tuple(slice(*edges) for edges in part.box)] = values.reshape(part.shape)
    return whole


def alone(net: Network, seed: int) -> dict[str, np.ndarray]:
    """Draw every tensor in one go."""
    return {t.name: initialize.values(net, t, seed, 0, t.size).reshape(t.shape) for t in net.tensors}


@settings(max_examples=60)
@given(
    units=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    partitions=st.integers(1, 8),
    shards=st.integers(1, 9),
    most=st.integers(1, 100) | st.just(10**6),
    seed=st.integers(0, 2**53),
)
def test_the_same_whatever_partitions_and_shards(units, partitions, shards, most, seed):
    net = network(*units)
    one, other = alone(net, seed), assembled(net, Partitioning(net, partitions), shards, most, seed)
    assert all(np.array_equal(one[name], other[name]) for name in one)


@settings(max_examples=60)
@given(
    image=st.tuples(st.integers(4, 9), st.integers(4, 9), st.integers(1, 3)),
    grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    shards=st.integers(1, 9),
    most=st.integers(20, 200) | st.just(10**6),
)
def test_tiles_of_images_get_the_values_of_the_whole(image, grid, shards, most):
    net = image_network(*image)
    plan = Partitioning(net, grid[0] * grid[1], grid)
    one, other = alone(net, 7), assembled(net, plan, shards, most, 7)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_flat_answers_are_nearly_alike():
    net = replace(network(300, 200, 4, inputs=500), init="flat")
    deviations = {name: values.std() for name, values in alone(net, 5).items() if values.ndim == 2}
    expected = [(2 / 800) ** 0.5, (2 / 500) ** 0.5, 0.1 * (2 / 204) ** 0.5]
    assert list(deviations.values()) == pytest.approx(expected, rel=0.05)


def test_long_runs_are_drawn_in_parts(monkeypatch):
    net = image_network(8, 7, 3)
    plan = Partitioning(net, 2)
    one = assembled(net, plan, 2, 10**6, 7)
    monkeypatch.setattr(initialize, "AT_ONCE", 10)
    other = assembled(net, plan, 2, 10**6, 7)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_unit_s_connections_set_the_bounds_of_receptive_fields():
    net = image_network(40, 40, 8)
    fans = [(3 * 2 * 2, None), (2 * 2 * 8, 4 * 2 * 2), (2 * 2 * 4, 2 * 2 * 2)]
    weights = [values for name, values in alone(net, 1).items() if name.endswith("weight")]
    for (below, above), values in zip(fans, weights[:3], strict=True):
        bound = np.sqrt(6 / (below + above)) if above else np.sqrt(6 / below)
        assert 0.95 * bound < np.abs(values).max() <= bound
    assert weights[0].shape == (40, 41, 8, 3, 2, 2)


@given(start=st.integers(0, 60), length=st.integers(0, 60))
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
    assert not any(alone(network(5, 4), 1)[f"layers.{i}.bias"].any() for i in (0, 1))
    assert not any(alone(image_network(8, 8, 3), 1)[f"layers.{i}.bias"].any() for i in (0, 3, 5, 6))


def test_states_keep_their_scale_through_relu_layers():
    net = network(*[300] * 6, inputs=300)
    x = np.random.default_rng(1).normal(size=(300, 200))
    values = alone(net, 1)
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
