"""What is decided before the roles split. Rank 0 decides for all, so that every rank agrees, or leaves."""

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.config.sections import Config
from dbmpi.layout.topology import Topology, assign_roles
from dbmpi.run import cli, launch, surroundings
from dbmpi.run.choices import carried_over, complete, told
from dbmpi.run.refusal import agree, say_warning, warn

LOOK_S = 1.0  # between two looks at the record of another owner, at most
LOOKS_A_LEASE = 10

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.checkpoint.manifest import Checkpoint
    from dbmpi.comm.places import RankPlace
    from dbmpi.data.describe import Description
    from dbmpi.layout.network import Network
    from dbmpi.ownership.identity import Identity
    from dbmpi.ownership.lease import Lease
    from dbmpi.ownership.owned import OwnedDirectory


COMPUTING = "replica", "serial"  # kinds of roles that compute all the time


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
    owned
        The run directory, which is this job's.
    resume
        The checkpoint that the run goes on from; None for a new run.
    job
        Which nobody but the ranks of this job can know: names in places that others share are made of it.
    chosen
        What `choices` put in place of "auto", in words; nothing where all was given.
    source, go_on
        From which file the run was begun, and which command goes on with it, in words.
    lease
        Of the run directory; on rank 0 alone.
    """

    config: Config
    topology: Topology
    places: "tuple[RankPlace, ...]"
    threads: int
    crowded: bool
    core_each: bool
    description: "Description"
    network: "Network"
    owned: "OwnedDirectory"
    resume: "Checkpoint | None" = None
    chosen: str = ""
    source: str = ""
    go_on: str = ""
    lease: "Lease | None" = None
    job: str = ""

    @property
    def run_dir(self) -> Path:
        """The run directory, absolute."""
        return self.owned.path

    def has_rank(self, identity: "Identity") -> bool:
        """Return whether a process is a rank of this job."""
        ranks = {(place.host, place.process.pid, place.process.started) for place in self.places}
        return (identity.host, identity.pid, identity.start) in ranks

    def release(self) -> None:
        """Give the run directory up, if this rank holds it: nothing is written there any more. Local."""
        if self.lease is not None:
            self.lease.release()


def prepare(arguments: cli.Arguments, comm: "MPI.Intracomm") -> Setup:
    """Check everything that a user can get wrong, before the roles split. Collective over `comm`.

    Raises
    ------
    Refused
        As `agree`.
    """
    config = agree(comm, lambda: _read(arguments, comm.Get_size()), "reading the configuration")
    timeout_s = config.cluster.timeout_s
    places = _survey(comm, timeout_s)
    threads, crowded = _choose_threads(comm, config, places)
    given, what = config, "looking at the data"
    chosen, topology, (data, network) = agree(comm, lambda: _inspect(given, places), what, timeout_s)
    owned, lease = _own(comm, arguments, chosen)
    try:
        go_on = partial(_go_on, owned, arguments.resume, given, chosen, topology, (data, network))
        config, resume = agree(comm, go_on, "looking at the run directory", timeout_s)
    except BaseException:
        if lease is not None:
            lease.release()
        raise
    warn(comm, _thread_warnings(topology, places, threads, comm.Get_rank()), timeout_s)
    words, config = told(given, config), _with_overlap(config, topology, places)
    core_each, here = _core_each(topology, places, comm.Get_rank()), tuple(places)
    plan = config, topology, here, threads, crowded, core_each, data, network
    job = agree(comm, lambda: secrets.token_hex(16), "a name for the job", timeout_s)
    return Setup(*plan, owned, resume, words, *_named(arguments, config, owned), lease, job)


def _named(arguments: cli.Arguments, config: Config, owned: "OwnedDirectory") -> tuple[str, str]:
    """Return from which file the run was begun, and which command goes on with it."""
    from dbmpi.run import naming

    return naming.source(arguments, config), naming.go_on(arguments, owned.path)


def _own(
    comm: "MPI.Intracomm", arguments: cli.Arguments, config: Config
) -> "tuple[OwnedDirectory, Lease | None]":
    """Make the run directory this job's; return it, and the lease on rank 0. Collective over `comm`.

    Rank 0 may have to wait, however long; all sleep between its looks. Raises as `agree`.
    """
    opening, pause_s = None, min(LOOK_S, config.output.lease_s / LOOKS_A_LEASE)
    if comm.Get_rank() == 0:
        from dbmpi.run.directory import Opening

        opening = Opening(arguments, config)
    try:
        what, timeout_s = "opening the run directory", config.cluster.timeout_s
        look = opening.attempt if opening is not None else _nothing
        while (owned := agree(comm, look, what, timeout_s)) is None:
            time.sleep(pause_s)
    except BaseException:
        if opening is not None:
            opening.close()
        raise
    return owned, opening.lease if opening is not None else None


def _nothing() -> None:
    """Stand for what rank 0 alone does."""


def _survey(comm: "MPI.Intracomm", timeout_s: float) -> "list[RankPlace]":
    """Return where every rank runs. Collective over `comm`."""
    if comm.Get_size() == 1:
        from dbmpi.comm.places import here

        return [here()]
    from dbmpi.comm.world import survey

    return survey(comm, timeout_s)


def _read(arguments: cli.Arguments, ranks: int) -> Config:
    """Read the configuration; there must be ranks for it. On rank 0: only there what reads TOML is loaded."""
    from dbmpi.config.load import load

    config = load(arguments.config, arguments.overrides)
    cluster = config.cluster
    assign_roles(ranks, cluster.shards, cluster.replicas, cluster.partitions)
    return config


def _ranks_and_cores(places: "Sequence[RankPlace]", node: int) -> tuple[int, int]:
    """Return how many ranks are on a node, and how many cores they may use together, whole ones."""
    here = [place for place in places if place.node == node]
    cores = len(frozenset().union(*(place.cores for place in here)))
    return len(here), max(1, int(min(cores, *(place.quota for place in here))))


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
    threads, problem = surroundings.possible_threads(threads, config.cluster.threads == "auto")
    os.environ.update(launch.thread_environment(threads))
    warn(comm, problem, config.cluster.timeout_s)
    return threads, ranks > cores


def _thread_warnings(topology: Topology, places: "list[RankPlace]", threads: int, rank: int) -> list[str]:
    """Return what is wrong with the threads of a rank. Local."""
    mine = places[rank]
    here = [role.kind for role, place in zip(topology.roles, places, strict=True) if place.node == mine.node]
    computing = sum(kind in COMPUTING for kind in here)
    if topology.roles[rank].kind not in COMPUTING:
        return []
    cores = _ranks_and_cores(places, mine.node)[1]
    return launch.thread_warnings(threads, len(mine.cores), computing, cores, len(here) - computing)


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
    config: Config, places: "list[RankPlace]"
) -> "tuple[Config, Topology, tuple[Description, Network]]":
    """Look at the data, divide the ranks, and choose what is "auto". On rank 0."""
    from dbmpi.data.describe import describe
    from dbmpi.layout.network import build
    from dbmpi.run.capacity import check_memory, node_memory
    from dbmpi.run.checks import check_data
    from dbmpi.run.splitting import Node, choose_roles, node_bytes, scant

    description = describe(config.data.path, stand_in=False)
    network = build(config, description.input_shape)
    check_data(config, network, description)
    nodes = [place.node for place in places]
    node = Node(node_memory(), min(_ranks_and_cores(places, number)[1] for number in set(nodes)))
    rows = description.train_rows
    topology, _ = choose_roles(config, network, description, len(nodes), node, nodes)
    chosen = complete(config, network, rows, len(topology.replicas))
    check_memory(network, chosen, topology, rows)
    taken = node_bytes(chosen, network, description, topology, nodes)
    if crowded := scant(taken, node):
        say_warning(crowded)
    return chosen, topology, (description, network)


def _go_on(
    owned: "OwnedDirectory",
    wanted: bool,
    config: Config,
    chosen: Config,
    topology: Topology,
    data: "tuple[Description, Network]",
) -> "tuple[Config, Checkpoint | None]":
    """Return the configuration, complete, and what the run goes on from. On rank 0."""
    from dbmpi.checkpoint import manifest, resume
    from dbmpi.run.checks import warnings
    from dbmpi.run.naming import announce_end

    description, network = data
    rows, replicas = description.train_rows, len(topology.replicas)
    model = manifest.model_of(network, config.model.dtype, rows)
    saved, refused = resume.find(owned.path, model, wanted)
    if saved is not None:
        chosen = complete(_as_before(config, saved), network, rows, replicas)
    for text in (*refused, *warnings(chosen, network, description, replicas)):
        say_warning(text)
    announce_end(owned.path)
    return chosen, saved


def _as_before(config: Config, saved: "Checkpoint") -> Config:
    """Return the configuration with what the run of a checkpoint had chosen."""
    from dbmpi.config.load import loads

    if told(config, config) == "":
        return config
    name = f"the configuration in checkpoint {saved.path}"
    return carried_over(config, loads(saved.manifest.configuration.encode(), name=name))
