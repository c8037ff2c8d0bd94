"""What is decided before the roles split. Rank 0 decides for all, so that every rank agrees, or leaves."""

import secrets
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi import phases
from dbmpi.comm.meeting import while_loading
from dbmpi.config.sections import Config
from dbmpi.layout.topology import Topology, assign_roles
from dbmpi.run.plan import cores
from dbmpi.run.plan.choices import complete, told
from dbmpi.run.start import cli
from dbmpi.run.start.refusal import agree, say_warning, warn
from dbmpi.screen import say

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.checkpoint.manifest import Checkpoint
    from dbmpi.comm.abort import RankIdentity
    from dbmpi.comm.places import RankPlace
    from dbmpi.data.describe import Description
    from dbmpi.data.factors import Scaling
    from dbmpi.layout.network import Network
    from dbmpi.ownership.owned import OwnedDirectory
    from dbmpi.run.plan.directory import Opening

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
    opening
        What gives the run directory up; on rank 0 alone.
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
    opening: "Opening | None" = None
    job: str = ""

    @property
    def run_dir(self) -> Path:
        """The run directory, absolute."""
        return self.owned.path

    def begin(self) -> None:
        """Note that the run has begun: its directory describes it, and stays. Local."""
        if self.opening is not None:
            self.opening.begun = True

    def release(self) -> None:
        """Give the run directory up, if this rank holds it: nothing is written there any more. Local."""
        if self.opening is not None:
            self.opening.close()


def prepare(arguments: cli.Arguments, comm: "MPI.Intracomm", who: "RankIdentity") -> Setup:
    """Check everything that a user can get wrong, before the roles split. Collective over `comm`.

    Parameters
    ----------
    who
        This rank; it is told what to give up when it leaves.

    Raises
    ------
    Refused
        As `agree`.
    """
    config = agree(comm, lambda: _read(arguments, comm.Get_size()), "reading the configuration")
    phases.asked(config.output.progress)
    places = survey(comm, config.cluster.timeout_s)
    timeout_s = while_loading(config.cluster.timeout_s)
    threads, crowded = cores.choose_threads(comm, config, places)
    given, what = config, "looking at the data"
    chosen, topology, (data, network) = agree(comm, lambda: _inspect(given, places), what, timeout_s)
    warn(comm, cores.thread_warnings(topology, places, threads, comm.Get_rank()), timeout_s)
    core_each, here = cores.core_each(topology, places, comm.Get_rank()), tuple(places)
    job = agree(comm, lambda: secrets.token_hex(16), "a name for the job", timeout_s)
    owned, opening = _own(comm, arguments, given, chosen, data, who)
    go_on = partial(_go_on, owned, arguments.resume, given, chosen, topology, (data, network))
    config, resume, scaling = agree(comm, go_on, "looking at the run directory", timeout_s)
    data, network = data.scaled(scaling), _network(config, data)
    words, config = told(given, config), cores.with_overlap(config, topology, places)
    plan = config, topology, here, threads, crowded, core_each, data, network
    return Setup(*plan, owned, resume, words, *_named(arguments, config, owned), opening, job)


def _network(config: Config, data: "Description") -> "Network":
    """Return the network of a run, whose last layer may be that of its checkpoint."""
    from dbmpi.layout.network import build

    return build(config, data.input_shape)


def _named(arguments: cli.Arguments, config: Config, owned: "OwnedDirectory") -> tuple[str, str]:
    """Return from which file the run was begun, and which command goes on with it."""
    from dbmpi.run.plan import naming

    return naming.source(arguments, config), naming.go_on(arguments, owned.path)


