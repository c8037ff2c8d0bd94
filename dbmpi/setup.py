"""What is decided before the roles split, on rank 0 for all: so that every rank agrees, or leaves."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dbmpi import cli, launch, rundir, settings, topology
from dbmpi.config import Config
from dbmpi.errors import UserError
from dbmpi.topology import Topology

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.data import Description
    from dbmpi.manifest import Checkpoint
    from dbmpi.network import Network
    from dbmpi.world import Place

T = TypeVar("T")


@dataclass(frozen=True)
class Setup:
    """A run as every rank knows it."""

    config: Config
    topology: Topology
    places: "tuple[Place, ...]"
    threads: int
    crowded: bool
    description: "Description"
    network: "Network"
    run_dir: Path
    resume: "Checkpoint | None" = None


class Refused(Exception):
    """Rank 0 met a user error, and has printed it."""


def agree(comm: "MPI.Intracomm", decide: Callable[[], T]) -> T:
    """Decide on rank 0, and let every rank know. Collective over `comm`.

    Raises
    ------
    Refused
        On every rank, if `decide` raises UserError; rank 0 prints it.
    """
    answer: T | UserError | None = None
    if comm.Get_rank() == 0:
        try:
            answer = decide()
        except UserError as error:
            complain(error)
            answer = error
    answer = comm.bcast(answer, 0)
    if isinstance(answer, UserError):
        raise Refused
    return answer


def complain(error: UserError) -> None:
    """Print a user error: one message, no traceback."""
    print(f"dbmpi: error: {error}", file=sys.stderr, flush=True)


def prepare(arguments: cli.Arguments, comm: "MPI.Intracomm") -> Setup:
    """Check everything that a user can get wrong, before the roles split. Collective over `comm`.

    Raises
    ------
    Refused
        As `agree`.
    """
    from dbmpi.world import survey

    places = survey(comm)
    config = agree(comm, lambda: settings.load(arguments.config, arguments.overrides))
    cluster, nodes = config.cluster, tuple(place.node for place in places)
    plan = agree(
        comm,
        lambda: topology.plan(len(nodes), cluster.shards, cluster.replicas, cluster.partitions, nodes),
    )
    threads, crowded = _threads(comm, config, places)
    config = _resolved(config, plan, places)
    seen = agree(comm, lambda: _look(arguments, config, plan))
    return Setup(config, plan, tuple(places), threads, crowded, *seen)


def _threads(comm: "MPI.Intracomm", config: Config, places: "list[Place]") -> tuple[int, bool]:
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


def _resolved(config: Config, plan: Topology, places: "list[Place]") -> Config:
    """Return the configuration with the choices that depend on the ranks and their cores. Local."""
    crowds = []
    for node in {place.node for place in places}:
        here = [place for place in places if place.node == node]
        crowds.append((len(here), len(frozenset().union(*(place.cores for place in here)))))
    ranks, cores = max(crowds, key=lambda crowd: crowd[0] / crowd[1])
    overlap = launch.resolve_overlap(config.downpour.overlap, len(plan.replicas), ranks, cores)
    return replace(config, downpour=replace(config.downpour, overlap=overlap))


def _look(
    arguments: cli.Arguments, config: Config, plan: Topology
) -> "tuple[Description, Network, Path, Checkpoint | None]":
    """Look at the data and at the run directory."""
    from dbmpi import capacity, data, network

    description = data.describe(config.data.path, stand_in=False)
    net = network.build(config, description.input_shape)
    data.check_fits(description, net.outputs, net.loss)
    capacity.check_memory(net, config, plan, description.train_rows)
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
    from dbmpi import manifest, resume

    wanted = arguments.run_dir
    if wanted is None and arguments.resume:
        wanted = resume.newest(cli.RUNS, cli.run_name(arguments.config))
    wanted = wanted or cli.default_run_dir(arguments.config, datetime.now())
    run_dir = rundir.create(wanted.absolute())
    model = manifest.model_of(network, config.model.dtype, description.train_rows)
    saved, refused = resume.find(run_dir, model, arguments.resume)
    for text in refused:
        print(f"dbmpi: warning: {text}", file=sys.stderr, flush=True)
    manifest.clear(run_dir)
    return run_dir, saved


def warn(comm: "MPI.Intracomm", warnings: list[str]) -> None:
    """Print each different warning once, on rank 0. Collective over `comm`."""
    gathered = comm.gather(warnings, 0)
    for text in dict.fromkeys(text for texts in gathered or [] for text in texts):
        print(f"dbmpi: warning: {text}", file=sys.stderr, flush=True)
