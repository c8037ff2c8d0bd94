"""What is decided before the roles split. Rank 0 decides for all, so that every rank agrees, or leaves."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.config.sections import Config
from dbmpi.errors import UserError
from dbmpi.layout.topology import Topology, assign_roles
from dbmpi.run import cli, launch
from dbmpi.run.choices import caution, complete, go_on, told
from dbmpi.run.refusal import agree, warn

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.checkpoint.manifest import Checkpoint
    from dbmpi.comm.world import RankPlace
    from dbmpi.data.describe import Description
    from dbmpi.layout.network import Network


@dataclass(frozen=True)
class Setup:
    """A run as every rank knows it.

    Attributes
    ----------
    config, topology, network
        The configuration, complete; the role of every rank; the layers and their tensors.
    places
        Host, node and cores of every rank.
    threads, crowded, core_each
        Of this rank: its threads, whether its node has fewer cores than ranks, and whether it is a partition
        whose node has a core for each partition that is there.
    description
        What the data file holds.
    run_dir
        The run directory, absolute.
    resume
        The checkpoint that the run goes on from; None for a new run.
    chosen
        What `choices` put in place of "auto", in words; nothing where all was given.
    """

    config: Config
    topology: Topology
    places: "tuple[RankPlace, ...]"
    threads: int
    crowded: bool
    core_each: bool
    description: "Description"
    network: "Network"
    run_dir: Path
    resume: "Checkpoint | None" = None
    chosen: str = ""


def prepare(arguments: cli.Arguments, comm: "MPI.Intracomm") -> Setup:
    """Check everything that a user can get wrong, before the roles split. Collective over `comm`.

    Raises
    ------
    Refused
        As `agree`.
    """
    from dbmpi.comm.world import survey

    config = agree(comm, lambda: _read(arguments, comm.Get_size()), "reading the configuration")
    timeout_s = config.cluster.timeout_s
    places = survey(comm, timeout_s)
    threads, crowded = _choose_threads(comm, config, places)
    given, what = config, "looking at the data and the run directory"
    config, topology, (data, network, run_dir, resume) = agree(
        comm, lambda: _inspect(arguments, given, places), what, timeout_s
    )
    chosen, config = told(given, config), _with_overlap(config, topology, places)
    core_each = _core_each(topology, places, comm.Get_rank())
    here = tuple(places)
    return Setup(config, topology, here, threads, crowded, core_each, data, network, run_dir, resume, chosen)


def _read(arguments: cli.Arguments, ranks: int) -> Config:
    """Read the configuration; there must be ranks for it. On rank 0: only there what reads TOML is loaded."""
    from dbmpi.config.load import load

    config = load(arguments.config, arguments.overrides)
    cluster = config.cluster
    assign_roles(ranks, cluster.shards, cluster.replicas, cluster.partitions)
    return config


def _ranks_and_cores(places: "Sequence[RankPlace]", node: int) -> tuple[int, int]:
    """Return how many ranks are on a node, and how many cores they may run on together."""
    here = [place for place in places if place.node == node]
    return len(here), len(frozenset().union(*(place.cores for place in here)))


def thread_reasons(config: Config, places: "Sequence[RankPlace]") -> dict[str, list[int]]:
    """Return how many threads ranks have, and why: for each reason the ranks, in order."""
    reasons: dict[str, list[int]] = {}
    nodes = {node: _ranks_and_cores(places, node) for node in {place.node for place in places}}
    for rank, place in enumerate(places):
        ranks, cores = nodes[place.node]
        why = launch.thread_reason(config.cluster.threads, len(place.cores), ranks, cores)
        reasons.setdefault(why, []).append(rank)
    return reasons


def _choose_threads(comm: "MPI.Intracomm", config: Config, places: "list[RankPlace]") -> tuple[int, bool]:
    """Choose the threads of this rank; return them, and whether its node has fewer cores than ranks.

    The libraries read the choice when they are loaded: no numpy before this.
    """
    mine = places[comm.Get_rank()]
    ranks, cores = _ranks_and_cores(places, mine.node)
    threads = launch.resolve_threads(config.cluster.threads, len(mine.cores), ranks, cores)
    os.environ.update(launch.thread_environment(threads))
    warn(comm, launch.thread_warnings(threads, len(mine.cores), ranks, cores), config.cluster.timeout_s)
    return threads, ranks > cores


def _core_each(topology: Topology, places: "list[RankPlace]", rank: int) -> bool:
    """Return whether a rank is a partition, on a node that has a core for each partition there."""
    node = places[rank].node
    partitions = [r for replica in topology.replicas for r in replica if places[r].node == node]
    return rank in partitions and len(partitions) <= _ranks_and_cores(places, node)[1]


def _with_overlap(config: Config, topology: Topology, places: "list[RankPlace]") -> Config:
    """Return the configuration with `downpour.overlap` chosen for the most crowded node. Local."""
    crowds = [_ranks_and_cores(places, node) for node in {place.node for place in places}]
    ranks, cores = max(crowds, key=lambda crowd: crowd[0] / crowd[1])
    replicas, nodes = len(topology.replicas), len(crowds)
    overlap = launch.resolve_overlap(config.downpour.overlap, replicas, nodes, ranks, cores)
    return replace(config, downpour=replace(config.downpour, overlap=overlap))


def _inspect(
    arguments: cli.Arguments, config: Config, places: "list[RankPlace]"
) -> "tuple[Config, Topology, tuple[Description, Network, Path, Checkpoint | None]]":
    """Look at the data and at the run directory, divide the ranks, and choose what is "auto". On rank 0."""
    from dbmpi.data.describe import check_fits, describe
    from dbmpi.layout.network import build
    from dbmpi.run.capacity import check_memory, node_memory
    from dbmpi.run.splitting import Node, choose_roles

    description = describe(config.data.path, stand_in=False)
    network = build(config, description.input_shape)
    check_fits(description, network.outputs, network.loss)
    nodes = [place.node for place in places]
    node = Node(node_memory(), min(_ranks_and_cores(places, number)[1] for number in set(nodes)))
    rows = description.train_rows
    topology, _ = choose_roles(config, network, description, len(nodes), node, nodes)
    chosen = complete(config, network, rows, len(topology.replicas))
    check_memory(network, chosen, topology, rows)
    if config.train.target.accuracy is not None and description.classes is None:
        raise UserError(
            f"train.target.accuracy = {config.train.target.accuracy}, but {description.path} has float "
            "targets, which have no accuracy: give train.target.loss"
        )
    run_dir, saved = _open(arguments, config, description, network)
    if saved is not None:
        chosen = complete(_as_before(config, saved), network, rows, len(topology.replicas))
    for text in (*description.warnings, caution(chosen, len(topology.replicas))):
        if text:
            print(f"dbmpi: warning: {text}", file=sys.stderr, flush=True)
    return chosen, topology, (description, network, run_dir, saved)


def _as_before(config: Config, saved: "Checkpoint") -> Config:
    """Return the configuration with what the run of a checkpoint had chosen."""
    from dbmpi.config.load import loads

    if told(config, config) == "":
        return config
    name = f"the configuration in checkpoint {saved.path}"
    return go_on(config, loads(saved.manifest.configuration.encode(), name=name))


def _open(
    arguments: cli.Arguments, config: Config, description: "Description", network: "Network"
) -> "tuple[Path, Checkpoint | None]":
    """Make the run directory, or find in it what to go on from."""
    from dbmpi.checkpoint import manifest, resume
    from dbmpi.checkpoint.directory import clear_unfinished
    from dbmpi.output import run_directory

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
