"""The model at the end of a run: who writes it, and from where its values come."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.arrays import Array
from dbmpi.checkpoint.vector_names import AVERAGE_VECTOR
from dbmpi.errors import UserError
from dbmpi.layout.sharding import Owners, Piece, of_partition
from dbmpi.output import run_directory
from dbmpi.run.roles.context import RunContext

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.checkpoint.reader import Reader
    from dbmpi.server.shard import Shard


def save_model(
    context: RunContext, read: Callable[[Piece], Array], which: str = "last", averaged: bool | None = None
) -> None:
    """Write model.h5 into the run directory, as `model_file.write`. Raises as that, and TakenOver.

    Without `averaged` it is of what the shards have.
    """
    from dbmpi.checkpoint import model_file

    setup, owned = context.setup, context.setup.owned
    path, data = owned.path / run_directory.MODEL, setup.description
    with owned.guarded():
        parts = context.partitioning, context.pieces
        mean = context.config.train.average is not None if averaged is None else averaged
        model_file.write(path, context.config, data, *parts, read, owned.room, which, mean)


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
                save_saved(context, checkpoint)
            else:
                save_model(context, lambda piece: call(partial(read, piece)))

        Background(task).result(meanwhile)

    return write


def save_saved(context: RunContext, number: int) -> None:
    """Write the model of a checkpoint: the best one, or the last.

    After a death the shards may have older values than were scored.
    """
    from dbmpi.checkpoint.pruning import best_of

    best = best_of(context.setup.run_dir) if context.config.train.patience is not None else None
    which = "best" if best is not None and best[1] == number else "last"
    with _reading(context, number) as reader:

        def read(piece: Piece) -> Array:
            values = np.empty(piece.size, context.dtype)
            reader.read(reader.evaluated, piece, values)
            return values

        save_model(context, read, which, reader.evaluated == AVERAGE_VECTOR)


def saved_reader(context: RunContext, partition: int) -> Callable[[int, Array], None]:
    """Return what reads the parameters of a partition, as evaluated, out of a checkpoint into its vector."""

    def read(number: int, vector: Array) -> None:
        with _reading(context, number) as reader:
            for piece in of_partition(context.pieces, partition):
                reader.read(reader.evaluated, piece, vector[piece.start : piece.stop])

    return read


@contextmanager
def _reading(context: RunContext, number: int) -> "Iterator[Reader]":
    """Open a checkpoint of this run. Raises UserError where it cannot be read."""
    from dbmpi.checkpoint import manifest
    from dbmpi.checkpoint.directory import checkpoint_directory
    from dbmpi.checkpoint.reader import Reader
    from dbmpi.checkpoint.whole_file import Damaged

    try:
        saved = manifest.read(checkpoint_directory(context.setup.run_dir, number))
        with Reader(saved, context.partitioning) as reader:
            yield reader
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
            return state.evaluated(piece.index)
        ranks, values = context.setup.topology.shards, np.empty(piece.size, context.dtype)
        # `values` holds this piece alone.
        whole = replace(piece, start=0, stop=piece.size, shard=owners.of(piece.shard))
        client = MpiClient(comm, [whole], ranks, values, context.dtype.name, context.waiter)
        client.begin(Request(Op.FETCH | Op.AVERAGE, values, np.zeros(1, np.int64)))
        client.wait()
        return values

    return read
