"""The real training step of one process: the model, the shard with its guards and its rule, the client.

What `python -m dbmpi.train` does with each minibatch once it is in the model's workspace, by the same
objects.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dbmpi.config import load
from dbmpi.config.sections import Config
from dbmpi.data.describe import Description
from dbmpi.layout.network import Network, build
from dbmpi.layout.topology import assign_roles
from dbmpi.model.partition import PartitionModel
from dbmpi.ownership.owned import OwnedDirectory
from dbmpi.replica.downpour import DownpourClient
from dbmpi.replica.learning_rate import LearningRate
from dbmpi.run.plan.choices import complete
from dbmpi.run.plan.setup import Setup
from dbmpi.run.plan.tasks import with_task
from dbmpi.run.roles import shard_rank
from dbmpi.run.roles.context import RunContext
from dbmpi.run.roles.serial import LocalClient

ROWS = 10_000  # of an epoch: no step depends on it
SERIAL = ["cluster.shards=1", "cluster.replicas=1", "cluster.partitions=1", "downpour.overlap=false"]
CONSTANT = "downpour.schedule.warmup_epochs=0"  # each step is the first of the run


def context(file: Path | None, settings: Sequence[str], input_shape: tuple[int, ...]) -> RunContext:
    """Return a serial run of a configuration on examples of a shape, without data and without a directory."""
    config: Config = load.load(file, [*SERIAL, CONSTANT, "cluster.grid=none", *settings])
    inputs, classes = int(np.prod(input_shape)), 10  # of a last layer that does not say its units itself
    data = Description("", ROWS, ROWS, input_shape, inputs, classes, None, "uint8", 1.0, 0.0, None)
    config = with_task(config, data)
    network: Network = build(config, input_shape)
    config, data = complete(config, network, ROWS, 1), replace(data, classes=network.outputs)
    return RunContext(
        Setup(config, assign_roles(1), (), 1, False, False, data, network, OwnedDirectory(Path(), 1))
    )


def step(run: RunContext) -> Callable[[], object]:
    """Return a step of the run on one minibatch of random examples."""
    shard, values = shard_rank.shard(run, 0)
    client = LocalClient(shard, run.pieces, values, shared=True)
    model = PartitionModel(run.partitioning, 0, run.labels, run.dtype)
    settings, batch = run.config.downpour, run.config.train.minibatch
    rate = LearningRate(settings.learning_rate, settings.schedule, ROWS)
    nothing: object = None  # no loader: the minibatch stays
    downpour = DownpourClient(settings, rate, model, nothing, client, len(run.pieces), batch, lambda: None)  # type: ignore[arg-type]
    random = np.random.default_rng(1)
    inputs = model.workspace(batch).states[0]
    inputs[...] = random.random(inputs.shape, np.float32)
    labels = random.integers(0, run.setup.network.outputs, batch)
    downpour.begin()
    return lambda: downpour.step(batch, labels, 0)


def products(network: Network, batch: int) -> Callable[[], None]:
    """Return the matrix products of a step of a dense network, and nothing else."""
    sizes = [int(np.prod(space)) for space in network.spaces]
    w = [np.full((o, i), i**-0.5, np.float32) for i, o in zip(sizes, sizes[1:], strict=False)]
    dw = [np.empty_like(one) for one in w]
    y, dy = ([np.ones((size, batch), np.float32) for size in sizes] for _ in range(2))

    def run() -> None:
        for n, w_OI in enumerate(w):
            np.matmul(w_OI, y[n], out=y[n + 1])
        for n in reversed(range(len(w))):
            np.matmul(dy[n + 1], y[n].T, out=dw[n])
            if n:
                np.matmul(w[n].T, dy[n + 1], out=dy[n])

    return run
