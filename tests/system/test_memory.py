"""The memory that ranks take is what `--dry-run` says."""

import re

import pytest

from dbmpi.data import digits
from dbmpi.data.describe import describe
from dbmpi.layout.decomposition import decompose
from dbmpi.layout.network import build
from dbmpi.layout.topology import assign_roles
from dbmpi.run.plan.choices import complete
from dbmpi.run.plan.memory import MemoryReport
from tests.doubles.ten_classes import load
from tests.system.reading import QUIET

FIRST, SECOND = 4096, 3072  # units: 12.9 million parameters
SIZES = {"compiled": (16, 16), "small": (16, 16), "large": (FIRST, SECOND)}  # the first may compile kernels


def layers(sizes):
    return "model.layers=[" + ",".join(f"{{type='dense',units={n}}}" for n in (*sizes, 10)) + "]"


def said(ranks, settings):
    """Return the bytes that each rank takes, as the dry run has them; 0 for the coordinator."""
    config, data = load(None, settings), describe(digits.path())
    topology = assign_roles(ranks, config.cluster.shards, config.cluster.replicas, config.cluster.partitions)
    network = build(config, data.input_shape)
    config = complete(config, network, data.train_rows, len(topology.replicas))
    report = MemoryReport(config, decompose(config, topology, network), data)
    of = {
        "serial": lambda role: report.of_serial().total,
        "coordinator": lambda role: 0,
        "shard": lambda role: report.of_shard(role.shard_index).total,
        "replica": lambda role: report.of_partition(role.partition_index).total,
    }
    return [of[role.kind](role) for role in topology.roles]


@pytest.mark.parametrize(("ranks", "partitions"), [(0, 1), (4, 2)])
def test_a_large_model_takes_what_the_dry_run_says(launch, ranks, partitions):
    """More than a small one, which takes what does not depend on the model."""
    cluster = ["cluster.replicas=1", f"cluster.partitions={partitions}", "cluster.threads=1"]
    peaks, sums = {}, {}
    for name, sizes in SIZES.items():
        settings = [
            layers(sizes),
            *cluster,
            "train.steps=12",
            "train.epochs=none",
            "downpour.learning_rate=1e-6",
        ]
        done = launch(ranks, "--set", *settings, *QUIET[1:], "--run-dir", name, module="tests.system.memory")
        assert done.status == 0, done
        found = [map(int, line) for line in re.findall(r"peak (\d) (\d+) (\d+)", done.err)]
        # What a shard shares is the memory of partitions, that of partitions is their own.
        peaks[name] = {rank: 1024 * (kib - shared * (rank == 1)) for rank, kib, shared in found}
        sums[name] = said(max(ranks, 1), settings)
    for rank, (small, large) in enumerate(zip(sums["small"], sums["large"], strict=True)):
        grown, expected = peaks["large"][rank] - peaks["small"][rank], large - small
        if rank == 0 and ranks:
            assert grown < 4 * 10**6
        else:
            assert expected / 1.1 < grown < 1.1 * expected, (rank, grown, expected)
