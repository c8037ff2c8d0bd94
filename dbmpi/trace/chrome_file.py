"""A trace as JSON, as Chrome and many viewers read it, gzipped; it needs no package.

References
----------
Trace Event Format, Google: phases X (slice), M (names), C (counter), s, t and f (arrows).
"""

import json
from collections.abc import Iterator
from typing import IO, Any

from dbmpi.trace.rank_file import RankFile
from dbmpi.trace.slices import Row, Slice

LANES = 1000  # numbers of rows: a rank has so many, its own the first


class ChromeFile:
    """Writes events to a text file. See `writing.Writer`. Its end is written by `close`."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._pid, self._first = file, 0, True
        file.write('{"displayTimeUnit":"ns","traceEvents":[\n')

    def close(self) -> None:
        """Write what the format ends with."""
        self._file.write("\n]}\n")

    def node(self, number: int, host: str) -> None:
        """See `Writer.node`."""
        self._pid = number + 1
        self._name("process_name", 0, f"node {number} ({host})")

    def rank(self, file: RankFile, made: Iterator[Slice]) -> None:
        """See `Writer.rank`."""
        rows = {Row(): file.rank * LANES}
        self._name("thread_name", rows[Row()], file.name)
        for one in made:
            if one.row not in rows:
                rows[one.row] = file.rank * LANES + len(rows)
                self._name("thread_name", rows[one.row], f"rank {file.rank}: {one.row.beside}")
            self._slice(one, rows[one.row], file.rank)

    def _slice(self, one: Slice, row: int, rank: int) -> None:
        start, lasted = one.start / 1e3, (one.stop - one.start) / 1e3
        self._event("X", one.name, row, start, dur=lasted, args=dict(one.about))
        for phase, arrows in (("s", one.begins), ("t", one.passes), ("f", one.ends)):
            for arrow in arrows:
                self._event(phase, "push", row, start, id=str(arrow), cat="push", bp="e")
        if one.counter is not None:
            self._event("C", f"staleness of rank {rank}", row, one.stop / 1e3, args={"updates": one.counter})

    def _name(self, kind: str, row: int, name: str) -> None:
        self._event("M", kind, row, 0.0, args={"name": name})
        if kind == "thread_name":
            self._event("M", "thread_sort_index", row, 0.0, args={"sort_index": row})

    def _event(self, phase: str, name: str, row: int, at_us: float, **more: Any) -> None:
        event = {"ph": phase, "name": name, "pid": self._pid, "tid": row, "ts": round(at_us, 3), **more}
        self._file.write(("" if self._first else ",\n") + json.dumps(event, separators=(",", ":")))
        self._first = False
