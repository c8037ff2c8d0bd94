"""Invariants 1 and 2: P partitions compute what one computes, and send no more than they must."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dbmpi.comm.wait import Waiter
from dbmpi.config.layers import Dense
from dbmpi.data.measures import Measures
from dbmpi.layout.boxes import volume, within
from dbmpi.layout.boxes import whole as full
from dbmpi.layout.network import Network, from_layers
from dbmpi.layout.partitioning import Partitioning, Traffic
from dbmpi.layout.traffic import boundary_bytes_per_example
from dbmpi.model.boundary import Peers
from dbmpi.model.figures import Figures
from dbmpi.model.partition import PartitionModel
from dbmpi.model.tensors import tensors

Array = NDArray[Any]
PARTITIONS = [1, 2, 3, 4, 6]
# Widths that P divides unevenly, and layers smaller than most P.
NETWORKS = {
    "uneven": ([7, 11, 5], ["relu", "tanh", "identity"]),
    "narrow": ([13, 2, 9, 3], ["sigmoid", "relu", "tanh", "identity"]),
    "single": ([5], ["identity"]),
}
INPUTS, B = 10, 17


def network(shape: str, loss: str) -> Network:
    units, activations = NETWORKS[shape]
    if loss == "squared":
        activations = [*activations[:-1], "sigmoid"]
    layers = [Dense(units=u, activation=a) for u, a in zip(units, activations, strict=True)]  # type: ignore[arg-type]
    return from_layers(layers, INPUTS, loss)


def parameters(net: Network) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    return {t.name: rng.normal(0, 0.5, t.shape) for t in net.tensors}


def cut(plan: Partitioning, partition: int, whole: dict[str, Array]) -> Array:
    """The vector of one partition, from whole tensors."""
    parts = [
        whole[s.tensor.name][within(s.box, full(s.tensor.shape))].ravel() for s in plan.slices[partition]
    ]
    return np.concatenate(parts)


def one_step(model: PartitionModel, theta: Array, x_IB: Array, targets: Array) -> tuple[float, int, Array]:
    plan, p = model.partitioning, model.partition
    own = targets if targets.ndim == 1 else np.ascontiguousarray(targets[slice(*model.outputs)])
    gradient = np.full_like(theta, np.nan)
    workspace = model.workspace(x_IB.shape[1])
    workspace.states[0][...] = x_IB[within(workspace.held[0], full((INPUTS,)))]
    views = tensors(plan, p, theta), tensors(plan, p, gradient)
    loss, correct = model.differentiate(*views, x_IB.shape[1], own)
    return loss, correct, gradient


@pytest.mark.parametrize("shape", NETWORKS)
@pytest.mark.parametrize("targets", ["softmax", "logistic", "squared", "floats", "several"])
@pytest.mark.mpi(ranks=PARTITIONS)
def test_partitions_compute_what_one_computes(comm: Any, shape: str, targets: str) -> None:
    net = network(shape, {"floats": "squared", "several": "logistic"}.get(targets, targets))
    rng = np.random.default_rng(5)
    whole, x_IB = parameters(net), rng.normal(size=(INPUTS, B))
    labels = targets not in ("floats", "several")
    t = rng.integers(0, net.outputs, B) if labels else rng.normal(size=(net.outputs, B))
    t = (t > 0).astype("f8") if targets == "several" else t

    alone = PartitionModel(Partitioning(net, 1), 0, labels, np.dtype("f8"), l2=0.01)
    expected = one_step(alone, cut(alone.partitioning, 0, whole), x_IB, t)
    plan = Partitioning(net, comm.size)
    model = PartitionModel(plan, comm.rank, labels, np.dtype("f8"), 0.01, Peers(comm, Waiter(30.0)))
    loss, correct, gradient = one_step(model, cut(plan, comm.rank, whole), x_IB, t)

    assert comm.allreduce(loss) == pytest.approx(expected[0], rel=1e-12)
    assert comm.allreduce(correct) == expected[1]
    views = tensors(alone.partitioning, 0, expected[2])
    named = [tensor for pair in zip(views.weights, views.biases, strict=True) for tensor in pair]
    complete = dict(zip((t.name for t in net.tensors), named, strict=True))
    np.testing.assert_allclose(gradient, cut(plan, comm.rank, complete), rtol=1e-9, atol=1e-12)
    model.free()


@pytest.mark.parametrize("shape", NETWORKS)
@pytest.mark.parametrize("targets", ["softmax", "logistic", "floats", "several"])
@pytest.mark.mpi(ranks=PARTITIONS)
def test_what_partitions_count_adds_up_to_what_one_counts(comm: Any, shape: str, targets: str) -> None:
    """Twice over, as the second exchange of the statistics must leave nothing behind; counts are exact."""
    net = network(shape, {"floats": "squared", "several": "logistic"}.get(targets, targets))
    kind: Any = {"floats": "targets", "several": "labels"}.get(targets, "classes")
    measures = Measures(kind, net.outputs, top=2 if targets == "softmax" else 0)
    rng = np.random.default_rng(5)
    whole, x_IB, labels = parameters(net), rng.normal(size=(INPUTS, B)), kind == "classes"
    t = rng.integers(0, net.outputs, B) if labels else rng.normal(size=(net.outputs, B))
    t = (t > 0).astype("f8") if targets == "several" else t

    def counted(plan: Partitioning, partition: int, peers: Peers) -> Array:
        model = PartitionModel(plan, partition, labels, np.dtype("f8"), 0.0, peers)
        theta = tensors(plan, partition, cut(plan, partition, whole))
        own = t if labels else np.ascontiguousarray(t[slice(*model.outputs)])
        figures, losses = np.zeros(measures.size), []
        counts = Figures(measures, partition, model.outputs[0])
        for _ in range(2):
            workspace = model.workspace(B)
            workspace.states[0][...] = x_IB[within(workspace.held[0], full((INPUTS,)))]
            count = partial(counts.add, targets=own, figures=figures)
            losses.append(model.evaluate(theta, B, own, count))
        assert losses[0] == losses[1]
        model.free()
        return figures

    expected = counted(Partitioning(net, 1), 0, Peers())
    found = comm.allreduce(counted(Partitioning(net, comm.size), comm.rank, Peers(comm, Waiter(30.0))))
    if labels or targets == "several":
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("targets", ["softmax", "logistic", "floats"])
@pytest.mark.mpi(ranks=PARTITIONS)
def test_boundary_traffic_is_the_minimum(comm: Any, targets: str) -> None:
    """Counted on the wire's side of the model, and worked out here from the layers alone."""
    net = network("uneven", "squared" if targets == "floats" else targets)
    labels, P, me = targets != "floats", comm.size, comm.rank
    plan = Partitioning(net, P)
    model = PartitionModel(plan, me, labels, np.dtype("f4"), 0.0, Peers(comm, Waiter(30.0)))
    theta = np.zeros(plan.sizes[me], np.float32)
    t = np.zeros(B, np.int64) if labels else np.zeros((net.outputs, B), np.float32)
    steps = 3
    for _ in range(steps):
        one_step(model, theta, np.zeros((INPUTS, B), np.float32), t)
    sent = Traffic(*model.take_sent())

    messages, size = expected_messages(plan, me, targets), expected_bytes(plan, me, targets)
    assert sent == Traffic(steps * messages, steps * size)
    mine = plan.traffic(me, B, 4, labels)
    assert sent == Traffic(steps * mine.messages, steps * mine.bytes)
    assert sent.bytes == steps * B * sum(boundary_bytes_per_example(plan, 4, labels)[me])
    assert model.take_sent() == (0, 0)
    model.free()


