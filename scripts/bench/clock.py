"""Timing of functions within this process. Standard library only."""

import statistics
import time
from collections.abc import Callable

TURN_S = 0.1


class Timed:
    """A turn that calls a function for a while, and gives the median seconds of a call.

    The first call of a turn does not count if there are others: as in training, the caches are its own.

    Parameters
    ----------
    make
        Makes the function, in `prepare`, which calls it twice: that compiles, and touches the memory.
    turn_s
        Seconds of a turn.
    """

    def __init__(self, make: Callable[[], Callable[[], object]], turn_s: float = TURN_S) -> None:
        self._make, self._turn_s = make, turn_s
        self._run: Callable[[], object] = lambda: None

    def prepare(self) -> None:
        """Make the function."""
        self._run = self._make()
        self._run()
        self._run()

    def __call__(self) -> float:
        """Take a turn."""
        times = list[float]()
        end = time.perf_counter() + self._turn_s
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            self._run()
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:] or times)
