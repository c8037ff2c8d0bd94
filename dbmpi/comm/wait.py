"""Waiting for a peer: politely, and never for ever.

MPI libraries spin in blocking calls, and ranks that spin take the cores from those that compute. So
every wait here polls: at once for a short while, when there is a core to poll on, then with sleeps
that grow with the time already waited. Every wait on a peer has a deadline, and names the peer when
it passes.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from dbmpi.errors import PeerSilent

SPINS = 200  # polls before the first sleep, where each rank has a core of its own
YIELDS = 4  # turns given to other processes before the first sleep, where it has not
SHORTEST_SLEEP_S = 20e-6
LONGEST_SLEEP_S = 2e-3
IDLE_SLEEP_S = 10e-3
SHARE = 0.05  # a sleep adds at most this share to the time already waited
IDLE_SHARE = 0.02  # of a shard, which has a client waiting in every step where fetches are waited for


@dataclass
class Waiter:
    """How one rank waits.

    Parameters
    ----------
    timeout_s
        Deadline of every wait on a peer, in seconds (`cluster.timeout_s`).
    crowded
        Whether the node has more ranks than cores: then polling steals from those that compute.
    """

    timeout_s: float
    crowded: bool = True
    waited_s: float = 0.0

    def until(self, done: Callable[[], bool], peer: Callable[[], str], patience: float = 1.0) -> None:
        """Poll `done` until it holds. Local.

        Parameters
        ----------
        done
            What to wait for.
        peer
            Says who is waited for, and for what.
        patience
            Factor on the deadline, for waits that others' waits may be the cause of.

        Raises
        ------
        PeerSilent
            When the deadline passes.
        """
        if done():
            return
        start = time.monotonic()
        polls = 0
        while not done():
            polls += 1
            waited = time.monotonic() - start
            if waited > patience * self.timeout_s:
                raise PeerSilent(f"no answer within {waited:.3g} s (cluster.timeout_s) from {peer()}")
            self._rest(polls, waited)
        self.waited_s += time.monotonic() - start

    def _rest(self, polls: int, waited_s: float) -> None:
        if not self.crowded and polls < SPINS:
            return
        if self.crowded and polls < YIELDS:
            os.sched_yield()
            return
        time.sleep(min(max(waited_s * SHARE, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))

    def take_waited(self) -> float:
        """Return the seconds waited since the last call, and start again from zero."""
        waited, self.waited_s = self.waited_s, 0.0
        return waited


class IdleBackoff:
    """The rest of a service loop between messages: the longer the quiet, the longer the sleep."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def busy(self) -> None:
        """Note that there was something to do."""
        self._since = time.monotonic()

    def rest(self) -> None:
        """Sleep for a fiftieth of the quiet so far, 20 microseconds to 10 milliseconds."""
        quiet = time.monotonic() - self._since
        time.sleep(min(max(quiet * IDLE_SHARE, SHORTEST_SLEEP_S), IDLE_SLEEP_S))
