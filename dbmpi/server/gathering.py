"""What shards say to one another when the coordinator has died: small messages, with signs of life."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
from mpi4py import MPI

from dbmpi.arrays import Record
from dbmpi.awake import awake
from dbmpi.comm import ulfm
from dbmpi.comm.background import Background
from dbmpi.comm.messages import Outbox, complete, tolerant
from dbmpi.comm.protocol import EMERGENCY, EMERGENCY_TAG, Emergency
from dbmpi.comm.wait import WATCHED, Waiter
from dbmpi.errors import JobEnded, PeerSilent

T = TypeVar("T")


class Letter(NamedTuple):
    """A message: an `EMERGENCY` record, `()`, and the numbers that followed."""

    record: Record
    numbers: list[int]

    @property
    def kind(self) -> Emergency:
        """What it says."""
        return Emergency(int(self.record["kind"]))


class Gathering:
    """The living shards, as one of them reaches them.

    Parameters
    ----------
    comm
        The shards' communicator.
    waiter
        How to wait.
    end
        Ends a shard that is silent, if it can be reached from here.

    Attributes
    ----------
    silent
        The shards that have given no sign of life: they count as dead.
    """

    def __init__(
        self, comm: MPI.Intracomm, waiter: Waiter, end: Callable[[int], object] = lambda shard: None
    ) -> None:
        self._comm, self._waiter, self._end = comm, waiter, end
        self._out = Outbox(comm, self._learn)
        self.silent: set[int] = set()
        self._abandoned: list[tuple[MPI.Request, Record]] = []  # receives of what may yet come

    @contextmanager
    def attending(self, others: Callable[[], Sequence[int]]) -> Iterator[None]:
        """Give the `others` that there are then signs of life, in each wait and in `meanwhile`."""
        with self._waiter.attending(lambda: self.tell(others(), Emergency.ALIVE)):
            yield

    def tell(
        self, shards: Sequence[int], kind: Emergency, numbers: Sequence[int] = (), **fields: int
    ) -> None:
        """Send a message to some shards; one that has died gets none. Local."""
        record = np.zeros((), EMERGENCY)
        record["kind"], record["count"] = kind, len(numbers)
        for name, value in fields.items():
            record[name] = value
        self.send(shards, record)
        if len(numbers):
            self.send(shards, np.array(numbers, np.int64))

    def send(self, shards: Sequence[int], content: Record) -> None:
        """Send a record, `()`, or what one has announced. Local."""
        for shard in shards:
            self._out.send(content, shard, EMERGENCY_TAG)

    def next(self, shard: int) -> Letter | None:
        """Return the next message of a shard but for signs of life; None if it has died, or is silent."""
        while (record := self._receive(np.zeros(1, EMERGENCY), shard)) is not None:
            count = int(record[0]["count"])
            numbers = self._receive(np.zeros(count, np.int64), shard) if count > 0 else np.zeros(0, np.int64)
            if numbers is None:
                return None
            if record[0]["kind"] != Emergency.ALIVE:
                return Letter(record.reshape(()), numbers.tolist())
        return None

    def expect(self, shard: int, kind: Emergency, number: int) -> Letter | None:
        """Return the next message of a kind and a number; what comes before is of an earlier attempt."""
        while (letter := self.next(shard)) is not None:
            if letter.kind is kind and letter.record["number"] == number:
                return letter
        return None

    def meanwhile(self, task: Callable[[], T]) -> T:
        """Let a task that may take long run in a thread, with signs of life; return its result."""
        return Background(lambda call: task()).result(lambda: self._waiter.give_sign(awake()))

    def _receive(self, into: Record, shard: int) -> Record | None:
        what = "what to do without the coordinator"

        def receive() -> Record | None:
            request = self._comm.Irecv(into.view(np.uint8), shard, EMERGENCY_TAG)
            peer = partial(str, f"shard {shard} ({what})")
            try:
                complete(request, into, shard, what, self._waiter, peer, patience=WATCHED)
            except PeerSilent:
                self._abandoned.append((request, into))
                self._count_as_dead(shard)
                return None
            return into

        return tolerant(receive, self._learn, None)

    def _count_as_dead(self, shard: int) -> None:
        self.silent.add(shard)
        self._end(shard)

    @property
    def dead(self) -> set[int]:
        """The shards that have died, or count as dead."""
        return self.silent.union(ulfm.failed(self._comm))

    def _learn(self, error: MPI.Exception) -> None:
        ulfm.raise_unless_death(self._comm, error)
        if ulfm.revoked(self._comm):
            raise JobEnded from error
