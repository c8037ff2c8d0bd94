"""The service loop of one shard: requests in, replies out, nothing else.

Memory stays bounded whatever the number of clients: one buffer for the gradient that is being
received, and `REPLY_BUFFERS` for parameters on their way out; when all are in flight the shard
waits for one before it serves the next request. What a client that has died announced, or waits for,
is dropped.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.errors import ProtocolError
from dbmpi.mail import Herald, Outbox
from dbmpi.protocol import (
    OPERATION,
    REPLY_HEADER,
    REQUEST_HEADER,
    WIRE,
    WIRE_DTYPES,
    WRITTEN,
    Op,
    Status,
    Tag,
    check_size,
)
from dbmpi.shard import Shard
from dbmpi.signals import Signals
from dbmpi.snapshot import Saver
from dbmpi.waiting import Idle, Waiter
from dbmpi.wire import decode

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.failures import Watch
    from dbmpi.mirror import Mirror

Array = NDArray[Any]
REPLY_BUFFERS = 4


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
    mirror
        What its heir gets to know, and what it knows of another shard, where shards may die.
    """

    def __init__(
        self,
        shard: Shard,
        comm: "MPI.Intracomm",
        coordinator: int,
        waiter: Waiter,
        save: Callable[[], None],
        saver: Saver,
        signals: Signals,
        report_every_s: float,
        mirror: "Mirror | None" = None,
    ) -> None:
        self._mirror = mirror
        self.shard, self._comm, self._coordinator, self._waiter = shard, comm, coordinator, waiter
        self._save, self._report_every_s = save, report_every_s
        self._saver, self._herald = saver, Herald(comm, coordinator, signals)
        largest = max((len(held.value) for held in shard.held.values()), default=0)
        largest = mirror.largest if mirror is not None else largest  # it may come to serve any
        dtype = next((held.value.dtype for held in shard.held.values()), np.dtype("f4"))
        self._received = np.empty(largest * dtype.itemsize, np.uint8)
        self._decoded = np.empty(largest, dtype)
        self._replies = [_Reply(np.empty(largest, dtype)) for _ in range(REPLY_BUFFERS)]
        self._header_buffer = np.zeros(1, REQUEST_HEADER)
        self._header = self._header_buffer[0]  # a view
        self._clients: set[int] = set()
        self._busy_s, self._bytes_in, self._bytes_out = 0.0, 0, 0
        self._report: list[MPI.Request] = []
        self._outbox = Outbox(comm)
        self._watch: Watch | None = None

    def run(self) -> int:
        """Serve until told to stop; return the exit status that the coordinator gives."""
        from dbmpi.failures import Watch

        self._watch = Watch(self._comm, {self._coordinator: f"rank {self._coordinator} (coordinator)"})
        idle, next_report = Idle(), time.monotonic()
        while True:
            now = time.monotonic()
            if now >= next_report:
                self._send_report(last=False)
                next_report = now + self._report_every_s
            self._herald.look()
            self._report_written()
            if self._mirror is not None:
                self._mirror.look(now, partial(self.shard.snapshot, None))
            asked = self._next_request()
            if asked is None:
                idle.rest()
                continue
            if self._serve(*asked) is Op.STOP:
                break
            idle.busy()
            self._busy_s += time.monotonic() - now
        status = int(self._header["piece"])
        self._finish()
        return status

    def _next_request(self) -> "tuple[Op, int] | None":
        """Return what the next request asks, and who asks it, if there is one."""
        from mpi4py import MPI

        status = MPI.Status()
        try:
            message = self._comm.Improbe(MPI.ANY_SOURCE, Tag.REQUEST, status)
        except MPI.Exception as error:
            self._excuse(error)
            return None
        if message is None:
            return None
        source = status.Get_source()
        check_size(status.Get_count(), REQUEST_HEADER.itemsize, "a request", source)
        message.Recv(self._header_buffer.view(np.uint8))
        return Op(int(self._header["op"])), source

    def _serve(self, op: Op, source: int) -> Op:
        if op is Op.SAVE:
            self._save_model(source)
        elif op is Op.OPERATE:
            self._operate(source)
        elif op is Op.CHECKPOINT:
            self._checkpoint(source)
        elif op is Op.ADOPT:
            self._adopt(source)
        elif op is not Op.STOP:
            self._exchange_or_drop(op, source)
        return op

    def _exchange_or_drop(self, op: Op, source: int) -> None:
        """Serve a partition; drop its request if it dies meanwhile."""
        from mpi4py import MPI

        try:
            self._exchange(op, source)
        except MPI.Exception as error:
            self._excuse(error)

    def _excuse(self, error: "MPI.Exception") -> None:
        """Go on if an error tells of the death of a client."""
        assert self._watch is not None
        self._watch.learn(error)

    def _save_model(self, source: int) -> None:
        """Write the model, unless a shard dies that has a part of it."""
        from mpi4py import MPI

        status = Status.OK
        try:
            self._save()
        except MPI.Exception as error:
            self._excuse(error)
            status = Status.LOST
        self._answer(source, status)

    def _answer(self, source: int, status: Status = Status.OK, piece: int = 0, version: int = 0) -> None:
        """Send a reply without parameters."""
        reply = self._free_reply()
        reply.header["status"], reply.header["piece"], reply.header["version"] = status, piece, version
        reply.send(self._comm, source, None)

    def _adopt(self, source: int) -> None:
        """A shard has died: take over its pieces and answer, if this one is its heir."""
        assert self._mirror is not None
        now = time.monotonic()
        inherited = self._mirror.bury(int(self._header["piece"]), now)
        if inherited is None:
            return
        pieces, whole = inherited
        if whole is None:
            self._answer(source, Status.LOST)
            return
        updates = self.shard.adopt(pieces, whole.copy)
        self._answer(source, Status.OK, round(1000 * (now - whole.taken_at)), updates)

    def _operate(self, source: int) -> None:
        """Perform the vector operations that follow the request, and answer the dot products."""
        records = np.zeros(int(self._header["steps"]), OPERATION)
        self._receive(records.view(np.uint8), source, Tag.OPERATIONS)
        scalars = self.shard.operate(records)
        request = self._comm.Isend(scalars, source, Tag.SCALARS)
        self._waiter.until(request.Test, lambda: f"rank {source} (scalars)")

    def _checkpoint(self, source: int) -> None:
        """Copy what a checkpoint holds of this shard, answer, and begin to write the copy."""
        number, count = int(self._header["version"]), int(self._header["steps"])
        numbers = np.zeros(max(count, 0), np.int64)
        if count > 0:
            self._receive(numbers.view(np.uint8), source, Tag.VECTORS)
        self._send_report(last=False)
        self._saver.begin(number, self.shard.snapshot(None if count < 0 else numbers.tolist()))
        self._answer(source)

    def _report_written(self) -> None:
        """Tell the coordinator when the copy is on disk."""
        written = self._saver.take_written()
        if written is not None:
            record = np.zeros((), WRITTEN)
            record["shard"], record["number"] = written.shard, written.number
            record["updates"], record["bytes"] = written.updates, written.file.bytes
            record["sha256"] = np.frombuffer(bytes.fromhex(written.file.sha256), np.uint8)
            self._outbox.send(record, self._coordinator, Tag.WRITTEN)

    def _exchange(self, op: Op, source: int) -> None:
        """Apply a push, answer a fetch, or both; the answer holds the parameters after the push."""
        piece = int(self._header["piece"])
        if piece not in self.shard.held:
            raise ProtocolError(f"rank {source} asks for piece {piece}, which is not of this shard")
        self._clients.add(source)
        reply = self._free_reply()
        values = reply.values[: len(self.shard.held[piece].value)] if op & Op.FETCH else None
        status = Status.OK
        if op & (Op.PUSH | Op.ACCRUE):
            status = self._take_push(op, source, piece, values)

        if values is not None:
            held = self.shard.fetch(piece)
            if not op & Op.PUSH or status is not Status.OK:
                np.copyto(values, held.value)
            self._bytes_out += values.nbytes
        reply.header["piece"], reply.header["status"] = piece, status
        reply.header["version"] = self.shard.held[piece].version
        reply.send(self._comm, source, values)

    def _take_push(self, op: Op, source: int, piece: int, out: Array | None) -> Status:
        """Receive the gradient that follows the request, and apply or accrue it."""
        header, size = self._header, len(self.shard.held[piece].value)
        wire, version = WIRE[int(header["wire"])], int(header["version"])
        raw = self._received[: size * WIRE_DTYPES[wire].itemsize].view(WIRE_DTYPES[wire])
        self._receive(raw, source, Tag.GRADIENT)
        gradient = decode(raw, wire, self._decoded[:size])
        if op & Op.ACCRUE:
            return self.shard.accrue(piece, gradient, version)
        return self.shard.push(piece, gradient, version, float(header["rate"]), out)

    def _receive(self, into: Array, source: int, tag: Tag) -> None:
        """Receive what a request announced."""
        from mpi4py import MPI

        request, status = self._comm.Irecv(into, source, tag), MPI.Status()
        what = f"{tag.name} that it announced"
        self._waiter.until(lambda: request.Test(status), lambda: f"rank {source} ({what})")
        check_size(status.Get_count(), into.nbytes, what, source)
        self._bytes_in += into.nbytes

    def _free_reply(self) -> "_Reply":
        """Return a reply whose buffers are free, waiting for one if all are on their way."""
        free: list[_Reply] = []

        def found() -> bool:
            free.extend(reply for reply in self._replies if self._is_free(reply))
            return bool(free)

        def late() -> str:
            return ", ".join(f"rank {reply.to}" for reply in self._replies) + " (replies)"

        self._waiter.until(found, late)
        return free[0]

    def _is_free(self, reply: "_Reply") -> bool:
        """Return whether a reply has left, or nobody is there to take it."""
        from mpi4py import MPI

        try:
            return reply.sent()
        except MPI.Exception as error:
            self._excuse(error)
            reply.forget()
            return True

    def _send_report(self, last: bool) -> None:
        """Tell the coordinator how the shard does; a report that is still on its way is not overtaken."""
        if self._report and not self._report[0].Test():
            return
        record = self.shard.report()
        record["clients"], record["busy_s"], record["last"] = len(self._clients), self._busy_s, last
        record["bytes_in"], record["bytes_out"] = self._bytes_in, self._bytes_out
        self._report = [self._comm.Isend(record.reshape(1).view(np.uint8), self._coordinator, Tag.SHARD)]

    def _finish(self) -> None:
        """Send the last report, and wait until everything has left."""
        peer = partial(str, f"rank {self._coordinator} (the coordinator, the shard's report)")
        if self._report:
            self._waiter.until(self._report[0].Test, peer)
        self._outbox.drain(self._waiter)
        self._herald.close()
        if self._mirror is not None:
            self._mirror.close()
        self._send_report(last=True)
        self._waiter.until(self._report[0].Test, peer)
        for reply in self._replies:
            sent = partial(self._is_free, reply)
            self._waiter.until(sent, partial("rank {0.to} (a reply)".format, reply))


class _Reply:
    """The buffers of one reply, and its sends while they are in flight."""

    def __init__(self, values: Array) -> None:
        self.values = values
        self.header = np.zeros(1, REPLY_HEADER)
        self.to = -1
        self._requests: list[MPI.Request] = []

    def send(self, comm: "MPI.Intracomm", to: int, values: Array | None) -> None:
        self.to = to
        self._requests = [comm.Isend(self.header.view(np.uint8), to, Tag.REPLY)]
        if values is not None:
            self._requests.append(comm.Isend(values, to, Tag.PARAMETERS))

    def forget(self) -> None:
        self._requests.clear()

    def sent(self) -> bool:
        return all(request.Test() for request in self._requests)