def owned(plan: Partitioning, layer: int, partition: int) -> int:
    return volume(plan.own(layer + 1 if layer >= 0 else len(plan.network.layers), partition))


def expected_messages(plan: Partitioning, me: int, targets: str) -> int:
    """One message per ordered pair, layer and phase, wherever both sides own units."""
    total = 0
    for layer in range(len(plan.network.layers) - 1):
        for other in set(range(plan.partitions)) - {me}:
            total += bool(owned(plan, layer, me) and owned(plan, layer + 1, other))  # states out
            total += bool(owned(plan, layer, other) and owned(plan, layer + 1, me))  # derivatives back
    return total + reduction_readers(plan, me, targets)


def expected_bytes(plan: Partitioning, me: int, targets: str) -> int:
    units = 0
    for layer in range(len(plan.network.layers) - 1):
        for other in set(range(plan.partitions)) - {me}:
            units += owned(plan, layer, me) * bool(owned(plan, layer + 1, other))
            units += owned(plan, layer, other) * bool(owned(plan, layer + 1, me))
    return units * B * 4 + reduction_readers(plan, me, targets) * 4 * B * 8


def reduction_readers(plan: Partitioning, me: int, targets: str) -> int:
    if targets == "floats" or not owned(plan, -1, me):
        return 0
    if targets == "softmax":
        return sum(bool(owned(plan, -1, other)) for other in range(plan.partitions) if other != me)
    return int(me != 0)


