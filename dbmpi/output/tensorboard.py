"""The records of a run as a file of TensorBoard's: each number of a record is a scalar, at its minibatch.

A file has one event a record, and each job of a run a file of its own, which says from where it goes on: of
what it does again TensorBoard shows the last. Events are framed as TFRecords are. tensorboardX has their
layout; its own writer is not used, as it waits for its thread for ever where the disk is full.
"""

import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dbmpi.output.lines import LineFile
from dbmpi.output.schema import EVERY

COMMON = {one.name for one in EVERY}
NUMBERED = {"shard": "shard", "replica": "replica"}  # kinds of which there is a record each, and of what


class TensorBoard:
    """Writes records as they come; a listener of `MetricsLog`. What fails is told once, and ends nothing.

    Parameters
    ----------
    path
        The file, whose name must be as TensorBoard looks for it: see `file_name`.
    warn
        Tells what fails.

    Raises
    ------
    UserError
        The file cannot be opened.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # here: only where it is asked for
        from tensorboardX.record_writer import masked_crc32c

        self._event, self._start, self._checksum = Event, SessionLog.START, masked_crc32c
        self._file, self._warn, self._failed = LineFile(path, warn), warn, False
        self._write(file_version="brain.Event:2")

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Write a record."""
        if self._failed:
            return
        try:
            self._take(record)
        except Exception as error:  # whatever the library does: a run is worth more
            self._failed = True
            self._warn(f"TensorBoard gets no more records: {error!r}")

    def _take(self, record: Mapping[str, Any]) -> None:
        if record["kind"] == "job" and record["began"]:
            self._write(step=record["step"], session_log={"status": self._start})
            return
        scalars = [{"tag": tag, "simple_value": value} for tag, value in scalars_of(record)]
        if scalars:
            self._write(step=record["step"], summary={"value": scalars})

    def _write(self, **fields: Any) -> None:
        """Append an event: its length, the event, and a checksum of each."""
        content = self._event(wall_time=time.time(), **fields).SerializeToString()
        length = struct.pack("<Q", len(content))
        self._file.append(self._checked(length) + self._checked(content))

    def _checked(self, part: bytes) -> bytes:
        """Return a part of the file with its checksum after it."""
        return part + struct.pack("<I", self._checksum(part))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def file_name(started: float, host: str, generation: int) -> str:
    """Return the name of a job's file; no other job of the run has the same generation."""
    return f"events.out.tfevents.{int(started)}.{host}.{generation}"


def scalars_of(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield name and value of each number of a record; of lists there are none."""
    kind = record["kind"]
    place = f"{kind} {record[NUMBERED[kind]]}" if kind in NUMBERED else record.get("split", kind)
    for name, value in record.items():
        if name in COMMON or name == NUMBERED.get(kind):
            continue
        if isinstance(value, Mapping):
            yield from ((f"{place} {name}/{key}", float(one)) for key, one in value.items() if _number(one))
        elif _number(value):
            yield f"{place}/{name}", float(value)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
