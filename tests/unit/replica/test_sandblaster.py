"""The Sandblaster client of one partition: what verdicts do to its gradients, and what reaches the shard."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dbmpi.comm import operations
from dbmpi.comm.assignments import about, gradient_of
from dbmpi.comm.operations import GRADIENT, PARAMETERS, Program
from dbmpi.comm.protocol import REPORT, Work
from dbmpi.config.algorithms import Downpour, Sandblaster
from dbmpi.config.layers import Dense
from dbmpi.config.sections import Config, Model, Train
from dbmpi.data import digits
from dbmpi.data.describe import describe
from dbmpi.layout import network, sharding
from dbmpi.layout.partitioning import Partitioning
from dbmpi.model.partition import PartitionModel
from dbmpi.model.tensors import tensors
from dbmpi.replica.loader import Loader
from dbmpi.replica.portion_cache import PortionCache
from dbmpi.replica.sandblaster import SandblasterClient
from dbmpi.run.roles.serial import LocalClient
from dbmpi.sandblaster.batch import Batch, cut_batch
from dbmpi.server import initialize, rules
from dbmpi.server.shard import Shard
from dbmpi.server.slices import Slices

ROWS = 1437
L2 = 0.1
CONFIG = Config(
    model=Model(
        loss="softmax", dtype="float64", l2=L2, layers=(Dense(units=7, activation="tanh"), Dense(units=10))
    ),
    train=Train(algorithm="sandblaster", minibatch=60),
    sandblaster=Sandblaster(portions=6),
)


class Bench:
    """One partition and one shard, joined by calls, on the digits."""

    def __init__(self) -> None:
        self.partitioning = Partitioning(network.build(CONFIG, (8, 8)), 1)
        pieces = sharding.cut(self.partitioning.sizes, 1, 200)
        self.matrix = np.zeros((operations.count(0), self.partitioning.sizes[0]))
        held = {piece: self.matrix[PARAMETERS, piece.start : piece.stop] for piece in pieces}
        for piece, room in held.items():
            initialize.piece(self.partitioning, piece, 1, room)
        limits = Downpour(rule="sgd")
        self.slices = Slices(self.matrix, pieces)
        shard = Shard(0, held, rules.make(limits), limits, self.slices)
        service = LocalClient(shard, pieces, self.matrix[PARAMETERS], True)
        self.model = PartitionModel(self.partitioning, 0, True, np.dtype("f8"), L2)
        self.batch: Batch = cut_batch(CONFIG.sandblaster, CONFIG.train, ROWS, 1, None)
        self.loader = Loader(describe(digits.path()), self.model)
        portions = PortionCache(self.loader, self.batch.plan, 10**9)
        self.on_minibatch: Callable[[], None] = lambda: None
        pause = lambda: self.on_minibatch()  # noqa: E731
        self.client = SandblasterClient(self.model, portions, service, None, len(pieces), pause)

    def compute(self, portion: int, pass_number: int = 1) -> Any:
        order, report = gradient_of(pass_number, 0, portion, self.batch.examples), np.zeros((), REPORT)
        self.client.prepare(order)
        self.client.compute(order, report)
        return report

    def accept(self, portion: int, pass_number: int = 1) -> None:
        self.client.accept(about(Work.ACCEPT, pass_number, portion))

    def drop(self, portion: int, pass_number: int = 1) -> None:
        self.client.drop(about(Work.DROP, pass_number, portion))

    def push(self, pass_number: int = 1) -> None:
        self.client.push(about(Work.PUSH, pass_number))
        assert len(self.client.take_pushed()) == 1

    def open(self, pass_number: int) -> None:
        self.slices.run(Program().open(pass_number).records)

    def gradient(self) -> np.ndarray:
        self.slices.part(GRADIENT, 0)  # whoever reads it finds zeros where nothing was pushed
        return self.matrix[GRADIENT].copy()

    def whole(self) -> tuple[float, np.ndarray]:
        """Loss and gradient of the batch in one piece."""
        split = self.loader._train
        raw, labels = split.read([(0, ROWS)]), split.labels_or_targets([(0, ROWS)])
        vectors = self.matrix[PARAMETERS], np.empty(self.matrix.shape[1])
        theta, gradient = (tensors(self.partitioning, 0, vector) for vector in vectors)
        x_IB = self.model.workspace(ROWS).states[0].reshape(64, ROWS)
        x_IB[...] = raw.reshape(ROWS, -1).T * split.scale
        score = self.model.differentiate(theta, gradient, ROWS, labels)
        return score.loss_sum / ROWS + self.model.penalty(theta), gradient.flat


@pytest.fixture
def bench() -> Any:
    made = Bench()
    yield made
    made.client.close()
    made.loader.close()
    made.model.free()


def test_the_portions_add_up_to_the_gradient_and_the_loss_of_the_batch(bench: Bench) -> None:
    bench.open(1)
    loss = examples = data_loss = 0.0
    for portion in range(bench.batch.portions):
        report = bench.compute(portion)
        bench.accept(portion)
        loss, examples = loss + float(report["loss_sum"]), examples + int(report["examples"])
        data_loss += float(report["data_loss_sum"])
        if portion in (2, bench.batch.portions - 1):
            bench.push()
    expected_loss, expected = bench.whole()
    assert examples == ROWS and loss / ROWS == pytest.approx(expected_loss, rel=1e-12)
    penalty = bench.model.penalty(bench.client.theta)
    assert penalty > 0 and data_loss / ROWS == pytest.approx(expected_loss - penalty, rel=1e-12)
    np.testing.assert_allclose(bench.gradient(), expected, rtol=1e-9, atol=1e-13)


def test_a_dropped_portion_leaves_no_trace(bench: Bench) -> None:
    bench.open(1)
    for portion in (0, 1, 2):
        bench.compute(portion)
    bench.drop(1)
    bench.accept(0)
    bench.accept(2)
    bench.push()
    mixed = bench.gradient()
    bench.open(2)
    for portion in (0, 2):
        bench.compute(portion, 2)
        bench.accept(portion, 2)
    bench.push(2)
    np.testing.assert_array_equal(bench.gradient(), mixed)


def test_a_portion_dropped_half_way_is_given_up_and_may_come_again(bench: Bench) -> None:
    bench.open(1)
    bench.on_minibatch = lambda: bench.drop(3)
    report = bench.compute(3)
    assert report["examples"] == report["steps"] == 0 and report["index"] == 3
    bench.drop(3)  # late: it was given up already
    bench.on_minibatch = lambda: None
    assert bench.compute(3)["examples"] > 0
    bench.accept(3)
    bench.push()
    assert np.any(bench.gradient())


def test_another_pass_forgets_what_is_left_of_the_last(bench: Bench) -> None:
    bench.open(1)
    bench.compute(0)
    bench.accept(0)
    bench.compute(1)
    bench.open(2)
    bench.drop(4, 2)  # before its order is reached
    order, report = gradient_of(2, 0, 4, bench.batch.examples), np.zeros((), REPORT)
    bench.client.compute(order, report)
    assert report["examples"] == 0
    bench.compute(5, 2)
    bench.accept(5, 2)
    bench.push(2)
    alone = bench.gradient()
    bench.open(3)
    bench.compute(5, 3)
    bench.accept(5, 3)
    bench.push(3)
    np.testing.assert_array_equal(bench.gradient(), alone)


def test_a_push_of_a_pass_that_is_over_is_refused(bench: Bench) -> None:
    bench.open(1)
    bench.compute(0)
    bench.accept(0)
    bench.open(2)
    bench.push(1)
    assert bench.client.refused > 0 and not np.any(bench.gradient())


def test_buffers_are_used_again(bench: Bench) -> None:
    for pass_number in (1, 2, 3):
        bench.open(pass_number)
        for portion in range(bench.batch.portions):
            bench.compute(portion, pass_number)
            bench.accept(portion, pass_number)
        bench.push(pass_number)
    assert len({id(gradient.flat) for gradient in bench.client._spare}) == len(bench.client._spare) <= 4
