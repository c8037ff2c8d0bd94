"""A shard's reports to the coordinator: what it has done, and that it lives."""

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.comm.messages import Endpoint
from dbmpi.comm.protocol import Tag
from dbmpi.comm.wait import SIGN
from dbmpi.screen import losses
from dbmpi.server.requests import RequestHandler
from dbmpi.server.shard import Shard

if TYPE_CHECKING:
    from mpi4py import MPI


class Reporter:
    """Sends a `SHARD_REPORT` every so often, one at a time.

    Parameters
    ----------
    endpoint
        The service communicator, and how to use it.
    shard, handler
        What is reported.
    every_s
        Interval of the regular reports, in seconds.

    Attributes
    ----------
    busy_s
        Seconds in which the shard has served.
    """

    def __init__(self, endpoint: Endpoint, shard: Shard, handler: RequestHandler, every_s: float) -> None:
        self._endpoint, self._shard, self._handler, self._every_s = endpoint, shard, handler, every_s
        self._report: MPI.Request | None = None
        self._next, self._last_due = time.monotonic(), False
        self.busy_s = 0.0

    def send_if_due(self) -> None:
        """Send a regular report: it is a sign of life, too."""
        now = time.monotonic()
        if now >= self._next:
            self.send()
            self._next = now + min(self._every_s, SIGN * self._endpoint.waiter.timeout_s)

    def order_last(self) -> None:
        """Have the last report sent at the next `send_last`."""
        self._last_due = True

    def send_last(self) -> None:
        """Send the last report if it was ordered; what comes after it are signs of life."""
        if self._last_due:
            self._last_due = False
            self.wait()
            self.send(last=True)

    def send(self, last: bool = False) -> None:
        """Tell the coordinator how the shard does; a report that is still on its way is not overtaken."""
        if self._report is not None and not self._report.Test():
            return
        record, handler = self._shard.report(), self._handler
        record["clients"], record["busy_s"], record["last"] = len(handler.clients), self.busy_s, last
        record["bytes_in"], record["bytes_out"] = handler.bytes_in, handler.bytes_out
        record["unshown"] = losses()
        to, content = self._endpoint.coordinator, record.reshape(1).view(np.uint8)
        self._report = self._endpoint.comm.Isend(content, to, Tag.SHARD)

    def wait(self) -> None:
        """Wait until the last one has left."""
        peer = partial(str, f"rank {self._endpoint.coordinator} (the coordinator, the shard's report)")
        if self._report is not None:
            self._endpoint.waiter.until(self._report.Test, peer)