def _own(
    comm: "MPI.Intracomm",
    arguments: cli.Arguments,
    given: Config,
    config: Config,
    data: "Description",
    who: "RankIdentity",
) -> "tuple[OwnedDirectory, Opening | None]":
    """Make the run directory this job's; return it, and what gives it up on rank 0. Collective over `comm`.

    Rank 0 may have to wait, however long; all sleep between its looks. Raises as `agree`.
    """
    opening, pause_s = None, min(LOOK_S, config.output.lease_s / LOOKS_A_LEASE)
    if comm.Get_rank() == 0:
        from dbmpi.run.plan.continuing import model_as_before
        from dbmpi.run.plan.directory import Opening

        opening = Opening(arguments, config, model_as_before(given, data), _keeper(comm))
        who.let_go = opening.close  # from here on, whichever way this process leaves
    what, timeout_s = "opening the run directory", while_loading(config.cluster.timeout_s)
    look = opening.attempt if opening is not None else _nothing
    while (owned := agree(comm, look, what, timeout_s)) is None:
        time.sleep(pause_s)
    return owned, opening


def _keeper(comm: "MPI.Intracomm") -> int:
    """Return the process id of the launcher that keeps the job alive when rank 0 dies; 0 for none. Local."""
    if comm.Get_size() == 1:
        return 0
    from dbmpi.comm import ancestry, ulfm

    return (ancestry.launcher() or 0) if ulfm.enabled() else 0


def _nothing() -> None:
    """Stand for what rank 0 alone does."""


def survey(comm: "MPI.Intracomm", timeout_s: float) -> "list[RankPlace]":
    """Return where every rank runs. Collective over `comm`."""
    if comm.Get_size() == 1:
        from dbmpi.comm.places import here

        return [here()]
    from dbmpi.comm import world

    return world.survey(comm, timeout_s)


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
    from dbmpi.data.fields import fields_of
    from dbmpi.layout.network import build
    from dbmpi.run.plan.capacity import check_memory, node_memory
    from dbmpi.run.plan.checks import check_data, check_libraries, with_cut
    from dbmpi.run.plan.splitting import Node, choose_roles, node_bytes, scant
    from dbmpi.run.plan.tasks import with_task

    check_libraries(config)
    description = describe(config.data.path, stand_in=False, fields=fields_of(config))
    config = with_task(with_cut(config, description), description)
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
    from dbmpi.checkpoint import resume
    from dbmpi.layout.network import build
    from dbmpi.run.plan.checks import check_data, warnings, with_cut
    from dbmpi.run.plan.continuing import as_before, ended, model_as_before
    from dbmpi.run.plan.tasks import with_task

    description, network = data
    rows, replicas = description.train_rows, len(topology.replicas)
    config = with_cut(config, description)
    saved, refused = resume.find(owned.path, model_as_before(config, description), wanted)
    if saved is not None:
        before = with_task(as_before(config, saved), description)
        network = build(before, description.input_shape)
        check_data(before, network, description)
        chosen = complete(before, network, rows, replicas)
    for text in (*refused, *warnings(config, chosen, network, description, replicas)):
        say_warning(text)
    scaling = _scaling(chosen.data.scaling, saved, description)
    if saved is None:
        _look_at_initial(chosen, description.scaled(scaling))
    if reason := ended(owned.path):
        text = f"the run in {owned.path} has ended ({reason}); it goes on as far as limits are higher now"
        say(f"dbmpi: {text}")
    return chosen, saved, scaling


def _look_at_initial(config: Config, data: "Description") -> None:
    """See that a new run can begin from the model that it names, if it does."""
    if config.train.initial is None:
        return
    from dbmpi.run.plan.initial import look

    said, warnings = look(config, _network(config, data), data)
    for text in said:
        say(f"dbmpi: {text}")
    for text in warnings:
        say_warning(text)


def _scaling(mode: str, saved: "Checkpoint | None", description: "Description") -> "Scaling | None":
    """Return what scales inputs and targets: that of the checkpoint, or what the training set says."""
    if mode == "none":
        return None
    if saved is not None and saved.scaling is not None and saved.scaling.by == mode:
        return saved.scaling
    from dbmpi.data.scaling import measure
    from dbmpi.data.split import Split

    with Split(description.path, "train", view=description.view("train")) as train:
        return measure(train, mode)
