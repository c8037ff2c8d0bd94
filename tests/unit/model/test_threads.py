"""A training step on two threads is the step on one, but for rounding, whatever the layers."""

import numpy as np
import pytest

from dbmpi.layout.network import build
from dbmpi.layout.partitioning import Partitioning
from dbmpi.model.partition import PartitionModel
from dbmpi.model.tensors import tensors
from kernels import jit
from tests.doubles.ten_classes import load

LAYERS = """model.layers=[
{type="local", filters=3, size=3, padding=1, activation="relu"}, {type="pool", kind="l2", size=3, stride=2},
{type="lcn", size=3}, {type="conv", filters=4, size=3, activation="tanh"}, {type="dropout", rate=0.5},
{type="dense", units=70, activation="sigmoid"}, {type="dense", units=10}]"""
B = 21


@pytest.fixture
def all_on_two_threads():
    """Let whatever has parallel code run on two threads, once told to."""
    with jit.parallel_from(0):
        yield
    jit.set_threads(1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_on_two_threads_equals_one_on_one(all_on_two_threads, dtype):
    network = build(load(None, [LAYERS, f"model.dtype={dtype}"]), (12, 11, 2))
    plan, random = Partitioning(network, 1), np.random.default_rng(0)
    model = PartitionModel(plan, 0, True, np.dtype(dtype), 0.01)
    theta = tensors(plan, 0, (0.1 * random.normal(size=model.parameters)).astype(dtype))
    x, labels = random.random(model.workspace(B).states[0].shape), random.integers(0, 10, B)
    steps = []
    for threads in (1, 2):
        jit.set_threads(threads)
        model.workspace(B).states[0][...] = x
        gradient = tensors(plan, 0, np.full(model.parameters, np.nan, dtype))
        score = model.differentiate(theta, gradient, B, labels)
        steps.append((gradient.flat, score.loss_sum, score.correct))
    (one, loss, right), (two, loss_too, right_too) = steps
    rounding = 50 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(two, one, rtol=rounding, atol=rounding * np.abs(one).max())
    assert loss_too == pytest.approx(loss, rel=rounding) and right_too == right
