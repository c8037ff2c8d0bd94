"""Read the next portions of the training set while the current one is being learned from."""

import threading
from collections.abc import Callable, Sequence
from queue import Empty, Queue, SimpleQueue

import numpy as np

from dbmpi.data.split import Split
from dbmpi.errors import PeerSilent
from dbmpi.layout.boxes import Range

POLL_S = 5e-3
Portion = tuple[np.ndarray, ...]  # rows as stored, their labels or targets, and weights where there are any


class Prefetcher:
    """A thread that reads portions in the order in which they were requested. Local.

    h5py lets other threads run while HDF5 reads, so reading costs the computation next to nothing.

    Parameters
    ----------
    split : Split
        Used by the thread alone until `close` returned; the caller closes it.
    depth : int
        Portions read and not yet taken, at most; further requests wait.
    """

    def __init__(self, split: Split, depth: int = 2) -> None:
        self._split = split
        self._outstanding = 0
        self._closing = False
        self._room = threading.Semaphore(depth)
        self._requests: SimpleQueue[list[Range]] = SimpleQueue()
        # No SimpleQueue: a signal near the end of a `get` with a timeout may make it wait for ever.
        self._results: Queue[Portion | Exception] = Queue()
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._thread.start()

    def request(self, ranges: Sequence[Range]) -> None:
        """Ask for the rows of some ranges; returns at once.

        Parameters
        ----------
        ranges : sequence of (start, stop)
            The rows of one portion.
        """
        self._outstanding += 1
        self._requests.put(list(ranges))

    def take(self, late: Callable[[], bool]) -> Portion:
        """Return the portion that was requested first, of those not yet taken; waits until it is read.

        Parameters
        ----------
        late
            Asked every few milliseconds whether the wait has taken too long.

        Returns
        -------
        x : array of the split's dtype, shape (N, I) or (N, H, W, C)
            Rows as stored, as `Split.read` returns them.
        y : int64 array (N,), or float or int8 array (N, T)
            Labels, or targets.
        weights : float64 array (N,)
            Where the split has any.

        Raises
        ------
        PeerSilent
            The file system did not deliver in time.
        Exception
            Whatever reading this portion raised: UserError for a file that is damaged or out of reach.
        RuntimeError
            Nothing was requested.
        """
        if self._outstanding == 0:
            raise RuntimeError("take() without a request()")
        result = self._next(late)
        self._outstanding -= 1
        self._room.release()
        if isinstance(result, Exception):
            raise result
        return result

    def _next(self, late: Callable[[], bool]) -> Portion | Exception:
        while True:
            try:
                return self._results.get(timeout=POLL_S)
            except Empty:
                if late():
                    raise PeerSilent(
                        f"{self._split.path}: no rows came within cluster.timeout_s: the file system hangs "
                        "or is overloaded; look at it from this host, or raise cluster.timeout_s"
                    ) from None

    def close(self, timeout_s: float = 10.0) -> None:
        """End the thread; a read that hangs in the file system is waited for no longer than `timeout_s`."""
        self._closing = True
        self._room.release()
        self._requests.put([])
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            ranges = self._requests.get()
            self._room.acquire()
            if self._closing:
                return
            self._results.put(self._portion(ranges))

    def _portion(self, ranges: list[Range]) -> Portion | Exception:
        split = self._split
        try:
            return split.read(ranges), split.labels_or_targets(ranges), *split.weights(ranges)
        except Exception as error:  # raised again in take(), by the thread that can act on it
            return error
