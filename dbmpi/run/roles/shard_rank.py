"""What a shard is made of: its objects, put together from the context of the run."""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.arrays import Array
from dbmpi.comm.operations import PARAMETERS
from dbmpi.errors import PeerDied, Unreadable
from dbmpi.layout import sharding
from dbmpi.layout.sharding import Piece
from dbmpi.run.roles.context import RunContext, checkpoint_writer
from dbmpi.run.roles.model_output import model_writer

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.checkpoint.manifest import Checkpoint
    from dbmpi.comm.world import World
    from dbmpi.server.mirror import Mirror
    from dbmpi.server.rounds import Rounds
    from dbmpi.server.service import ShardService
    from dbmpi.server.shard import Shard
    from dbmpi.server.slices import Slices


def shard(context: RunContext, index: int) -> "tuple[Shard, Array]":
    """Make shard `index` with its first parameters; return these too, one piece after another."""
    from dbmpi.sandblaster.batch import vectors_of
    from dbmpi.server import initialize, rules
    from dbmpi.server.averaging import averaged
    from dbmpi.server.shard import Shard

    config, mine = context.config, sharding.of_shard(context.pieces, index)
    ends = list(accumulate(piece.size for piece in mine))
    ranges = [(end - piece.size, end) for piece, end in zip(mine, ends, strict=True)]
    matrix = np.zeros((vectors_of(config), sum(piece.size for piece in mine)), context.dtype)
    held = {piece: matrix[PARAMETERS, start:stop] for piece, (start, stop) in zip(mine, ranges, strict=True)}
    for piece, room in held.items():
        initialize.piece(context.partitioning, piece, config.train.seed, room)
    if config.train.initial is not None and context.setup.resume is None:
        from dbmpi.run.plan.initial import Initial

        with Initial(config.train, context.partitioning) as initial:
            for piece, room in held.items():
                initial.fill(piece, room)
    limits = config.downpour if config.uses_downpour else replace(config.downpour, rule="sgd")  # no state
    slices = None
    if config.batch:
        from dbmpi.server.slices import Slices

        slices = Slices(matrix, mine)
    rule = averaged(rules.make(limits), config.train.average)
    made = Shard(index, held, rule, limits, slices)
    if context.setup.resume is not None:
        restore_shard(context, context.setup.resume, made, held, slices)
    return made, matrix[PARAMETERS]


def restore_shard(
    context: RunContext,
    saved: "Checkpoint",
    shard: "Shard",
    held: "Mapping[Piece, Array]",
    slices: "Slices | None",
) -> None:
    """Fill a shard with its share of a checkpoint, whatever the shape that wrote it.

    Raises
    ------
    Unreadable
        What rank 0 found whole cannot be read here, or is not whole here.
    """
    from dbmpi.checkpoint.whole_file import Damaged

    try:
        _restore(context, saved, shard, held, slices)
    except Damaged as problem:
        raise Unreadable(
            f"{saved.path.parent}/{problem}\nRank 0 found checkpoint {saved.manifest.number} whole, so none "
            f"before it is used, and nothing was saved or removed: {context.setup.go_on} when this host "
            f"can read the file, or from the checkpoint before if you move {saved.path} away"
        ) from None


def _restore(
    context: RunContext,
    saved: "Checkpoint",
    shard: "Shard",
    held: "Mapping[Piece, Array]",
    slices: "Slices | None",
) -> None:
    """See `restore_shard`. Raises Damaged."""
    from dbmpi.checkpoint.reader import Reader
    from dbmpi.checkpoint.vector_names import PARAMETER_VECTOR, numbered_vector
    from dbmpi.server.rules import BEGINS_AS

    kept = _kept(context) if slices is not None else []
    with Reader(saved, context.partitioning) as reader:
        for piece, values in held.items():
            reader.read(PARAMETER_VECTOR, piece, values)
            for name, values in zip(shard.rule_vectors, shard.held[piece.index].states, strict=True):
                found = next(filter(reader.has, (name, BEGINS_AS.get(name, name))), None)
                if found is not None:
                    reader.read(found, piece, values)
            for number in kept:
                reader.read(numbered_vector(number), piece, shard.part(number, piece.index))
        shard.restore(reader.updates(context.pieces))


