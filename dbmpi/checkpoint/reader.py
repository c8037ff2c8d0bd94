"""Reads a checkpoint on any shape: each rank opens, compares and reads the files that it needs itself.

Another rank may have found them whole a moment ago; that says nothing of what this host can read.
"""

from collections.abc import Sequence

import numpy as np

from dbmpi.arrays import Array
from dbmpi.checkpoint.contents import index_of, vectors_of
from dbmpi.checkpoint.directory import INDEX
from dbmpi.checkpoint.extents import Extent
from dbmpi.checkpoint.manifest import Checkpoint
from dbmpi.checkpoint.mapping import Source
from dbmpi.checkpoint.vector_names import AVERAGE_VECTOR, PARAMETER_VECTOR, UPDATES
from dbmpi.checkpoint.whole_file import Damaged, WholeFile
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.placement import tensor_boxes
from dbmpi.layout.sharding import Piece


class Reader:
    """Reads pieces, however the run that saved them was cut. Use as a context; every method raises Damaged.

    Parameters
    ----------
    checkpoint
        It fits the model (`resume.find`).
    partitioning
        The partitions of this run.
    held
        Whether it is read even if its run removes it meanwhile.

    Raises
    ------
    Damaged
        A file cannot be read here, is not as it was written, or holds what it should not.
    """

    def __init__(self, checkpoint: Checkpoint, partitioning: Partitioning, held: bool = False) -> None:
        self._checkpoint, self._partitioning = checkpoint, partitioning
        self._held = checkpoint.hold() if held else {}
        self._opened: dict[str, tuple[WholeFile, dict[str, Extent]]] = {}
        try:
            with checkpoint.open(INDEX, self._held.pop(INDEX, None)) as file:
                self._index = index_of(checkpoint, file)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *ignored: object) -> None:
        for held in self._held.values():
            held.close()
        for file, _ in self._opened.values():
            file.close()

    def has(self, vector: str) -> bool:
        """Return whether a vector was saved."""
        return vector in self._index.sources

    @property
    def evaluated(self) -> str:
        """The vector that evaluations were of: an average of the parameters where the run kept one."""
        return AVERAGE_VECTOR if self.has(AVERAGE_VECTOR) else PARAMETER_VECTOR

    def read(self, vector: str, piece: Piece, out: Array) -> None:
        """Fill `out`, `(piece.size,)`, contiguous, with the elements of a piece."""
        for box in tensor_boxes(self._partitioning, piece):
            self.read_box(vector, box.tensor.name, box.at, out[box.start : box.stop].reshape(box.shape))

    def read_box(self, vector: str, tensor: str, at: tuple[slice, ...], out: Array) -> None:
        """Fill `out`, of the shape of the box `at` of a tensor, with its elements."""
        out.fill(np.nan)
        for source in self._index.sources[vector][tensor]:
            self._take(vector, source, at, out)
        if np.isnan(out).any():
            raise Damaged(f"{self._checkpoint.path.name}: {vector} holds what is no number")

    def _take(self, vector: str, source: Source, box: tuple[slice, ...], room: Array) -> None:
        """Fill the part of a box, of which `room` is the memory, that a source has."""
        common = [
            (max(a, part.start), min(b, part.stop)) for (a, b), part in zip(source.at, box, strict=True)
        ]
        if any(a >= b for a, b in common):
            return
        file, extents = self._file(source.file)
        row = (source.stop - source.start) // source.shape[0]
        first, last = (edge - source.at[0][0] for edge in common[0])
        rows = extents[vector].read(file, source.start + first * row, source.start + last * row)
        rest = tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(common[1:], source.at[1:], strict=True))
        into = tuple(slice(a - part.start, b - part.start) for (a, b), part in zip(common, box, strict=True))
        room[into] = rows.reshape(last - first, *source.shape[1:])[(slice(None), *rest)]

    def _file(self, name: str) -> tuple[WholeFile, dict[str, Extent]]:
        """Return a shard's file, and where its vectors lie; it is compared when it is needed first."""
        if name not in self._opened:
            file = self._checkpoint.open(name, self._held.pop(name, None))
            self._opened[name] = file, {}
            self._opened[name] = file, vectors_of(self._checkpoint, file)
        return self._opened[name]

    def updates(self, pieces: Sequence[Piece]) -> list[int]:
        """Return how many updates each piece has had: of other pieces than were saved, their mean by size."""
        table = self._index.pieces
        before = [tuple(row) for row in table[["partition", "start", "stop"]].tolist()]
        if before == [(p.partition, p.start, p.stop) for p in pieces]:  # whichever shard served them
            return [int(count) for count in table[UPDATES]]
        sizes = table["stop"] - table["start"]
        return [round(float(np.average(table[UPDATES], weights=sizes)))] * len(pieces)
