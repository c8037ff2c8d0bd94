"""Waiting for a peer: politely, and never for ever.

MPI libraries spin in blocking calls, and ranks that spin take the cores from those that compute. So
every wait here polls: at once for a short while, when there is a core to poll on, then with sleeps
that grow with the time already waited. Every wait on a peer has a deadline (`dbmpi.awake`), and names the
peer when it passes. It counts the seconds that it waits by their cause.

Who may be silent, and for how long, is one rule for all, in parts of `cluster.timeout_s`:

* Nobody is silent who lives. Signs of life go out every `SIGN`, also while a rank waits (`attending`), and
  while it reads or writes files, which a thread does beside them (`comm.background`).
* The coordinator judges shards, and replicas that have work; shards judge the coordinator: after `JUDGED`.
* All other waits are for those who are judged so, and longer: `WATCHED`. Where ranks may die shards may be
  writing the checkpoint of a coordinator that is only silent, and give signs of life to one another alone:
  who waits for any of them has a patience of `SAVING` (`Waiter.patience`).

Before the roles split, and when all leave, rank 0 looks for all: `comm.meeting`.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum

from dbmpi.awake import Deadline, awake
from dbmpi.errors import PeerSilent
from dbmpi.spans import OFF, Kind, Off

SPINS = 200  # polls before the first sleep, where each rank has a core of its own
YIELDS = 4  # turns given to other processes before the first sleep, where it has not
YIELDS_S = 500e-6  # or for so long, where the node has a core for each partition: see `Waiter.yields_s`
SHORTEST_SLEEP_S = 20e-6
LONGEST_SLEEP_S = 2e-3
IDLE_SLEEP_S = 10e-3
SHARE = 0.05  # a sleep adds at most this share to the time already waited
SIGN = 0.25  # of the deadline: between signs of life
ATTEND = 0.1  # how often a rank that waits looks whether it is time for one
JUDGED = 1.5  # after which silence the coordinator judges others, and shards the coordinator
GRACE = 0.5  # for the news of the death of one that was judged, and is killed
WATCHED = 4.0  # how long is waited for those who are judged so: whoever waits need not act first
SAVING = 5.0 * WATCHED  # the same where ranks may die
IDLE_SHARE = 0.02  # of a shard, which has a client waiting in every step where fetches are waited for


class Cause(IntEnum):
    """What a partition waits for."""

    FETCH = 0  # parameters, also where a push goes with the fetch; and what is asked for no cause
    PUSH = 1  # that a push without a fetch is acknowledged
    STATES = 2  # of other partitions of the replica, and so the next three
    DERIVATIVES = 3
    OUTPUT_STATS = 4
    SHARED = 5  # tensors that all partitions work with, their gradients, and what partition 0 decides
    DATA = 6  # the file
    COORDINATOR = 7  # the next order


CAUSES = tuple(cause.name.lower() for cause in Cause)  # as metrics.jsonl and summary.json call them


@dataclass
class Waiter:
    """How one rank waits.

    Parameters
    ----------
    timeout_s
        In seconds (`cluster.timeout_s`): after `JUDGED` times as long a rank is silent.
    crowded
        Whether the node has more ranks than cores: then polling steals from those that compute.
    yields_s
        How long a crowded rank gives turns to other processes before it sleeps. A message within a node takes
        10 us, and the shortest sleep 90: a partition that has a core to itself, but for the shards and the
        coordinator, had better not sleep at once.
    patience
        Factor on the deadline, of waits for those whom others judge: `WATCHED` or `SAVING`.
    spans
        Records what this rank does and when, its waits too.

    Attributes
    ----------
    waited_s
        Seconds waited since they were taken, by `Cause`.
    measures
        Whether processor time is measured, which takes a call of the system at both ends of a wait.
    polled_s
        Processor seconds of this thread within these waits, where they are measured.
    """

    timeout_s: float
    crowded: bool = True
    yields_s: float = 0.0
    patience: float = WATCHED
    spans: Off = OFF
    waited_s: list[float] = field(default_factory=lambda: [0.0] * len(Cause))
    measures: bool = True
    polled_s: float = 0.0
    _meanwhile: Callable[[], object] = lambda: None
    _sign_at: float = field(init=False)  # by `awake`

    def __post_init__(self) -> None:
        self._sign_at = awake() + ATTEND * self.timeout_s

    def until(
        self,
        done: Callable[[], bool],
        peer: Callable[[], str],
        patience: float | None = None,
        cause: Cause = Cause.FETCH,
    ) -> None:
        """Poll `done` until it holds. Local.

        Parameters
        ----------
        done
            What to wait for.
        peer
            Says who is waited for, and for what.
        patience
            Factor on the deadline; None: that of this rank.
        cause
            Under what the seconds are counted.

        Raises
        ------
        PeerSilent
            When the deadline passes.
        """
        if done():
            return
        patience = self.patience if patience is None else patience
        start, look, polls = self._clocks(), self.look(patience), 0
        while not done():
            polls += 1
            if look.passed():
                raise PeerSilent.named(peer(), patience * self.timeout_s)
            self._rest(polls, look.waited_s)
        self._count(cause, start)

    def look(self, patience: float = 1.0) -> "Look":
        """Begin a wait that has another way to poll; `Look.passed` is to be asked every few milliseconds."""
        return Look(self, patience)

    def give_sign(self, now: float) -> None:
        """Attend to the others if it is time, `now` by `awake`."""
        if now >= self._sign_at:
            self._sign_at = now + ATTEND * self.timeout_s
            self._meanwhile()

    @contextmanager
    def attending(self, meanwhile: Callable[[], object]) -> Iterator[None]:
        """Have something called now and then in all waits: it gives signs of life, and waits for nothing."""
        before, self._meanwhile = self._meanwhile, meanwhile
        try:
            yield
        finally:
            self._meanwhile = before

    def _rest(self, polls: int, waited_s: float) -> None:
        if not self.crowded and polls < SPINS:
            return
        if self.crowded and (polls < YIELDS or waited_s < self.yields_s):
            os.sched_yield()
            return
        time.sleep(min(max(waited_s * SHARE, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))

    @contextmanager
    def counted(self, cause: Cause) -> Iterator[None]:
        """Count the seconds within as a wait that has another way to poll."""
        start = self._clocks()
        yield
        self._count(cause, start)

    def _clocks(self) -> tuple[float, float]:
        return time.monotonic(), time.thread_time() if self.measures else 0.0

    def _count(self, cause: Cause, start: tuple[float, float]) -> None:
        """Count the time since `start`, by `_clocks`."""
        now = self._clocks()
        self.waited_s[cause] += now[0] - start[0]
        self.polled_s += now[1] - start[1]
        self.spans.add((Kind.WAIT, start[0], now[0], cause))

    def take_waited(self) -> tuple[list[float], float]:
        """Return `waited_s` and `polled_s` since the last call, and start again from zero."""
        taken = self.waited_s, self.polled_s
        self.waited_s, self.polled_s = [0.0] * len(Cause), 0.0
        return taken


class Look(Deadline):
    """The deadline of a wait in which signs of life are given. See `Waiter.look`."""

    def __init__(self, waiter: Waiter, patience: float) -> None:
        super().__init__(patience * waiter.timeout_s)
        self._waiter = waiter

    def passed(self) -> bool:
        """See `Deadline`; give a sign of life if it is time."""
        passed = super().passed()
        self._waiter.give_sign(self.start + self.waited_s)
        return passed


class IdleBackoff:
    """The rest of a service loop between messages: the longer the quiet, the longer the sleep."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def busy(self) -> None:
        """Note that there was something to do."""
        self._since = time.monotonic()

    def rest(self, expecting: bool = False) -> None:
        """Sleep for a fiftieth of the quiet so far, 20 microseconds to 10 milliseconds.

        Where somebody who waits has given up a core, and the next message is expected, turns are given to
        other processes for `YIELDS_S` first: the shortest sleep is long beside a round.
        """
        quiet = time.monotonic() - self._since
        if expecting and quiet < YIELDS_S:
            os.sched_yield()
            return
        time.sleep(min(max(quiet * IDLE_SHARE, SHORTEST_SLEEP_S), IDLE_SLEEP_S))