def _kept(context: RunContext) -> list[int]:
    """Return the vectors of the batch method that a run goes on with."""
    from dbmpi.sandblaster.batch import continues

    saved, config = context.setup.resume, context.config
    state = saved.manifest.state.sandblaster if saved is not None and config.batch else None
    return list(state.vectors) if state is not None and continues(config.sandblaster, state) else []


def shard_service(
    context: RunContext, comm: "MPI.Intracomm", state: "Shard", among: "MPI.Intracomm | None" = None
) -> "ShardService":
    """Make the service of a shard on the service communicator; `among` the shards there are mirrors."""
    from dbmpi.checkpoint.shard_file import ShardWriter
    from dbmpi.server.service import ShardOutput, ShardService

    setup = context.setup
    owners = sharding.Owners(len(setup.topology.shards))
    save = model_writer(context, comm, state, owners)
    every_s = context.config.output.shard_every_s
    mirrored = mirror(context, among, state, owners) if among is not None and context.mirrors else None
    if mirrored is not None:  # so that what is lost with a shard is known
        every_s = min(every_s, context.config.checkpoint.mirror_s / 2)
    endpoint = context.endpoint(comm)
    output = ShardOutput(save, ShardWriter(setup.owned, state.index, context.waiter.spans), every_s)
    companions = setup.topology.companions

    def first(other: int) -> Mapping[str, Array]:
        return shard(context, other)[0].snapshot(_kept(context) or None)

    return ShardService(state, endpoint, output, owners, mirrored, companions, rounds(context, state), first)


def rounds(context: RunContext, state: "Shard") -> "Rounds | None":
    """Make what keeps account of the rounds of a shard, where replicas learn in rounds."""
    from dbmpi.server.rounds import Rounds

    if not context.config.sync:
        return None
    replicas, backups = context.setup.topology.replicas, context.config.downpour.backups
    return Rounds(replicas, backups, lambda piece: state.updates_of([piece]))


def mirror(context: RunContext, among: "MPI.Intracomm", state: "Shard", owners: sharding.Owners) -> "Mirror":
    """Make what mirrors a shard, `among` all of them."""
    from dbmpi.checkpoint.vector_names import PARAMETER_VECTOR
    from dbmpi.server.mirror import Mirror

    names = [PARAMETER_VECTOR, *state.rule_vectors]
    config = context.config
    every_s = config.checkpoint.mirror_s if config.uses_downpour else math.inf  # else by order alone
    return Mirror(among, state.index, owners, context.pieces, names, context.dtype, every_s)


def write_emergency_checkpoint(
    context: RunContext, service: "ShardService", among: "MPI.Intracomm", died: str
) -> None:
    """As a shard, write a checkpoint of what the coordinator sent last, and end: `EmergencyCheckpoint`."""
    from dbmpi.checkpoint.coordinator_state import read
    from dbmpi.process import kill
    from dbmpi.server.emergency import EmergencyCheckpoint

    setup = context.setup
    emergency = EmergencyCheckpoint(
        checkpoint_writer(context),
        among,
        service.shard.index,
        service.owners,
        context.waiter,
        service,
        context.config.output.lease_s,
        setup.go_on,
        lambda shard: kill(setup.places[setup.topology.shards[shard]].process),
    )
    states = [read(state) for state in service.states[:-1]]
    states += [read(state, b"".join(service.notes)) for state in service.states[-1:]]
    emergency.write(states, died)


def run_shard(context: "RunContext", world: "World", state: "Shard") -> int:
    """Serve a shard until the coordinator says to leave; return the exit status."""
    from dbmpi.comm import ulfm

    service = shard_service(context, world.service, state, world.shards)
    coordinator = context.setup.topology.coordinator
    try:
        return service.run()
    except Exception:
        if world.shards is None or not ulfm.enabled():
            raise
        dead = coordinator in ulfm.failed(world.service)
        if dead and not service.watch.missed:
            died = str(PeerDied.named([f"rank {coordinator} (coordinator)"]))
        elif dead:
            died = f"{service.watch.text}, which was killed"
        elif service.watch.look():
            died = service.watch.text
            service.fence_coordinator()
        else:
            raise
        write_emergency_checkpoint(context, service, world.shards, died)
        raise
