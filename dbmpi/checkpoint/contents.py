"""Whether what lies in the files of a checkpoint is one model: a checksum says only that nothing changed."""

from collections.abc import Iterable, Mapping

import numpy as np

from dbmpi.arrays import Array
from dbmpi.checkpoint.directory import INDEX, MANIFEST, shard_file_name
from dbmpi.checkpoint.extents import Extent, shard_vectors
from dbmpi.checkpoint.manifest import Checkpoint
from dbmpi.checkpoint.mapping import Index, read_index
from dbmpi.checkpoint.state_limits import impossible
from dbmpi.checkpoint.vector_names import UPDATES, numbered
from dbmpi.checkpoint.whole_file import Damaged, WholeFile

AT_ONCE = 1 << 20  # elements


def index_of(checkpoint: Checkpoint, file: WholeFile) -> Index:
    """Return what the index of a checkpoint says, the file being open. Raises Damaged."""
    said = checkpoint.manifest
    shards = said.files.keys() - {INDEX}
    return read_index(file, said.model["tensors"], np.dtype(said.model["dtype"]), shards)


def vectors_of(checkpoint: Checkpoint, file: WholeFile) -> dict[str, Extent]:
    """Return where the vectors lie in a shard's file, which is open. Raises Damaged."""
    return shard_vectors(file, np.dtype(checkpoint.manifest.model["dtype"]))


def verify(checkpoint: Checkpoint) -> Index:
    """Compare every file with the manifest, and all with each other; return what the index says.

    Raises
    ------
    Damaged
        One is missing, too short or differs; or what they hold is no state of this model.
    """
    held, updates = dict[str, dict[str, Extent]](), dict[str, Array]()
    for name in checkpoint.manifest.files.keys() - {INDEX}:
        with checkpoint.open(name) as file:
            held[name] = vectors_of(checkpoint, file)
            counted = held[name][UPDATES]
            updates[name] = counted.read(file, 0, counted.size)
            _check_values(file, held[name])
    with checkpoint.open(INDEX) as file:
        index = index_of(checkpoint, file)
    _check_sources(checkpoint, index, held)
    _check_updates(checkpoint, index, updates)
    said = checkpoint.manifest
    problem = impossible(said.state, said.model["rows"], numbered(index.sources))
    if problem:
        raise Damaged(f"{checkpoint.path.name}/{MANIFEST}: state: {problem}")
    return index


def _check_values(file: WholeFile, vectors: Mapping[str, Extent]) -> None:
    """Raise Damaged where a vector of a shard's file holds what is no number."""
    for name, extent in vectors.items():
        for start in range(0, extent.size, AT_ONCE):
            if np.isnan(extent.read(file, start, min(start + AT_ONCE, extent.size))).any():
                raise Damaged(f"{file.name}: {name} holds what is no number")


def _check_sources(checkpoint: Checkpoint, index: Index, held: Mapping[str, Mapping[str, Extent]]) -> None:
    """Raise Damaged where the index takes from a shard's file what is not there, or not all of it."""
    for name, vectors in held.items():
        if vectors.keys() - {UPDATES} != index.sources.keys():
            raise Damaged(f"{checkpoint.path.name}/{name} has other vectors than the index")
    for vector, tensors in index.sources.items():
        taken = [source for sources in tensors.values() for source in sources]
        for name, vectors in held.items():
            ranges = ((source.start, source.stop) for source in taken if source.file == name)
            if not _adjoin(ranges, vectors[vector].size):
                raise Damaged(f"{checkpoint.path.name}/{name}: {vector} is not what the index says")


def _adjoin(ranges: Iterable[tuple[int, int]], size: int) -> bool:
    """Return whether ranges cover [0, size), each position once."""
    end = 0
    for start, stop in sorted(ranges):
        if start != end:
            return False
        end = stop
    return end == size


def _check_updates(checkpoint: Checkpoint, index: Index, updates: Mapping[str, Array]) -> None:
    """Raise Damaged where the pieces of the index are not those of the shards."""
    pieces, shards = index.pieces, np.unique(index.pieces["shard"])
    known = {shard_file_name(int(shard)): pieces[UPDATES][pieces["shard"] == shard] for shard in shards}
    none = np.empty(0, np.int64)
    if not known.keys() <= updates.keys() or not all(
        np.array_equal(known.get(name, none), counted) for name, counted in updates.items()
    ):
        raise Damaged(f"{checkpoint.path.name}/{INDEX} has other pieces than the files of the shards")
