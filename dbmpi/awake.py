"""A clock that stands still with its process, and deadlines by it. Pure, without MPI.

A process may stand still: SIGSTOP, a job that is suspended, another job's turn on its cores, a laptop's lid.
It notices nothing but that much time lies between two looks at a clock. In that time it could not hear
anybody, so it counts for nothing: who waits looks every few milliseconds, and of a longer gap only `MOST_S`
counts. That much does, so that a wait also ends where each look takes long.

Silence is judged when the messages that lay waiting have been read: a deadline passes only if a peer is still
not heard at a look after the time was over.
"""

import time

MOST_S = 0.25  # of one gap between two looks; a rank on a crowded node looks again after a tenth of that


class AwakeClock:
    """Seconds in which this process has looked at the clock, again and again.

    Parameters
    ----------
    most_s
        What counts at most of the time between two looks, in seconds.
    """

    def __init__(self, most_s: float = MOST_S) -> None:
        self._most_s, self._last, self._seconds = most_s, time.monotonic(), 0.0

    def __call__(self) -> float:
        """Look; return the seconds so far."""
        now = time.monotonic()
        self._seconds += min(max(now - self._last, 0.0), self._most_s)
        self._last = now
        return self._seconds


# One for all waits on other ranks. What lies between two waits counts for nothing either: a rank that
# computes hears nobody.
awake = AwakeClock()


class Deadline:
    """The end of one wait, by `awake`.

    Parameters
    ----------
    limit_s
        Longest time to wait, in seconds.

    Attributes
    ----------
    start
        When it began, by `awake`.
    waited_s
        Seconds that count, as of the last look.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s, self.start = limit_s, awake()
        self.waited_s, self._over = 0.0, False

    def passed(self) -> bool:
        """Look; return whether the time was over at the look before: what is waited for may come between."""
        before = self._over
        self.waited_s = awake() - self.start
        self._over = self.waited_s > self._limit_s
        return before