@pytest.mark.parametrize("targets", ["softmax", "logistic", "squared", "floats"])
@pytest.mark.mpi(ranks=[1, 3])
def test_gradient_agrees_with_finite_differences(comm: Any, targets: str) -> None:
    """Invariant 9, in float64, with the penalty, over every parameter of the partition."""
    net = network("uneven", "squared" if targets == "floats" else targets)
    rng = np.random.default_rng(7)
    plan, me, l2 = Partitioning(net, comm.size), comm.rank, 0.03
    labels, x_IB = targets != "floats", rng.normal(size=(INPUTS, B))
    t = rng.integers(0, net.outputs, B) if labels else rng.normal(size=(net.outputs, B))
    model = PartitionModel(plan, me, labels, np.dtype("f8"), l2, Peers(comm, Waiter(30.0)))
    theta = cut(plan, me, parameters(net))

    def objective(at: Array) -> float:
        loss, _, _ = one_step(model, at, x_IB, t)
        return float(comm.allreduce(loss / B + model.penalty(tensors(plan, me, at))))

    _, _, gradient = one_step(model, theta, x_IB, t)
    h = 1e-5
    for rank in range(comm.size):
        for i in range(0, plan.sizes[rank], 3):
            ahead, behind = theta.copy(), theta.copy()
            if rank == me:
                ahead[i] += h
                behind[i] -= h
            slope = (objective(ahead) - objective(behind)) / (2 * h)
            if rank == me:
                assert gradient[i] == pytest.approx(slope, rel=2e-5, abs=1e-8), i
    model.free()


@pytest.mark.parametrize("targets", ["softmax", "logistic", "squared", "floats"])
@pytest.mark.mpi(ranks=[1, 2])
def test_gradient_agrees_with_pytorch(comm: Any, targets: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = network("narrow", "squared" if targets == "floats" else targets)
    rng = np.random.default_rng(11)
    plan, labels = Partitioning(net, comm.size), targets != "floats"
    whole, x_IB = parameters(net), rng.normal(size=(INPUTS, B))
    t = rng.integers(0, net.outputs, B) if labels else rng.normal(size=(net.outputs, B))
    model = PartitionModel(plan, comm.rank, labels, np.dtype("f8"), 0.0, Peers(comm, Waiter(30.0)))
    loss, _, gradient = one_step(model, cut(plan, comm.rank, whole), x_IB, t)

    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in whole.items()}
    y = torch.tensor(x_IB.T)
    for layer in net.layers:
        y = torch.nn.functional.linear(y, leaves[layer.weight.name], leaves[layer.bias.name])
        if layer.spec.activation != "identity":
            y = getattr(torch, layer.spec.activation)(y)
    total = torch_loss(torch, y, torch.tensor(t), targets)
    (total / B).backward()
    assert comm.allreduce(loss) == pytest.approx(total.item(), rel=1e-10)
    complete = {name: leaf.grad.numpy() for name, leaf in leaves.items()}
    np.testing.assert_allclose(gradient, cut(plan, comm.rank, complete), rtol=1e-8, atol=1e-11)
    model.free()


def torch_loss(torch: Any, y: Any, t: Any, targets: str) -> Any:
    functional = torch.nn.functional
    if targets == "softmax":
        return functional.cross_entropy(y, t, reduction="sum")
    if targets == "floats":
        return 0.5 * ((y - t.T) ** 2).sum()
    onehot = functional.one_hot(t, y.shape[1]).double()
    if targets == "logistic":
        return functional.binary_cross_entropy_with_logits(y, onehot, reduction="sum")
    return 0.5 * ((y - onehot) ** 2).sum()
