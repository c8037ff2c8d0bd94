"""The model at the end of a run: who writes it, and from where its values come."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.layout.sharding import Owners, Piece
from dbmpi.output import run_directory
from dbmpi.run.context import RunContext

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.server.shard import Shard


def save_model(context: RunContext, read: Callable[[Piece], Array]) -> None:
    """Write model.h5 into the run directory. Raises as `model_file.write`, and TakenOver."""
    from dbmpi.checkpoint import model_file

    setup, owned = context.setup, context.setup.owned
    path, data = owned.path / run_directory.MODEL, setup.description
    with owned.guarded():
        model_file.write(path, context.config, data, context.partitioning, context.pieces, read, owned.room)


def model_writer(
    context: RunContext, comm: "MPI.Intracomm", state: "Shard", owners: Owners
) -> Callable[[int, Callable[[], None]], None]:
    """Return what writes the model on a shard: `write(checkpoint, meanwhile)`.

    The values are those of a checkpoint, or with 0 those that the shards have. It is written in a thread, and
    `meanwhile` is called again and again; the pieces of other shards come by way of this one.
    """
    from dbmpi.comm.background import Background

    read = _remote_reader(context, comm, state, owners)

    def write(checkpoint: int, meanwhile: Callable[[], None]) -> None:
        def task(call: Callable[[Callable[[], Array]], Array]) -> None:
            if checkpoint:
                _save_saved(context, checkpoint)
            else:
                save_model(context, lambda piece: call(partial(read, piece)))

        Background(task).result(meanwhile)

    return write


def _save_saved(context: RunContext, number: int) -> None:
    """Write the model of a checkpoint: after a death the shards may have older values than were scored."""
    from dbmpi.checkpoint import manifest
    from dbmpi.checkpoint.directory import checkpoint_directory
    from dbmpi.checkpoint.reader import Reader
    from dbmpi.checkpoint.vector_names import PARAMETER_VECTOR
    from dbmpi.checkpoint.whole_file import Damaged

    def read(piece: Piece) -> Array:
        values = np.empty(piece.size, context.dtype)
        reader.read(PARAMETER_VECTOR, piece, values)
        return values

    try:
        saved = manifest.read(checkpoint_directory(context.setup.run_dir, number))
        with Reader(saved, context.partitioning) as reader:
            save_model(context, read)
    except Damaged as problem:
        raise UserError(f"{run_directory.MODEL}: cannot be made of checkpoint {problem}") from None


def _remote_reader(
    context: RunContext, comm: "MPI.Intracomm", state: "Shard", owners: Owners
) -> Callable[[Piece], Array]:
    """Return what reads any piece: from this shard, or from the one that serves it now."""

    def read(piece: Piece) -> Array:
        from dbmpi.comm.protocol import Op
        from dbmpi.replica.client import Request
        from dbmpi.replica.mpi_client import MpiClient

        if piece.index in state.held:
            return state.held[piece.index].value
        ranks, values = context.setup.topology.shards, np.empty(piece.size, context.dtype)
        # `values` holds this piece alone.
        whole = replace(piece, start=0, stop=piece.size, shard=owners.of(piece.shard))
        client = MpiClient(comm, [whole], ranks, values, context.dtype.name, context.waiter)
        client.begin(Request(Op.FETCH, values, np.zeros(1, np.int64)))
        client.wait()
        return values

    return read
