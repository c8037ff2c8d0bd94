"""What a rank does and when: records of a fixed layout, in a ring of bounded memory, and their file.

Each rank has a recorder, which its `comm.wait.Waiter` carries. With `output.trace` that is a `Recorder`; else
its null twin, `OFF`, whose methods do nothing. The file of a rank is a line that says what it is, a line of
JSON, and the records, the oldest first. Times are seconds of `time.monotonic` on the rank's host.
`python -m dbmpi.trace` reads these files.
"""

import json
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any

MAGIC = b"dbmpi trace 1\n"
# As they lie in memory and in files; times in seconds.
LAYOUT = (
    ("kind", "<u2"), ("detail", "<u2"), ("peer", "<i4"), ("start", "<f8"), ("stop", "<f8"),
    ("piece", "<i4"), ("serial", "<i4"), ("version", "<i4"), ("value", "<i4"),
)  # fmt: skip
BYTES = 40
MIB = 1 << 20
FRESH = 1024  # records that wait to be put into the ring, about
NOBODY = -1  # as a peer or a piece
BRIEF = ("kind", "start", "stop", "value")  # what most records say, in the order in which `add` takes it
FULL = ("kind", "start", "stop", "detail", "peer", "piece", "serial", "version", "value")
LARGE, _FIT = ("serial", "version", "value"), 0x7FFFFFFF  # of those 31 bits are kept
Numbers = tuple[float, ...]


class Kind:
    """What a record is about, and what its fields mean; `peer` is a rank of the world.

    Plain numbers: to look up a member of an enumeration takes longer than to record something.
    """

    # An order of the coordinator, from its start to its report
    WORK = 0  # [detail: `Work`, piece: index of the portion, version: number of the pass, value: examples]
    FORWARD = 1  # a minibatch [value: examples]
    BACKWARD = 2  # its derivatives, with those of the loss [value: examples]
    WAIT = 3  # a wait that is counted [value: `Cause`]
    EXCHANGE = 4  # of a piece with a shard [detail: `Op`, peer: the shard, piece, serial]
    # The shard's part of it [detail: `Op`, peer: who asks, piece, serial, version, value: staleness]
    SERVE = 5
    ROUND = 6  # the step of a round, where replicas learn in rounds [piece, version]
    COMMAND = 7  # what the coordinator tells a shard to do [detail: `Command`, value: count]
    FILE = 8  # a shard's file of a checkpoint is written beside all else [value: the checkpoint]
    CHECKPOINT = 9  # from when training stands still until it is on disk [value: the checkpoint]
    REPORT = 10  # the coordinator takes in a report, and orders what is next [detail: `Work`, peer: replica]
    URGENT = 11  # an order that is done at once, in the middle of others [as WORK]
    LOCAL = 12  # as SERVE, in the one process of a serial run [value: `Op`]


class Off:
    """The recorder of a run without a trace: see `Recorder`."""

    on = False

    def __init__(self) -> None:
        nothing = deque[Numbers](maxlen=0).append  # in C, and it keeps nothing
        self.add: Callable[[Numbers], object] = nothing
        self.step: Callable[[Numbers], object] = nothing

    def note(
        self,
        kind: int,
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

    A hook in an inner loop only puts numbers into a list; a thousand records at a time go into the ring.

    Parameters
    ----------
    mib
        Memory for the records, in MiB.

    Attributes
    ----------
    add
        Records what BRIEF says, of one record or of several: what lasted from `start` to `stop`, by
        `time.monotonic`, and a value. Somebody has to call `note` or `step` now and then.
    step
        The same of the main thread, which then puts records into the ring if there are many.
    """

    on = True

    def __init__(self, mib: int) -> None:
        import numpy as np

        super().__init__()
        self.capacity, self._made = mib * MIB // BYTES, 0
        self._ring = np.zeros(self.capacity, list(LAYOUT))
        self._brief: list[float] = []
        self._full: list[float] = []
        self.add, self.step = self._brief.extend, self._step
        self._serials: dict[tuple[int, int], int] = {}

    def note(
        self,
        kind: int,
        start: float,
        stop: float,
        detail: int = 0,
        peer: int = NOBODY,
        piece: int = NOBODY,
        serial: int = 0,
        version: int = 0,
        value: int = 0,
    ) -> None:
        """Record what FULL says; see `Kind` for what fields mean. The main thread's."""
        self._full.extend((kind, start, stop, detail, peer, piece, serial, version, value))
        if len(self._full) >= FRESH * len(FULL):
            self._settle()

    def _step(self, records: Numbers) -> None:
        self._brief.extend(records)
        if len(self._brief) >= FRESH * len(BRIEF):
            self._settle()

    def _settle(self) -> None:
        """Put what is in the lists into the ring."""
        for fresh, fields in ((self._brief, BRIEF), (self._full, FULL)):
            count = len(fresh)
            self._put(fresh[:count], fields)
            del fresh[:count]  # a thread may have added more meanwhile

    def _put(self, numbers: list[float], fields: Sequence[str]) -> None:
        """Put records in the place of the oldest."""
        import numpy as np

        table = np.frombuffer(array("d", numbers)).reshape(-1, len(fields))
        while len(table):
            first = self._made % self.capacity
            part, table = table[: self.capacity - first], table[self.capacity - first :]
            room = self._ring[first : first + len(part)]
            room["peer"] = room["piece"] = NOBODY
            room["detail"] = room["serial"] = room["version"] = 0
            for column, name in enumerate(fields):
                values = part[:, column]
                room[name] = values if name not in LARGE else values.astype("i8") & _FIT
            self._made += len(part)

    def serial(self, peer: int, piece: int) -> int:
        """Return the number of the next request about a piece between this rank and a peer.

        Both count in the order in which requests are sent, which is that in which they come: so the two sides
        of one have the same number, and no message has to carry it.
        """
        number = self._serials.get((peer, piece), 0)
        self._serials[peer, piece] = number + 1
        return number

    def parts(self, header: Mapping[str, Any]) -> Iterator[bytes | memoryview]:
        """Yield the content of the rank's file, in parts; `header` is what it says besides."""
        self._settle()
        kept = min(self._made, self.capacity)
        yield MAGIC
        yield json.dumps({**header, "kept": kept, "dropped": self._made - kept}).encode() + b"\n"
        first = (self._made - kept) % self.capacity
        for part in (self._ring[first : first + kept], self._ring[: max(0, first + kept - self.capacity)]):
            yield part.view("u1").data


def recorder(on: bool, mib: int) -> Off:
    """Return a `Recorder` of so many MiB, or its null twin."""
    return Recorder(mib) if on else OFF


def kinds() -> dict[int, str]:
    """Return what the kinds of records are called in the header of a file, by number."""
    return {number: name.lower() for name, number in vars(Kind).items() if name.isupper()}


def names(of: type[IntEnum]) -> dict[int, str]:
    """Return what the members of an enumeration are called in the header of a file, by number."""
    return {int(one): one.name.lower() for one in of}


def clock() -> Sequence[float]:
    """Return one moment by `time.monotonic` and by `time.time`."""
    return time.monotonic(), time.time()
