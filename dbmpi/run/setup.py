"""What is decided before the roles split, on rank 0 for all: so that every rank agrees, or leaves."""

import os
import sys
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.config.sections import Config
from dbmpi.errors import UserError
from dbmpi.layout import topology
from dbmpi.layout.topology import Topology
from dbmpi.output import run_directory
from dbmpi.run import cli, launch
from dbmpi.run.refusal import agree, warn

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.checkpoint.manifest import Checkpoint
    from dbmpi.comm.world import RankPlace
    from dbmpi.data.describe import Description
    from dbmpi.layout.network import Network


@dataclass(frozen=True)
class Setup:
    """A run as every rank knows it."""

    config: Config
    topology: Topology
    places: "tuple[RankPlace, ...]"
    threads: int
    crowded: bool
    description: "Description"
    network: "Network"
    run_dir: Path
    resume: "Checkpoint | None" = None


def prepare(arguments: cli.Arguments, comm: "MPI.Intracomm") -> Setup:
    """Check everything that a user can get wrong, before the roles split. Collective over `comm`.

    Raises
    ------
    Refused
        As `agree`.
    """
    from dbmpi.comm.world import survey

    places = survey(comm)
    config = agree(comm, lambda: _load(arguments))
    cluster, nodes = config.cluster, tuple(place.node for place in places)
    roles = agree(
        comm,
        lambda: topology.assign_roles(
            len(nodes), cluster.shards, cluster.replicas, cluster.partitions, nodes
        ),
    )
    threads, crowded = _threads(comm, config, places)
    config = _resolved(config, roles, places)
    seen = agree(comm, lambda: _inspect(arguments, config, roles))
    return Setup(config, roles, tuple(places), threads, crowded, *seen)


def _load(arguments: cli.Arguments) -> Config:
    """Read the configuration: on rank 0, for what reads TOML is loaded here."""
    from dbmpi.config.load import load

    return load(arguments.config, arguments.overrides)


def _threads(comm: "MPI.Intracomm", config: Config, places: "list[RankPlace]") -> tuple[int, bool]:
    """Choose the threads of this rank, and whether its node has fewer cores than ranks.

    The libraries read the choice when they are loaded: no numpy before this.
    """
    mine = places[comm.Get_rank()]
    here = [place for place in places if place.node == mine.node]
    on_node = len(frozenset().union(*(place.cores for place in here)))
    threads = launch.resolve_threads(config.cluster.threads, len(mine.cores), len(here), on_node)
    os.environ.update(launch.thread_environment(threads))
    warn(comm, launch.thread_warnings(threads, len(mine.cores), len(here), on_node))
    return threads, len(here) > on_node


def _resolved(config: Config, roles: Topology, places: "list[RankPlace]") -> Config:
    """Return the configuration with the choices that depend on the ranks and their cores. Local."""
    crowds = []
    for node in {place.node for place in places}:
        here = [place for place in places if place.node == node]
        crowds.append((len(here), len(frozenset().union(*(place.cores for place in here)))))
    ranks, cores = max(crowds, key=lambda crowd: crowd[0] / crowd[1])
    overlap = launch.resolve_overlap(config.downpour.overlap, len(roles.replicas), ranks, cores)
    return replace(config, downpour=replace(config.downpour, overlap=overlap))


def _inspect(
    arguments: cli.Arguments, config: Config, roles: Topology
) -> "tuple[Description, Network, Path, Checkpoint | None]":
    """Look at the data and at the run directory."""
    from dbmpi.data import describe
    from dbmpi.layout import network
    from dbmpi.run.capacity import check_memory

    description = describe.describe(config.data.path, stand_in=False)
    net = network.build(config, description.input_shape)
    describe.check_fits(description, net.outputs, net.loss)
    check_memory(net, config, roles, description.train_rows)
    if config.train.target.accuracy is not None and description.classes is None:
        raise UserError(
            f"train.target.accuracy = {config.train.target.accuracy}, but {description.path} has float "
            "targets, which have no accuracy: give train.target.loss"
        )
    return description, net, *_open(arguments, config, description, net)


def _open(
    arguments: cli.Arguments, config: Config, description: "Description", network: "Network"
) -> "tuple[Path, Checkpoint | None]":
    """Make the run directory, or find in it what to go on from."""
    from dbmpi.checkpoint import manifest, resume
    from dbmpi.checkpoint.directory import clear_unfinished

    wanted = arguments.run_dir
    if wanted is None and arguments.resume:
        wanted = resume.newest(cli.RUNS, cli.run_name(arguments.config))
    wanted = wanted or cli.default_run_dir(arguments.config, datetime.now())
    run_dir = run_directory.create(wanted.absolute())
    model = manifest.model_of(network, config.model.dtype, description.train_rows)
    saved, refused = resume.find(run_dir, model, arguments.resume)
    for text in refused:
        print(f"dbmpi: warning: {text}", file=sys.stderr, flush=True)
    clear_unfinished(run_dir)
    return run_dir, saved
