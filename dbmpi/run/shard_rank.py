"""What a shard is made of: its objects, put together from the blueprint."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.arrays import Array
from dbmpi.comm.operations import PARAMETERS
from dbmpi.errors import PeerDied
from dbmpi.layout import sharding
from dbmpi.layout.sharding import Piece
from dbmpi.output import run_directory
from dbmpi.run.context import Blueprint, origin

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.checkpoint.manifest import Checkpoint
    from dbmpi.comm.world import World
    from dbmpi.server.mirror import Mirror
    from dbmpi.server.service import ShardService
    from dbmpi.server.shard import Shard
    from dbmpi.server.slices import Slices


def shard(blueprint: Blueprint, index: int) -> "tuple[Shard, Array]":
    """Make shard `index` with its first parameters; return these too, one piece after another."""
    from dbmpi.sandblaster.batch import vectors_of
    from dbmpi.server import initialize, rules
    from dbmpi.server.shard import Shard

    config, mine = blueprint.config, sharding.of_shard(blueprint.pieces, index)
    ends = list(accumulate(piece.size for piece in mine))
    ranges = [(end - piece.size, end) for piece, end in zip(mine, ends, strict=True)]
    matrix = np.zeros((vectors_of(config), sum(piece.size for piece in mine)), blueprint.dtype)
    held = {piece: matrix[PARAMETERS, start:stop] for piece, (start, stop) in zip(mine, ranges, strict=True)}
    for piece, room in held.items():
        initialize.piece(blueprint.plan, piece, config.train.seed, room)
    limits = config.downpour if config.uses_downpour else replace(config.downpour, rule="sgd")  # no state
    slices = None
    if config.batch:
        from dbmpi.server.slices import Slices

        slices = Slices(matrix, mine)
    made = Shard(index, held, rules.make(limits), limits, slices)
    if blueprint.setup.resume is not None:
        restore_shard(blueprint, blueprint.setup.resume, made, held, slices)
    return made, matrix[PARAMETERS]


def restore_shard(
    blueprint: Blueprint,
    saved: "Checkpoint",
    shard: "Shard",
    held: "Mapping[Piece, Array]",
    slices: "Slices | None",
) -> None:
    """Fill a shard with its share of a checkpoint, whatever the shape that wrote it."""
    from dbmpi.checkpoint.index import Reader
    from dbmpi.checkpoint.names import PARAMETER_VECTOR, numbered_vector, rule_vector
    from dbmpi.sandblaster.batch import continues

    state = saved.manifest.state.get("sandblaster")
    goes_on = slices is not None and state and continues(blueprint.config.sandblaster, state)
    kept = state["vectors"] if state and goes_on else []
    with Reader(saved.index, blueprint.plan) as reader:
        for piece, values in held.items():
            reader.read(PARAMETER_VECTOR, piece, values)
            for name, values in zip(shard.rule.states, shard.held[piece.index].states, strict=True):
                if reader.has(rule_vector(name)):
                    reader.read(rule_vector(name), piece, values)
            for number in kept:
                reader.read(numbered_vector(number), piece, shard.part(number, piece.index))
        shard.restore(reader.updates(blueprint.pieces))


def shard_service(
    blueprint: Blueprint, comm: "MPI.Intracomm", index: int, among: "MPI.Intracomm | None" = None
) -> "ShardService":
    """Make the service of shard `index` on the service communicator; `among` the shards there are mirrors."""
    from dbmpi.checkpoint.shard_file import Saver
    from dbmpi.server.service import ShardService

    setup = blueprint.setup
    state, _ = shard(blueprint, index)
    owners = sharding.Owners(len(setup.topology.shards))
    save = partial(save_model, blueprint, remote_reader(blueprint, comm, state, owners))
    saver, every_s = Saver(setup.run_dir, index), blueprint.config.output.shard_every_s
    mirrored = mirror(blueprint, among, state, owners) if among is not None and blueprint.mirrors else None
    if mirrored is not None:  # so that what is lost with a shard is known
        every_s = min(every_s, blueprint.config.checkpoint.mirror_s / 2)
    return ShardService(
        state,
        comm,
        setup.topology.coordinator,
        blueprint.waiter,
        save,
        saver,
        blueprint.signals,
        every_s,
        owners,
        mirrored,
    )


def mirror(blueprint: Blueprint, among: "MPI.Intracomm", state: "Shard", owners: sharding.Owners) -> "Mirror":
    """Make what mirrors a shard, `among` all of them."""
    from dbmpi.checkpoint.names import PARAMETER_VECTOR, rule_vector
    from dbmpi.server.mirror import Mirror

    names = [PARAMETER_VECTOR, *map(rule_vector, state.rule.states)]
    config = blueprint.config
    every_s = config.checkpoint.mirror_s if config.uses_downpour else math.inf  # else by order alone
    return Mirror(among, state.index, owners, blueprint.pieces, names, blueprint.dtype, every_s)


def remote_reader(
    blueprint: Blueprint, comm: "MPI.Intracomm", state: "Shard", owners: sharding.Owners
) -> Callable[[Piece], Array]:
    """Return what reads any piece: from this shard, or from the one that serves it now."""

    def read(piece: Piece) -> Array:
        from dbmpi.comm.protocol import Op
        from dbmpi.replica.mpi_client import RemoteLink

        if piece.index in state.held:
            return state.held[piece.index].value
        ranks, values = blueprint.setup.topology.shards, np.empty(piece.size, blueprint.dtype)
        # `values` holds this piece alone.
        whole = replace(piece, start=0, stop=piece.size, shard=owners.of(piece.shard))
        link = RemoteLink(comm, [whole], ranks, values, blueprint.dtype.name, blueprint.waiter)
        link.begin(Op.FETCH, values, np.zeros(1, np.int64), 0.0, 0)
        link.wait()
        return values

    return read


def save_model(blueprint: Blueprint, read: Callable[[Piece], Array]) -> None:
    """Write model.h5 into the run directory."""
    from dbmpi.checkpoint import model_file

    path = blueprint.setup.run_dir / run_directory.MODEL
    model_file.write(path, blueprint.config, blueprint.plan, blueprint.pieces, read)


def execute_will(blueprint: Blueprint, service: "ShardService", among: "MPI.Intracomm", died: str) -> None:
    """As a shard, make a checkpoint of what the coordinator knew, and end; see `emergency.Estate.execute`."""
    from dbmpi.checkpoint import coordinator_state
    from dbmpi.server.emergency import Estate

    shard, owners = service.shard, service.owners

    def copy(mirror: int, vectors: Sequence[int] | None) -> Mapping[str, Array]:
        if mirror:
            shard.back(mirror)
        return shard.snapshot(vectors)

    estate = Estate(origin(blueprint), among, shard.index, owners, blueprint.waiter, copy)
    estate.execute(coordinator_state.read(service.will) if service.will is not None else None, died)


def run_shard(blueprint: "Blueprint", world: "World") -> int:
    """Serve a shard until the coordinator says to leave; return the exit status."""
    from dbmpi.comm import ulfm

    service = shard_service(blueprint, world.service, world.role.shard_index, world.shards)
    coordinator = blueprint.setup.topology.coordinator
    try:
        return service.run()
    except Exception:
        if world.shards is not None and coordinator in ulfm.failed(world.service):
            died = PeerDied.named([f"rank {coordinator} (coordinator)"])
            execute_will(blueprint, service, world.shards, str(died))
        raise
