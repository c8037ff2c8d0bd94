"""What is decided before the roles split. Rank 0 decides for all, so that every rank agrees, or leaves."""

import secrets
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbmpi.config.sections import Config
from dbmpi.layout.topology import Topology, assign_roles
from dbmpi.run import cli, cores
from dbmpi.run.choices import carried_over, complete, told
from dbmpi.run.refusal import agree, say_warning, warn

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.checkpoint.manifest import Checkpoint
    from dbmpi.comm.places import RankPlace
    from dbmpi.data.describe import Description
    from dbmpi.data.factors import Scaling
    from dbmpi.layout.network import Network
    from dbmpi.ownership.identity import Identity
    from dbmpi.ownership.lease import Lease
    from dbmpi.ownership.owned import OwnedDirectory

LOOK_S = 1.0  # between two looks at the record of another owner, at most
LOOKS_A_LEASE = 10


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
    threads, crowded = cores.choose_threads(comm, config, places)
    given, what = config, "looking at the data"
    chosen, topology, (data, network) = agree(comm, lambda: _inspect(given, places), what, timeout_s)
    warn(comm, cores.thread_warnings(topology, places, threads, comm.Get_rank()), timeout_s)
    core_each, here = cores.core_each(topology, places, comm.Get_rank()), tuple(places)
    job = agree(comm, lambda: secrets.token_hex(16), "a name for the job", timeout_s)
    owned, lease = _own(comm, arguments, chosen)
    try:
        go_on = partial(_go_on, owned, arguments.resume, given, chosen, topology, (data, network))
        config, resume, scaling = agree(comm, go_on, "looking at the run directory", timeout_s)
        data, network = data.scaled(scaling), _network(config, data)
        words, config = told(given, config), cores.with_overlap(config, topology, places)
        plan = config, topology, here, threads, crowded, core_each, data, network
        return Setup(*plan, owned, resume, words, *_named(arguments, config, owned), lease, job)
    except BaseException:
        if lease is not None:
            lease.release()
        raise


def _network(config: Config, data: "Description") -> "Network":
    """Return the network of a run, whose last layer may be that of its checkpoint."""
    from dbmpi.layout.network import build

    return build(config, data.input_shape)


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


def _inspect(
    config: Config, places: "list[RankPlace]"
) -> "tuple[Config, Topology, tuple[Description, Network]]":
    """Look at the data, divide the ranks, and choose what is "auto". On rank 0."""
    from dbmpi.data.describe import describe
    from dbmpi.layout.network import build
    from dbmpi.run.capacity import check_memory, node_memory
    from dbmpi.run.checks import check_data
    from dbmpi.run.splitting import Node, choose_roles, node_bytes, scant
    from dbmpi.run.tasks import with_task

    description = describe(config.data.path, stand_in=False, weights=config.data.weights)
    config = with_task(config, description)
    network = build(config, description.input_shape)
    check_data(config, network, description)
    nodes = [place.node for place in places]
    node = Node(node_memory(), min(cores.ranks_and_cores(places, number)[1] for number in set(nodes)))
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
) -> "tuple[Config, Checkpoint | None, Scaling | None]":
    """Return the configuration, complete, what the run goes on from, and what scales data. On rank 0."""
    from dbmpi.checkpoint import manifest, resume
    from dbmpi.layout.network import build
    from dbmpi.run.checks import check_data, warnings
    from dbmpi.run.naming import announce_end
    from dbmpi.run.tasks import with_task

    description, network = data
    rows, replicas = description.train_rows, len(topology.replicas)

    def as_before(found: "Checkpoint") -> "tuple[Config, Network]":
        before = with_task(_as_before(config, found), description)
        return before, build(before, description.input_shape)

    def model(found: "Checkpoint") -> dict[str, Any]:
        return manifest.model_of(as_before(found)[1], config.model.dtype, rows)

    saved, refused = resume.find(owned.path, model, wanted)
    if saved is not None:
        before, network = as_before(saved)
        check_data(before, network, description)
        chosen = complete(before, network, rows, replicas)
    for text in (*refused, *warnings(chosen, network, description, replicas)):
        say_warning(text)
    announce_end(owned.path)
    return chosen, saved, _scaling(chosen.data.scaling, saved, description)


def _scaling(mode: str, saved: "Checkpoint | None", description: "Description") -> "Scaling | None":
    """Return what scales inputs and targets: that of the checkpoint, or what the training set says."""
    if mode == "none":
        return None
    if saved is not None and saved.scaling is not None and saved.scaling.by == mode:
        return saved.scaling
    from dbmpi.data.scaling import measure
    from dbmpi.data.split import Split

    with Split(description.path, "train") as train:
        return measure(train, mode)


def _as_before(config: Config, saved: "Checkpoint") -> Config:
    """Return the configuration with what the run of a checkpoint had chosen."""
    from dbmpi.config.load import loads

    if told(config, config) == "":
        return config
    name = f"the configuration in checkpoint {saved.path}"
    return carried_over(config, loads(saved.manifest.configuration.encode(), name=name))
