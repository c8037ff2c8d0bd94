"""The service loop of one shard: requests in, replies out (`handler`), and what the coordinator orders."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.checkpoint.names import PARAMETER_VECTOR
from dbmpi.checkpoint.shard_file import ShardWriter
from dbmpi.comm.messages import Outbox
from dbmpi.comm.protocol import MIRRORED, OPERATION, REQUEST_HEADER, WRITTEN, Op, Status, Tag, check_size
from dbmpi.comm.signals import SignalForwarder, Signals
from dbmpi.comm.ulfm import FailureDetector
from dbmpi.comm.wait import IdleBackoff, Waiter
from dbmpi.layout.sharding import Owners
from dbmpi.server.requests import RequestHandler
from dbmpi.server.shard import Shard

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.server.mirror import Mirror


class ShardService:
    """Serves one shard on the service communicator until the coordinator says stop.

    Parameters
    ----------
    shard
        What to serve.
    comm
        The service communicator.
    coordinator
        World rank that gets the reports.
    save
        Called when the coordinator asks for the model to be written (the first shard only).
    saver
        Writes this shard's part of checkpoints.
    signals
        What has been received.
    report_every_s
        Interval of the reports, in seconds.
    owners
        Which shards live, and serve what, as far as it is known here; `mirror` keeps it.
    mirror
        What its heir gets to know, and what it knows of another shard, where shards may die.

    Attributes
    ----------
    will
        The coordinator's, the last that has come.
    """

    def __init__(
        self,
        shard: Shard,
        comm: "MPI.Intracomm",
        coordinator: int,
        waiter: Waiter,
        save: Callable[[], None],
        shard_writer: ShardWriter,
        signals: Signals,
        report_every_s: float,
        owners: Owners,
        mirror: "Mirror | None" = None,
    ) -> None:
        self.owners, self._mirror = owners, mirror
        self.shard, self._comm, self._coordinator, self._waiter = shard, comm, coordinator, waiter
        self._save, self._report_every_s = save, report_every_s
        self._shard_writer, self._forwarder = shard_writer, SignalForwarder(comm, coordinator, signals)
        self._detector = FailureDetector(comm, {coordinator: f"rank {coordinator} (coordinator)"})
        largest = max((len(held.value) for held in shard.held.values()), default=0)
        largest = mirror.largest if mirror is not None else largest  # it may come to serve any
        self._handler = RequestHandler(shard, largest, comm, waiter, self._detector)
        self._header_buffer = np.zeros(1, REQUEST_HEADER)
        self._header = self._header_buffer[0]  # a view
        self._busy_s = 0.0
        self.coordinator_state: bytes | None = None
        self._report: list[MPI.Request] = []
        self._outbox = Outbox(comm)
        self._orders: dict[Op, Callable[[int], None]] = {
            Op.SAVE: self._save_model,
            Op.OPERATE: self._operate,
            Op.CHECKPOINT: self._checkpoint,
            Op.ADOPT: self._adopt,
            Op.MIRROR: self._order_mirror,
            Op.KEEP_STATE: self._keep_coordinator_state,
            Op.REVERT: lambda source: self.shard.back(int(self._header["version"])),
        }

    def run(self) -> int:
        """Serve until told to stop; return the exit status that the coordinator gives."""
        idle, next_report = IdleBackoff(), time.monotonic()
        while True:
            now = time.monotonic()
            if now >= next_report:
                self._send_report(last=False)
                next_report = now + self._report_every_s
            self._poll(now)
            source = self._next_request()
            if source is None:
                idle.rest()
                continue
            if self._serve(source) is Op.STOP:
                break
            idle.busy()
            self._busy_s += time.monotonic() - now
        status = int(self._header["piece"])
        self._finish()
        return status

    def _serve(self, source: int) -> Op:
        """Do what a request asks, and return it."""
        op = Op(int(self._header["op"]))
        if op in self._orders:
            self._orders[op](source)
        elif op is not Op.STOP:
            self._handler.serve(self._header, source)
        return op

    def _poll(self, now: float) -> None:
        """Let what is under way move on, and tell the coordinator what is done."""
        self._forwarder.poll()
        self._report_written()
        if self._mirror is not None:
            self._mirror.poll(now, partial(self.shard.snapshot, None))
            number = self._mirror.take_done()
            if number is not None:
                record = np.array((self.shard.index, number), MIRRORED)
                self._outbox.send(record, self._coordinator, Tag.MIRRORED)

    def _next_request(self) -> int | None:
        """Receive the header of the next request, if there is one; return who asks."""
        from mpi4py import MPI

        status = MPI.Status()
        try:
            message = self._comm.Improbe(MPI.ANY_SOURCE, Tag.REQUEST, status)
        except MPI.Exception as error:
            self._detector.learn(error)
            return None
        if message is None:
            return None
        source = status.Get_source()
        check_size(status.Get_count(), REQUEST_HEADER.itemsize, "a request", source)
        message.Recv(self._header_buffer.view(np.uint8))
        return source

    def _save_model(self, source: int) -> None:
        """Write the model, unless a shard dies that has a part of it."""
        from mpi4py import MPI

        status = Status.OK
        try:
            self._save()
        except MPI.Exception as error:
            self._detector.learn(error)
            status = Status.LOST
        self._handler.answer(source, status)

    def _adopt(self, source: int) -> None:
        """A shard has died: take over its pieces and answer, if this one is its heir."""
        assert self._mirror is not None
        now = time.monotonic()
        inherited = self._mirror.fail_over(int(self._header["piece"]), now)
        if inherited is None:
            return
        pieces, whole = inherited
        if whole is None:
            self._handler.answer(source, Status.LOST)
            return
        updates = self.shard.adopt(pieces, whole.copy)
        age_ms = round(1000 * (now - whole.taken_at))
        self._handler.answer(source, Status.OK, age_ms, whole.number or updates)

    def _operate(self, source: int) -> None:
        """Perform the vector operations that follow the request, and answer the dot products."""
        records = np.zeros(int(self._header["steps"]), OPERATION)
        self._handler.receive(records, source, Tag.OPERATIONS)
        scalars = self.shard.operate(records)
        request = self._comm.Isend(scalars, source, Tag.SCALARS)
        self._waiter.until(request.Test, lambda: f"rank {source} (scalars)")

    def _checkpoint(self, source: int) -> None:
        """Copy what a checkpoint holds of this shard, answer, and begin to write the copy."""
        number, vectors = int(self._header["version"]), self._receive_vectors(source)
        self._send_report(last=False)
        self._shard_writer.begin(number, self.shard.snapshot(vectors))
        self._handler.answer(source)

    def _order_mirror(self, source: int) -> None:
        """Copy some vectors, and begin to send the copy."""
        assert self._mirror is not None
        number, anew = int(self._header["version"]), bool(self._header["piece"])
        copy = self.shard.snapshot(self._receive_vectors(source))
        self.shard.keep(number, copy[PARAMETER_VECTOR])
        self._mirror.order(number, copy, anew)

    def _keep_coordinator_state(self, source: int) -> None:
        """Keep what a checkpoint would need of the coordinator."""
        text = np.empty(int(self._header["steps"]), np.uint8)
        self._handler.receive(text, source, Tag.STATE)
        self.coordinator_state = text.tobytes()

    def _receive_vectors(self, source: int) -> list[int] | None:
        """Receive the vectors that a request is about; None for what Downpour has."""
        count = int(self._header["steps"])
        numbers = np.zeros(max(count, 0), np.int64)
        if count > 0:
            self._handler.receive(numbers, source, Tag.VECTORS)
        return None if count < 0 else numbers.tolist()

    def _report_written(self) -> None:
        """Tell the coordinator when the copy is on disk."""
        written = self._shard_writer.take_written()
        if written is not None:
            record = np.zeros((), WRITTEN)
            record["shard"], record["number"] = written.shard, written.number
            written.file.fill(record)
            self._outbox.send(record, self._coordinator, Tag.WRITTEN)

    def _send_report(self, last: bool) -> None:
        """Tell the coordinator how the shard does; a report that is still on its way is not overtaken."""
        if self._report and not self._report[0].Test():
            return
        record, handler = self.shard.report(), self._handler
        record["clients"], record["busy_s"], record["last"] = len(handler.clients), self._busy_s, last
        record["bytes_in"], record["bytes_out"] = handler.bytes_in, handler.bytes_out
        self._report = [self._comm.Isend(record.reshape(1).view(np.uint8), self._coordinator, Tag.SHARD)]

    def _finish(self) -> None:
        """Send the last report, and wait until everything has left."""
        peer = partial(str, f"rank {self._coordinator} (the coordinator, the shard's report)")
        if self._report:
            self._waiter.until(self._report[0].Test, peer)
        self._outbox.drain(self._waiter)
        self._forwarder.close()
        if self._mirror is not None:
            self._mirror.close()
        self._send_report(last=True)
        self._waiter.until(self._report[0].Test, peer)
        self._handler.drain()
