"""What a rank does and when: records of a fixed layout, in a ring of bounded memory, and their file.

Each rank has a recorder, which its `comm.wait.Waiter` carries. With `output.trace` that is a `Recorder`; else
its null twin, `OFF`, whose methods do nothing. The file of a rank is a line that says what it is, a line of
JSON, and the records, the oldest first. Times are seconds of `time.monotonic` on the rank's host.
`python -m dbmpi.trace` reads these files.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import count
from struct import Struct
from typing import Any

MAGIC = b"dbmpi trace 1\n"
# start, stop: seconds; kind, detail, nothing; peer, piece, serial, version, value
RECORD = Struct("<ddBBHiiIii")
FIELDS = (
    ("start", "<f8"), ("stop", "<f8"), ("kind", "u1"), ("detail", "u1"), ("spare", "<u2"), ("peer", "<i4"),
    ("piece", "<i4"), ("serial", "<u4"), ("version", "<i4"), ("value", "<i4"),
)  # fmt: skip
MIB = 1 << 20
NOBODY = -1  # as a peer or a piece
_FIT = 0x7FFFFFFF  # of versions and values, 31 bits are kept


class Kind(IntEnum):
    """What a record is about, and what its fields mean; `peer` is a rank of the world."""

    # An order of the coordinator, from its start to its report
    WORK = 0  # [detail: `Work`, piece: index of the portion, version: number of the pass, value: examples]
    FORWARD = 1  # a minibatch [value: examples]
    BACKWARD = 2  # its derivatives, with those of the loss [value: examples]
    WAIT = 3  # a wait that is counted [detail: `Cause`]
    EXCHANGE = 4  # of a piece with a shard [detail: `Op`, peer: the shard, piece, serial, version pushed]
    SERVE = (
        5  # the shard's part of it [detail: `Op`, peer: who asks, piece, serial, version, value: staleness]
    )
    ROUND = 6  # the step of a round, where replicas learn in rounds [piece, version]
    COMMAND = 7  # what the coordinator tells a shard to do [detail: `Command`, value: count]
    FILE = 8  # a shard's file of a checkpoint is written beside all else [version: the checkpoint]
    CHECKPOINT = 9  # from when training stands still until it is on disk [version: the checkpoint]
    REPORT = 10  # the coordinator takes in a report, and orders what is next [detail: `Work`, peer: replica]
    URGENT = 11  # an order that is done at once, in the middle of others [as WORK]


class Off:
    """The recorder of a run without a trace: see `Recorder`."""

    on = False

    def add(
        self,
        kind: Kind,
        start: float,
        stop: float,
        detail: int = 0,
        peer: int = NOBODY,
        piece: int = NOBODY,
        serial: int = 0,
        version: int = 0,
        value: int = 0,
    ) -> None:
        """Record nothing."""

    def serial(self, peer: int, piece: int) -> int:
        """Count nothing."""
        return 0


OFF = Off()


class Recorder(Off):
    """Keeps the newest records of a rank, whatever thread they come from.

    Parameters
    ----------
    mib
        Memory for the records, in MiB.
    """

    on = True

    def __init__(self, mib: float) -> None:
        self.capacity = max(1, int(mib * MIB) // RECORD.size)
        self._ring = bytearray(self.capacity * RECORD.size)
        self._numbers, self._pack = count(), RECORD.pack_into
        self._serials: dict[tuple[int, int], int] = {}

    def add(
        self,
        kind: Kind,
        start: float,
        stop: float,
        detail: int = 0,
        peer: int = NOBODY,
        piece: int = NOBODY,
        serial: int = 0,
        version: int = 0,
        value: int = 0,
    ) -> None:
        """Record what lasted from `start` to `stop`, by `time.monotonic`; see `Kind` for the rest."""
        at = next(self._numbers) % self.capacity * RECORD.size
        self._pack(
            self._ring,
            at,
            start,
            stop,
            kind,
            detail & 0xFF,
            0,
            peer,
            piece,
            serial,
            version & _FIT,
            value & _FIT,
        )

    def serial(self, peer: int, piece: int) -> int:
        """Return the number of the next request about a piece between this rank and a peer.

        Both count in the order in which requests are sent, which is that in which they come: so the two sides
        of one have the same number, and no message has to carry it.
        """
        number = self._serials.get((peer, piece), 0)
        self._serials[peer, piece] = number + 1
        return number

    def parts(self, header: Mapping[str, Any]) -> Iterator[bytes | memoryview]:
        """Yield the content of the rank's file, in parts, once; `header` is what it says besides."""
        made = next(self._numbers)
        kept = min(made, self.capacity)
        yield MAGIC
        yield json.dumps({**header, "kept": kept, "dropped": made - kept}).encode() + b"\n"
        ring, first = memoryview(self._ring), (made - kept) % self.capacity * RECORD.size
        end = first + kept * RECORD.size
        yield ring[first : min(end, len(ring))]
        yield ring[: max(0, end - len(ring))]


def recorder(on: bool, mib: float) -> Off:
    """Return a `Recorder` of so many MiB, or its null twin."""
    return Recorder(mib) if on else OFF


def names(of: type[IntEnum]) -> dict[int, str]:
    """Return what the members of an enumeration are called in the header of a file, by number."""
    return {int(one): one.name.lower() for one in of}


def clock() -> Sequence[float]:
    """Return one moment by `time.monotonic` and by `time.time`."""
    return time.monotonic(), time.time()
