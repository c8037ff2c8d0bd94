"""The optimizers on real shards, 1, 2 and 5 of them: problems whose minimum is known, no network at all.

Rank 0 coordinates, and evaluates the function as a replica would: it fetches the parameters from the shards
that hold them, and pushes the gradient. All other ranks are shards.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dbmpi.checkpoint.shard_file import ShardWriter
from dbmpi.comm import operations
from dbmpi.comm.messages import Endpoint
from dbmpi.comm.operations import PARAMETERS, Program
from dbmpi.comm.protocol import Op
from dbmpi.comm.signals import Signals
from dbmpi.comm.wait import Waiter
from dbmpi.comm.watch import CoordinatorWatch
from dbmpi.config.algorithms import Downpour
from dbmpi.coordinator.service import CoordinatorService
from dbmpi.layout import sharding
from dbmpi.layout.sharding import Piece
from dbmpi.layout.topology import Topology
from dbmpi.output.metrics import MetricsLog
from dbmpi.output.progress import Silent
from dbmpi.ownership.owned import OwnedDirectory
from dbmpi.replica.client import Request
from dbmpi.replica.mpi_client import MpiClient
from dbmpi.sandblaster import minimize as optimizer
from dbmpi.sandblaster.optimizer_state import Limits
from dbmpi.server import rules
from dbmpi.server.service import ShardOutput, ShardService
from dbmpi.server.shard import Shard
from dbmpi.server.slices import Slices

Array = NDArray[Any]
SIZE, HISTORY = 1000, 10
WAITER = Waiter(30.0)
METHODS = ["lbfgs", "conjugate_gradient"]


def rosenbrock(x: Array) -> tuple[float, Array]:
    """Extended Rosenbrock (More, Garbow and Hillstrom 1981, problem 21); the minimum is 0, at all ones."""
    a, b = x[0::2], x[1::2]
    g = np.empty_like(x)
    g[0::2], g[1::2] = -400 * a * (b - a * a) - 2 * (1 - a), 200 * (b - a * a)
    return float((100 * (b - a * a) ** 2 + (1 - a) ** 2).sum()), g


def quadratic(x: Array) -> tuple[float, Array]:
    """Half of sum_i d_i x_i^2, the d_i from 1e-3 to 1: of condition 1e3."""
    d = np.logspace(-3, 0, len(x))
    return float(d @ (x * x)) / 2, d * x


class Remote:
    """The optimizer's problem over MPI; counts round trips and passes."""

    sampled = False

    def __init__(self, service: CoordinatorService, link: MpiClient, pieces: int, function: Any) -> None:
        self._service, self._link, self._pieces, self._function = service, link, pieces, function
        self.trips = self.passes = 0

    def run(self, program: Program) -> list[float]:
        self.trips += 1
        return [float(scalar) for scalar in self._service.shards.operate(program.records)]

    def evaluate(self, before: Program) -> float:
        self.passes += 1
        self.run(before.open(self.passes))
        value, gradient = self._function(self.parameters())
        self._exchange(Op.ACCRUE, gradient, self.passes)
        return float(value)

    def note(self, optimizer_state: Any) -> None:
        """Not ended before its end."""

    def resample(self) -> None:
        raise AssertionError("there are no samples")

    def parameters(self) -> Array:
        self._exchange(Op.FETCH, self._link.incoming, 0)
        return self._link.incoming

    def _exchange(self, op: Op, gradient: Array, evaluation: int) -> None:
        self._link.begin(Request(op, gradient, np.full(self._pieces, evaluation)))
        assert self._link.wait().refused == 0


def serve(comm: Any, folder: Path, pieces: tuple[Piece, ...], start: Array, vectors: int) -> None:
    """Be a shard until told to stop."""
    index = comm.rank - 1
    mine = sharding.of_shard(pieces, index)
    first = mine[0].start
    matrix = np.zeros((vectors, sum(piece.size for piece in mine)))
    matrix[PARAMETERS] = start[first : mine[-1].stop]
    ranges = [(piece.start - first, piece.stop - first) for piece in mine]
    held = {piece: matrix[PARAMETERS, a:b] for piece, (a, b) in zip(mine, ranges, strict=True)}
    limits = Downpour(rule="sgd")
    shard = Shard(index, held, rules.make(limits), limits, Slices(matrix, mine))
    shard_writer, owners = ShardWriter(OwnedDirectory(folder, 1), index), sharding.Owners(comm.size - 1)
    output = ShardOutput(lambda checkpoint, meanwhile: None, shard_writer, 1.0)
    ShardService(
        shard, Endpoint(comm, 0, WAITER, Signals(), CoordinatorWatch(30.0, "", None)), output, owners
    ).run()


def minimize(comm: Any, folder: Path, function: Any, start: Array, method: str, limits: Limits) -> Any:
    """Return the parameters found, how it ended, and the problem; None on the shards."""
    pieces = sharding.cut([SIZE], comm.size - 1, 170)  # several pieces a shard
    ranks = tuple(range(1, comm.size))
    made = optimizer.make(method, HISTORY)
    if comm.rank != 0:
        serve(comm, folder, pieces, start, operations.count(made.pairs))
        return None
    topology = Topology(comm.size, ranks, ((0,),))
    log = MetricsLog(folder / "metrics.jsonl", 1, False, 1.0, Silent(io.StringIO()))
    service = CoordinatorService(comm, topology, log, WAITER, 1.0, Signals())
    link = MpiClient(comm, pieces, ranks, np.empty(SIZE), "float64", WAITER)
    problem = Remote(service, link, len(pieces), function)
    end = optimizer.minimize(problem, made, limits, lambda iteration: None)
    found = problem.parameters().copy()
    service.shards.collect_reports(lambda: None)
    service.shards.stop(0)
    log.close()
    return found, end, problem


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.mpi(ranks=[2, 3, 6])
def test_extended_rosenbrock(comm: Any, folder: Path, method: str) -> None:
    start = np.tile([-1.2, 1.0], SIZE // 2)
    done = minimize(comm, folder, rosenbrock, start, method, Limits(200, 1e-8, 0.0))
    if done is not None:
        found, end, problem = done
        assert end == "converged" and problem.passes < (70 if method == "lbfgs" else 200)
        np.testing.assert_allclose(found, 1.0, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.mpi(ranks=[3, 6])
def test_an_ill_conditioned_quadratic(comm: Any, folder: Path, method: str) -> None:
    done = minimize(comm, folder, quadratic, np.ones(SIZE), method, Limits(2000, 1e-7, 0.0))
    if done is not None:
        found, end, problem = done
        assert end == "converged"
        assert quadratic(found)[0] < 1e-8 * quadratic(np.ones(SIZE))[0]


@pytest.mark.mpi(ranks=[2, 6])
def test_a_direction_costs_two_round_trips_and_an_evaluation_one(comm: Any, folder: Path) -> None:
    start = np.tile([-1.2, 1.0], SIZE // 2)
    done = minimize(comm, folder, rosenbrock, start, "lbfgs", Limits(30, 0.0, 0.0))
    if done is not None:
        _, _, problem = done
        # One before the start, and two there (open; look). Then: look (which makes the direction), the first
        # evaluation's own (open, with the direction), and its slope; further evaluations cost two each.
        assert problem.trips == 3 + 30 * 3 + 2 * (problem.passes - 1 - 30)
