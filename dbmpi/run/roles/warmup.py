"""Before training: kernels are compiled once a node, and the run directory says who does what."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dbmpi.comm.alone import Alone, Guest
from dbmpi.comm.meeting import gathered, meet, shared, while_loading
from dbmpi.errors import UserError
from dbmpi.phases import phase
from dbmpi.run.plan.capacity import limits
from dbmpi.run.plan.cautions import expectations
from dbmpi.run.plan.cores import thread_reasons
from dbmpi.run.start.refusal import say_warning, warn
from dbmpi.run.tables import spans
from dbmpi.screen import say
from dbmpi.text import several

if TYPE_CHECKING:
    import numpy as np
    from mpi4py import MPI

    from dbmpi.layout.topology import Role
    from dbmpi.run.plan.setup import Setup
    from dbmpi.run.roles.context import RunContext

NEVER = 1_000_000  # collections of young objects, before one of the old
COMPILE_S = 300.0  # compilation alone may take longer than a short cluster.timeout_s


def describe(setup: "Setup", comm: "MPI.Intracomm", started: float) -> None:
    """Write the resolved configuration and run.json. Collective over `comm`.

    Parameters
    ----------
    started
        When the program was, `time.monotonic`.
    """
    what, library = "writing run.json", _library(comm)
    timeout_s = while_loading(setup.config.cluster.timeout_s)
    threads = gathered(comm, setup.threads, what, timeout_s)
    guest = isinstance(comm, Guest)
    shared(comm, lambda: _describe(setup, threads or [], library, started, guest), what, timeout_s)


def _describe(setup: "Setup", threads: list[int], library: str, started: float, guest: bool) -> None:
    """See `describe`; on rank 0."""
    from dbmpi.output.run_directory import CONFIG, describe_run
    from dbmpi.run.plan.description import about, places

    resumed_from = setup.resume.manifest.number if setup.resume is not None else None
    plan = setup.config, setup.topology, places(setup), library, threads, resumed_from
    kept = describe_run(setup.owned, *plan, setup.source, about(setup, started))
    setup.begin()
    if kept:
        say_warning(f"{setup.run_dir / CONFIG} was not as a run writes it; what was there is {kept} now")
    _announce(setup, guest)


def _library(comm: "MPI.Intracomm") -> str:
    """Return how the MPI calls itself that ranks run under."""
    if isinstance(comm, Alone):
        return "none"
    from mpi4py import MPI

    return MPI.Get_library_version().splitlines()[0].rstrip(", \x00")


def _announce(setup: "Setup", guest: bool) -> None:
    """Print who does what, where it goes, and what to expect; of a `guest` no threads: it has set none."""
    from dbmpi.run.plan.checks import made_of  # HDF5: only where it is needed

    say(f"dbmpi: {setup.topology.equation()}")
    say(f"dbmpi: run directory {setup.run_dir}")
    if setup.topology.spares:
        spares = ", ".join(map(str, setup.topology.spares))
        say(f"dbmpi: left over, without work: ranks {spares}")
    for line in made_of(setup.description):
        say(f"dbmpi: {line}")
    if limits():
        say(f"dbmpi: {limits()}")
    reasons = {} if guest else thread_reasons(setup.config, setup.places)
    for why, ranks in reasons.items():
        say(f"dbmpi: threads of {'ranks' if len(ranks) > 1 else 'rank'} {spans(ranks)}: {why}")
    if setup.chosen:
        kept = "" if setup.resume is None else f", or kept from checkpoint {setup.resume.manifest.number}"
        say(f"dbmpi: chosen{kept}: {setup.chosen}")
    for line in expectations(setup.config, len(setup.topology.replicas)):
        say(f"dbmpi: {line}")


def warm_up(context: "RunContext", comm: "MPI.Intracomm") -> None:
    """Compile the kernels on one rank of a node, then load them on the others. Collective over `comm`.

    No rank trains before all have them: the others would do the work of one that still loads.
    """
    setup, rank = context.setup, comm.Get_rank()
    role, timeout_s = setup.topology.roles[rank], max(context.config.cluster.timeout_s, COMPILE_S)
    guest = isinstance(comm, Guest)
    phase("loading kernels")
    if rank in compilers(setup):
        speaks = rank == setup.topology.replicas[0][0]
        with _announcing_compilation() if speaks else nullcontext():
            rehearse(context, role, guest)
    meet(comm, "the end of compilation", timeout_s)
    if rank not in compilers(setup):
        rehearse(context, role, guest)
    meet(comm, "the start of training", timeout_s)
    warn(comm, _problems(), timeout_s)


@contextmanager
def _announcing_compilation() -> Iterator[None]:
    """Have it said that kernels are compiled, if they are meanwhile. Local."""
    from kernels.image import store

    def tell() -> None:
        phase("compiling kernels")
        say("dbmpi: compiling kernels, in a minute or so; later runs on this machine load them")

    store.compiling.append(tell)
    try:
        yield
    finally:
        with suppress(ValueError):  # it was called
            store.compiling.remove(tell)


def _problems() -> list[str]:
    """Return what is wrong with the surroundings of kernels, in a line each."""
    if "kernels" not in sys.modules:
        return []
    from kernels import deferred
    from kernels.image import store

    return [*deferred.problems, *store.problems]


def compilers(setup: "Setup") -> set[int]:
    """Return the ranks that compile for their node: the first of each role on it."""
    first: dict[tuple[int, str], int] = {}
    for rank, role in enumerate(setup.topology.roles):
        first.setdefault((setup.places[rank].node, role.kind), rank)
    return set(first.values())


def rehearse(context: "RunContext", role: "Role", guest: bool = False) -> None:
    """Call every kernel that a role will use once, on arrays of its types, to compile and cache it.

    A `guest` leaves the collections of its process alone.
    """
    if role.kind not in ("shard", "replica", "serial"):
        return
    with nullcontext() if guest else _without_full_collections():
        from kernels import jit

        _set_threads(context.setup.threads)
        _rehearse(context, role)
        if context.setup.threads > 1:  # small arrays have used the variants of one thread
            with jit.parallel_from(0):
                _rehearse(context, role)


def _set_threads(n: int) -> None:
    from kernels import jit

    try:
        jit.set_threads(n)
    except RuntimeError as error:
        raise UserError(
            f"a rank cannot have {several(n, 'thread')} ({error}): set cluster.threads to less, or raise "
            "the limit of processes (ulimit -u, or that of the container)"
        ) from error


@contextmanager
def _without_full_collections() -> Iterator[None]:
    """Let only young objects be collected meanwhile, and none of those that are there at the end. Local.

    Loading Numba and its kernels makes objects that stay. A full collection among them took 0.05 s of CPU a
    rank, a tenth of a replica's start; whether one or two fell into it was a matter of a few objects.
    """
    youngest, young, old = gc.get_threshold()
    gc.set_threshold(youngest, young, NEVER)
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(youngest, young, old)


def _rehearse(context: "RunContext", role: "Role") -> None:
    if role.kind in ("shard", "serial"):
        _rehearse_shard(context)
    if role.kind in ("replica", "serial"):
        _rehearse_replica(context, role.partition_index)


def _rehearse_shard(context: "RunContext") -> None:
    import numpy as np

    from dbmpi.comm.protocol import Op
    from dbmpi.layout.sharding import Piece
    from dbmpi.server import compression, rules
    from dbmpi.server.averaging import averaged
    from dbmpi.server.shard import Shard
    from kernels.parameters import rules as kernels

    limits, dtype = replace(context.config.downpour, average=1), context.dtype
    piece = Piece(0, 0, 0, 0, 2)
    rule = averaged(rules.make(limits), context.config.train.average)
    shard = Shard(0, {piece: np.zeros(2, dtype)}, rule, limits)
    encoder = compression.Encoder(compression.wire_of(limits.wire, dtype), 2)
    message = encoder.encode(np.zeros(2, dtype))
    gradient = compression.decode(message, encoder.wire, np.zeros(2, dtype))
    for out in (None, np.zeros(2, dtype)):
        for client in range(2):  # the second one's gradient is from parameters that the first has replaced
            shard.fetch(0, client)
        version = shard.held[0].version
        for client in range(2):
            since = shard.since(0, client, Op.PUSH, version, 1)
            shard.push(0, gradient, version, 0.1, out, since=since)
    if context.config.sync or context.config.downpour.average > 1:
        few = [np.zeros(2, dtype) for _ in range(3)]
        kernels.add_scaled(few[0], 0.5, few[1])
        kernels.mean_of_two(*few, 0.5)
    if context.config.batch:
        _rehearse_vectors(dtype)


def _rehearse_vectors(dtype: "np.dtype[Any]") -> None:
    import numpy as np

    from dbmpi.comm import operations
    from dbmpi.comm.operations import BASE, DIRECTION, GRADIENT, PARAMETERS, Program
    from dbmpi.server.vectors import Vectors

    vectors = Vectors(np.zeros((operations.count(1), 2), dtype), [(0, 2)])
    moving = Program().combine(PARAMETERS, [(1.0, BASE), (0.5, DIRECTION)]).open(1)
    vectors.run(moving.records)
    for _ in range(2):
        vectors.accrue(1, 0, 2, np.zeros(2, dtype))
    vectors.run(Program().commit(0).dots([(GRADIENT, GRADIENT)]).records)


def _rehearse_replica(context: "RunContext", partition: int) -> None:
    """Take one step of this partition's part of the network, on zeros and without the others.

    The views are those of training, as kernels are compiled for each layout they meet.
    """
    import numpy as np

    from dbmpi.model.partition import PartitionModel
    from dbmpi.model.tensors import tensors
    from dbmpi.server import compression
    from kernels.layers.input import gather_transpose, gather_transpose_scaled
    from kernels.parameters import rules

    config, dtype, plan = context.config, context.dtype, context.partitioning
    model = PartitionModel(plan, partition, context.labels, dtype, config.model.l2)
    theta, gradient = (tensors(plan, partition, np.zeros(model.parameters, dtype)) for _ in range(2))
    outputs = model.outputs[1] - model.outputs[0]
    targets = np.zeros(2, np.int64) if context.labels else np.zeros((outputs, 2), dtype)
    x_IB = model.workspace(2).states[0].reshape(-1, 2)
    stored = np.zeros((2, len(x_IB)), context.setup.description.dtype)
    gather_transpose(stored, np.arange(2), 1.0, 0.0, x_IB)
    if not all(isinstance(one, float) for one in context.setup.description.of_inputs):
        columns = np.ones(len(x_IB), stored.dtype if stored.dtype == np.float64 else dtype)
        gather_transpose_scaled(stored, np.arange(2), columns, columns, x_IB)
    if config.train.class_weights or config.data.weights:
        model.workspace(2).weights = np.ones(2, dtype)
    model.differentiate(theta, gradient, 2, targets)
    model.evaluate(theta, 2, targets)
    if config.model.l2:
        model.penalty(theta)
    few = np.zeros(2, dtype)
    rules.accrue_and_step(few, few.copy(), few.copy(), 0.1)
    rules.add_scaled(few, 0.1, few.copy())
    compression.Encoder(compression.wire_of(config.downpour.wire, dtype), 2).encode(few)
