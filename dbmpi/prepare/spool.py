"""Rows of any number, shuffled in bounded memory: a temporary file of *buckets* which each fit into memory.

Each row is put into a bucket that is drawn for it, and each bucket is shuffled when it is read. So all orders
are equally likely.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from dbmpi.arrays import Array
from dbmpi.files import writing

BUCKET_BYTES = 4 << 20  # so that small and large sets take about the same memory
MOST_BUCKETS = 256  # beyond them, buckets grow: their pieces in the file would get too short


class Spool:
    """Takes rows in, and gives them back in another order.

    Parameters
    ----------
    record
        The type of a row.
    expected : int
        About how many there will be.
    rng
        Draws the order; None to keep the order in which rows came.
    folder
        Where the temporary file lies. It has no name, and so goes with this process.
    """

    def __init__(
        self, record: np.dtype, expected: int, rng: np.random.Generator | None, folder: Path
    ) -> None:
        self.record, self._rng, self._folder = record, rng, folder
        self._buckets = min(max(1, -(-expected * record.itemsize // BUCKET_BYTES)), MOST_BUCKETS)
        self._pending: list[Array] = []
        self._pending_bytes, self._end = 0, 0
        self._file: IO[bytes] | None = None
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in range(self._buckets)]
        self.rows = 0

    def add(self, rows: Array) -> None:
        """Take rows in, which stay as they are. Raises UserError where there is no room."""
        self._pending.append(rows)
        self._pending_bytes += rows.nbytes
        self.rows += len(rows)
        if self._pending_bytes >= BUCKET_BYTES:
            self._scatter()

    def _scatter(self) -> None:
        """Write what is pending, the rows of each bucket together."""
        rows, self._pending, self._pending_bytes = np.concatenate(self._pending), [], 0
        if self._rng is None or self._buckets == 1:
            self._append(0, rows)
            return
        bucket = self._rng.integers(0, self._buckets, len(rows), dtype=np.int16)
        rows = rows.take(np.argsort(bucket, kind="stable"))  # of records 15 times as fast as by brackets
        ends = np.cumsum(np.bincount(bucket, minlength=self._buckets))
        for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            if end > start:
                self._append(number, rows[start:end])

    def _append(self, bucket: int, rows: Array) -> None:
        with writing(self._folder):
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)
            self._file.write(rows.data if rows.data.contiguous else rows.tobytes())
        self._pieces[bucket].append((self._end, len(rows)))
        self._end += rows.nbytes

    def batches(self) -> Iterator[Array]:
        """Yield all rows, a bucket at a time (in the order kept, a piece at a time); then nothing is left."""
        if self._file is None:  # all are still in memory
            if self._pending:
                yield self._shuffled(np.concatenate(self._pending))
            return
        if self._pending:
            self._scatter()
        for pieces in self._pieces:
            if self._rng is None:
                yield from (self._read([piece]) for piece in pieces)
            elif pieces:
                yield self._shuffled(self._read(pieces))
        self._file.close()

    def _read(self, pieces: list[tuple[int, int]]) -> Array:
        assert self._file is not None
        rows = np.empty(sum(count for _, count in pieces), self.record)
        done = 0
        for start, count in pieces:
            os.preadv(self._file.fileno(), [rows[done : done + count].view(np.uint8).data], start)
            done += count
        return rows

    def _shuffled(self, rows: Array) -> Array:
        return rows if self._rng is None else rows.take(self._rng.permutation(len(rows)))
