"""Invariants 1, 2 and 9 for image networks: tiles compute what the whole image computes."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dbmpi.comm.wait import Waiter
from dbmpi.config.layers import Conv, Dense, Dropout, Layer, Lcn, Local, Pool
from dbmpi.layout.boxes import volume, within
from dbmpi.layout.boxes import whole as full
from dbmpi.layout.network import Network, from_layers
from dbmpi.layout.partitioning import Partitioning, Traffic
from dbmpi.layout.traffic import boundary_bytes_per_example, shared_bytes_per_minibatch
from dbmpi.model.boundary import Peers
from dbmpi.model.partition import PartitionModel
from dbmpi.model.tensors import tensors

Array = NDArray[Any]
B = 5
TOP: list[Layer] = [Dense(units=7, activation="tanh"), Dense(units=4)]
NETWORKS: dict[str, tuple[tuple[int, ...], list[Layer]]] = {
    "local": ((9, 11, 2), [Local(filters=3, size=[3, 4], stride=1, activation="tanh"), *TOP]),
    "local strided": (
        (11, 10),
        [Local(filters=2, size=3, stride=2, padding=1, activation="relu"), Local(filters=3, size=2), *TOP],
    ),
    "conv": (
        (9, 8, 3),
        [
            Conv(filters=4, size=3, padding=1, activation="relu"),
            Conv(filters=2, size=[2, 3], stride=[2, 1], activation="sigmoid"),
            *TOP,
        ],
    ),
    "max": ((9, 9), [Local(filters=2, size=2), Pool(kind="max", size=3, stride=2), *TOP]),
    "l2": ((10, 9), [Local(filters=2, size=2), Pool(kind="l2", size=[3, 2], stride=[1, 2]), *TOP]),
    "average": ((9, 9, 2), [Conv(filters=2, size=1), Pool(kind="average", size=2, stride=2), *TOP]),
    "lcn": ((9, 10), [Local(filters=3, size=3), Lcn(size=3), *TOP]),
    "dropout": (
        (7, 7),
        [Local(filters=3, size=3), Dropout(rate=0.4), Dense(units=9), Dropout(rate=0.5), TOP[1]],
    ),
    "mixed": (
        (17, 16),
        [
            Local(filters=3, size=3, activation="relu"),
            Pool(kind="l2", size=2, stride=2),
            Lcn(size=3),
            Conv(filters=3, size=3, padding=1, activation="tanh"),
            Pool(kind="max", size=3, stride=2),
            *TOP,
        ],
    ),
    "tiny": ((3, 3), [Local(filters=2, size=2), Pool(kind="max", size=2, stride=1), *TOP]),
}


def parameters(net: Network) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    return {t.name: rng.normal(0, 0.5, t.shape) for t in net.tensors}


def cut(plan: Partitioning, partition: int, complete: dict[str, Array]) -> Array:
    """The vector of one partition, from whole tensors."""
    slices = plan.slices[partition]
    parts = [complete[s.tensor.name][within(s.box, full(s.tensor.shape))].ravel() for s in slices]
    return np.concatenate(parts)


def made(net: Network, partitions: int, rank: int, comm: Any = None, l2: float = 0.01) -> PartitionModel:
    plan = Partitioning(net, partitions)
    return PartitionModel(plan, rank, True, np.dtype("f8"), l2, Peers(comm, Waiter(30.0)), seed=5)


def one_step(model: PartitionModel, theta: Array, x_NB: Array, labels: Array) -> tuple[float, int, Array]:
    """Differentiate at step 0, so that the dropout masks repeat."""
    plan, p = model.partitioning, model.partition
    gradient = np.full_like(theta, np.nan)
    workspace = model.workspace(B)
    workspace.states[0][...] = x_NB[within(workspace.held[0], full(plan.network.input))]
    model._steps = 0
    loss, correct = model.differentiate(tensors(plan, p, theta), tensors(plan, p, gradient), B, labels)
    return loss, correct, gradient


def data(net: Network) -> tuple[Array, Array]:
    rng = np.random.default_rng(5)
    return rng.normal(size=(*net.input, B)), rng.integers(0, net.outputs, B)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.mpi(ranks=[1, 2, 3, 4, 6])
def test_tiles_compute_what_the_image_computes(comm: Any, name: str) -> None:
    net = from_layers(NETWORKS[name][1], NETWORKS[name][0], "softmax")
    complete, (x, labels) = parameters(net), data(net)
    alone = made(net, 1, 0)
    loss, correct, whole_gradient = one_step(alone, cut(alone.partitioning, 0, complete), x, labels)
    views = tensors(alone.partitioning, 0, whole_gradient)
    pairs = zip(net.layers, views.weights, views.biases, strict=True)
    expected = {
        t.name: v for layer, *vs in pairs for t, v in zip((layer.weight, layer.bias), vs, strict=True) if t
    }

    model = made(net, comm.size, comm.rank, comm)
    mine = one_step(model, cut(model.partitioning, comm.rank, complete), x, labels)
    assert comm.allreduce(mine[0]) == pytest.approx(loss, rel=1e-12)
    assert comm.allreduce(mine[1]) == correct
    np.testing.assert_allclose(mine[2], cut(model.partitioning, comm.rank, expected), rtol=1e-8, atol=1e-12)  # type: ignore[arg-type]

    steps = 2
    model.take_sent()
    for _ in range(steps):
        one_step(model, cut(model.partitioning, comm.rank, complete), x, labels)
    traffic, sent = model.partitioning.traffic(comm.rank, B, 8), Traffic(*model.take_sent())
    assert sent == Traffic(steps * traffic.messages, steps * traffic.bytes)
    each = boundary_bytes_per_example(model.partitioning, 8, reduction=True)[comm.rank]
    whole = shared_bytes_per_minibatch(model.partitioning, 8)[comm.rank]
    assert sent.bytes == steps * (B * sum(each) + sum(whole))
    model.free()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.mpi(ranks=[1, 4])
def test_gradient_agrees_with_finite_differences(comm: Any, name: str) -> None:
    net = from_layers(NETWORKS[name][1], NETWORKS[name][0], "softmax")
    x, labels = data(net)
    l2, me = 0.03, comm.rank
    model = made(net, comm.size, me, comm, l2)
    theta = cut(model.partitioning, me, parameters(net))

    def objective(at: Array) -> float:
        loss, _, _ = one_step(model, at, x, labels)
        return float(comm.allreduce(loss / B + model.penalty(tensors(model.partitioning, me, at))))

    _, _, gradient = one_step(model, theta, x, labels)
    h, rng = 1e-6, np.random.default_rng(1)
    for rank in range(comm.size):
        size = model.partitioning.sizes[rank]
        for i in rng.choice(size, min(size, 25), replace=False):
            ahead, behind = theta.copy(), theta.copy()
            if rank == me:
                ahead[i] += h
                behind[i] -= h
            slope = (objective(ahead) - objective(behind)) / (2 * h)
            if rank == me:
                assert gradient[i] == pytest.approx(slope, rel=1e-4, abs=1e-7), i
    model.free()


@pytest.mark.mpi(ranks=[2, 4, 6])
def test_a_rank_holds_no_more_than_its_tile_and_halo(comm: Any) -> None:
    """Parameters of local layers live with their tile; states are those of the tile and what it reads."""
    shape, layers = NETWORKS["mixed"]
    net = from_layers(layers, shape, "softmax")
    model = made(net, comm.size, comm.rank, comm)
    workspace = model.workspace(B)
    local = next(s for s in model.partitioning.slices[comm.rank] if s.tensor.name == "layers.0.weight")
    assert local.size <= net.layers[0].weight.size / comm.size * 1.35  # type: ignore[union-attr]
    for number, state in enumerate(workspace.states):
        own, need = model.partitioning.own(number, comm.rank), model.partitioning.need(number, comm.rank)
        assert state.size == volume(model.partitioning.held(number, comm.rank)) * B
        if number and volume(own):
            assert volume(model.partitioning.held(number, comm.rank)) <= volume(own) + volume(need)
    model.free()
