"""The service loop of one shard: the coordinator's commands, and the requests of partitions (`requests`)."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.arrays import Array, Record
from dbmpi.checkpoint.shard_file import ShardWriter
from dbmpi.checkpoint.vector_names import PARAMETER_VECTOR
from dbmpi.comm.background import Background
from dbmpi.comm.messages import Endpoint, Inbox, Outbox, take, tolerant
from dbmpi.comm.protocol import (
    ANSWER,
    COMMAND,
    FENCED,
    MIRRORED,
    NO_ROUND,
    OPERATION,
    REQUEST_HEADER,
    SIGNAL,
    WRITTEN,
    Command,
    Status,
    Tag,
)
from dbmpi.comm.signals import SignalForwarder
from dbmpi.comm.ulfm import FailureDetector
from dbmpi.comm.wait import IdleBackoff
from dbmpi.errors import PeerDied, UserError
from dbmpi.layout.sharding import Owners
from dbmpi.server.reports import Reporter
from dbmpi.server.requests import RequestHandler
from dbmpi.server.round_requests import RoundHandler
from dbmpi.server.rounds import Rounds
from dbmpi.server.shard import Shard
from dbmpi.spans import Kind

if TYPE_CHECKING:
    from dbmpi.server.mirror import Inheritance, Mirror

Message = tuple[Record, int | None]  # a REQUEST and the world rank that sent it; None: a COMMAND


@dataclass(frozen=True)
class ShardOutput:
    """What a shard gives besides parameters.

    `save(checkpoint, meanwhile)` writes the model, if the coordinator asks for it (`run.roles.model_output`);
    `writer` writes the shard's part of checkpoints; every `report_every_s` seconds the coordinator gets a
    report.
    """

    save: Callable[[int, Callable[[], None]], None]
    writer: ShardWriter
    report_every_s: float


class ShardService:
    """Serves one shard on the service communicator until the coordinator says stop.

    Parameters
    ----------
    shard
        What to serve.
    endpoint
        The service communicator, and how to use it.
    output
        What the shard gives besides parameters.
    owners
        Which shards live, and serve what, as far as it is known here; `mirror` keeps it.
    mirror
        What the successor gets to know, and what is known here of another shard, where shards may die.
    companions
        See `RequestHandler`.
    rounds
        Who waits for the steps, where replicas learn in rounds.
    first
        Makes what another shard held at first, as a mirror has it.

    Attributes
    ----------
    watch
        Kept of the coordinator.
    states, notes
        The last two states that have come, and `NOTE` records that have come since.
    """

    def __init__(
        self,
        shard: Shard,
        endpoint: Endpoint,
        output: ShardOutput,
        owners: Owners,
        mirror: "Mirror | None" = None,
        companions: Callable[[int], Iterable[int]] = lambda rank: (rank,),
        rounds: Rounds | None = None,
        first: Callable[[int], Mapping[str, Array]] | None = None,
    ) -> None:
        self._first = first
        self.shard, self.owners, self._mirror, self._output = shard, owners, mirror, output
        self._comm, self._coordinator = endpoint.comm, endpoint.coordinator
        self._waiter, self._signals, self._endpoint = endpoint.waiter, endpoint.signals, endpoint
        self.watch = endpoint.watch
        self._forwarder = SignalForwarder(self._comm, self._coordinator, self._signals)
        self._coordinator_name = f"rank {self._coordinator} (coordinator)"
        self._detector = FailureDetector(self._comm, {self._coordinator: self._coordinator_name})
        largest = max((len(held.value) for held in shard.held.values()), default=0)
        largest = mirror.largest if mirror is not None else largest  # it may come to serve any
        self._handler = RequestHandler(shard, largest, self._comm, self._waiter, self._detector, companions)
        self._rounds: RoundHandler | None = None
        if rounds is not None:
            self._rounds = RoundHandler(shard, self._handler, rounds, self._detector, self._waiter.spans)
        self._outbox = Outbox(self._comm, self._detector.learn)
        self._reporter = Reporter(endpoint, shard, self._handler, output.report_every_s)
        self._status: int | None = None  # exit status of the run, once the coordinator has said it
        self.states: list[bytes] = []
        self.notes: list[bytes] = []
        self._commands: dict[Command, Callable[[Record], None]] = {
            Command.SAVE: self._save_model,
            Command.STOP: self._stop,
            Command.OPERATE: self._operate,
            Command.CHECKPOINT: self._checkpoint,
            Command.ADOPT: self._adopt,
            Command.MIRROR: self._send_mirror,
            Command.REVERT: self._revert,
            Command.KEEP_STATE: self._keep_state,
            Command.REPORT: self._order_last_report,
            Command.KEEP_NOTES: self._keep_state,
            Command.ALIVE: lambda command: None,
            Command.FENCE: self._fence,
            Command.COVER: self._cover,
        }
        self._inbox: Inbox
        self._fenced: list[int] = []  # ranks that have yet to leave the rounds
        self._waiting: deque[Record] = deque()  # commands that came while this rank waited for something

    def run(self) -> int:
        """Serve until told to stop; return the exit status that the coordinator gives."""
        self._inbox = Inbox(self._comm, self._coordinator, Tag.COMMAND, COMMAND)
        self.watch.heard()
        with self._waiter.attending(self._attend):
            self._serve_until_told()
        self._inbox.close()
        self._finish()
        assert self._status is not None
        return self._status

    def _serve_until_told(self) -> None:
        idle = IdleBackoff()
        while self._status is None:
            now = time.monotonic()
            self._reporter.send_if_due()
            self._poll(now)
            if self._serve_next():
                idle.busy()
                self._reporter.busy_s += time.monotonic() - now
            else:
                self._reporter.send_last()
                idle.rest(self._rounds is not None and self._rounds.under_way)
        while self._serve_next():  # requests that came before the command to stop
            pass

    def _next_message(self) -> Message | None:
        """Return the next command, or else the next request."""
        command = self._waiting.popleft() if self._waiting else self._next_command()
        if command is not None:
            return command, None
        self.watch.judge()
        return take(self._comm, Tag.REQUEST, REQUEST_HEADER)

    def _next_command(self) -> Record | None:
        command = self._inbox.take()
        if command is not None:
            self.watch.heard()
        return command

    def _attend(self) -> None:
        """While this rank waits: give a sign of life, and take in what is said of silent ranks."""
        self._reporter.send_if_due()
        while (command := tolerant(self._next_command, self._detector.learn, None)) is not None:
            if command["command"] == Command.FENCE:
                self._fence(command)
            else:
                self._waiting.append(command)
        self.watch.judge()

    def _serve_next(self) -> bool:
        """Serve the next message; return whether there was one, or a death was learned of in its place."""
        known = len(self._detector.dead)
        message = tolerant(self._next_message, self._detector.learn, None)
        if message is not None:
            self._serve(*message)
        return message is not None or len(self._detector.dead) > known

    def _serve(self, message: Record, source: int | None) -> None:
        """Do what a COMMAND says, or a REQUEST from a world rank."""
        if source is None:
            self._obey(message)
        elif self._rounds is not None and message["round"] != NO_ROUND:
            self._rounds.serve(message, source)
        else:
            self._handler.serve(message, source)

    def _obey(self, command: Record) -> None:
        what, start = Command(int(command["command"])), time.monotonic()
        self._commands[what](command)
        self._waiter.spans.note(Kind.COMMAND, start, time.monotonic(), what, value=int(command["count"]))

    def _poll(self, now: float) -> None:
        """Let what is under way move on, and tell the coordinator what is done."""
        if self._signals.number:
            self._forwarder.poll()
        self._report_written()
        dead = self._handler.forget_dead()
        if self._rounds is not None:
            fenced, self._fenced = self._fenced, []
            self._rounds.leave([*dead, *fenced])
        if self._mirror is not None:
            self._mirror.poll(now, partial(self.shard.snapshot, None))
            number, cover = self._mirror.take_done(), self._mirror.take_covered()
            if number is not None:
                self._report_mirrored(number, 0)
            if cover is not None:
                self._report_mirrored(0, cover)

    def _report_mirrored(self, number: int, cover: int) -> None:
        record = np.array((self.shard.index, number, cover), MIRRORED)
        self._outbox.send(record, self._coordinator, Tag.MIRRORED)

    # -- commands ------------------------------------------------------------------------------------------

    def _stop(self, command: Record) -> None:
        self._status = int(command["status"])

    def _fence(self, command: Record) -> None:
        """A rank is silent: end it if it is on this host, and refuse what its replica asks from now on."""
        rank = int(command["dead"])
        self._endpoint.fence(rank)
        self._handler.refuse(rank)
        self._fenced.append(rank)  # leaves rounds later: one may be in the middle of its sum

    def fence_coordinator(self) -> None:
        """Tell the coordinator, should it wake, that its checkpoint is being written without it. Local."""
        with suppress(PeerDied):  # then nobody has to be told
            self._outbox.send(np.array((FENCED,), SIGNAL), self._coordinator, Tag.SIGNAL)

    def _revert(self, command: Record) -> None:
        assert self._mirror is not None
        self.shard.back(int(command["number"]))
        self._mirror.back(int(command["number"]))

    def _cover(self, command: Record) -> None:
        assert self._mirror is not None
        self._mirror.cover(int(command["number"]))

    def _order_last_report(self, command: Record) -> None:
        self._reporter.order_last()

    def _save_model(self, command: Record) -> None:
        """Write the model, unless a shard dies that has a part of it, and answer."""

        def save() -> tuple[Status, str]:
            try:
                self._output.save(int(command["number"]), self._attend)
            except UserError as error:
                return Status.FAILED, str(error)
            return Status.OK, ""

        status, problem = tolerant(save, self._detector.learn, (Status.LOST, ""))
        self._answer(status=status, problem=problem.encode())

    def _adopt(self, command: Record) -> None:
        """A shard has died: take over its pieces and answer, if this one is its successor."""
        now = time.monotonic()
        inherited = self._take_over(int(command["dead"]), now, bool(command["anew"]))
        if inherited is None:
            return
        pieces, whole, before = inherited
        if whole is None:
            self._answer(status=Status.LOST)
            return
        updates = self.shard.updates_of([piece.index for piece in pieces])
        age_ms, earlier = round(1000 * (now - whole.taken_at)), before.number if before is not None else -1
        self._answer(mirror=whole.number, before=earlier, updates=updates, age_ms=age_ms)

    def _take_over(self, dead: int, now: float, unbegun: bool = False) -> "Inheritance | None":
        """Take note of a shard's death, and adopt its pieces if this one is its successor and can.

        While the run is `unbegun`, its first values are as good as a mirror.
        """
        assert self._mirror is not None
        first = self._first if unbegun else None
        begin = partial(self._beside_messages, first) if first is not None else None
        inherited = self._mirror.fail_over(dead, now, begin)
        if inherited is not None and inherited.whole is not None:
            mirrors = [mirror for mirror in inherited[1:] if mirror is not None and mirror.number]
            kept = {mirror.number: mirror.copy[PARAMETER_VECTOR] for mirror in mirrors}
            self.shard.adopt(inherited.pieces, inherited.whole.copy, kept)
        return inherited

    def _beside_messages(self, first: Callable[[int], Mapping[str, Array]], dead: int) -> Mapping[str, Array]:
        """Make what another shard held at first, with signs of life: it may be read of a checkpoint."""
        return Background(lambda call: first(dead)).result(self._attend)

    # -- without the coordinator: see `emergency.Slice` -----------------------------------------------------

    def take_over(self, dead: int) -> bool:
        """See `emergency.Slice`."""
        inherited = self._take_over(dead, time.monotonic()) if self._mirror is not None else None
        return self._mirror is None or (inherited is not None and inherited.whole is None)

    @property
    def numbers(self) -> list[int]:
        """See `emergency.Slice`."""
        return [0, *self.shard.kept]

    def copy(self, mirror: int, vectors: Sequence[int] | None) -> Mapping[str, Array]:
        """See `emergency.Slice`."""
        if mirror:
            self.shard.back(mirror)
        self.shard.close(self.shard.held)
        return self.shard.snapshot(vectors)

    def _operate(self, command: Record) -> None:
        """Perform the vector operations that follow, and answer the dot products."""
        records = np.zeros(int(command["count"]), OPERATION)
        self._receive(records, Tag.OPERATIONS)
        request = self._comm.Isend(self.shard.operate(records), self._coordinator, Tag.SCALARS)
        self._waiter.until(request.Test, lambda: f"rank {self._coordinator} (scalars)")

    def _checkpoint(self, command: Record) -> None:
        """Copy what a checkpoint holds of this shard, answer, and begin to write the copy."""
        vectors = self._receive_vectors(command)
        self.shard.close(self.shard.held)  # of replicas that have died: the others have pushed all
        self._reporter.send()
        self._output.writer.begin(int(command["number"]), self.shard.snapshot(vectors))
        self._answer()

    def _send_mirror(self, command: Record) -> None:
        """Copy some vectors, and begin to send the copy."""
        assert self._mirror is not None
        number = int(command["number"])
        copy = self.shard.snapshot(self._receive_vectors(command))
        self.shard.keep(number, copy[PARAMETER_VECTOR])
        self._mirror.order(number, copy, bool(command["anew"]))

    def _keep_state(self, command: Record) -> None:
        """Keep what a checkpoint would need of the coordinator: its state, and notes of what came since."""
        content = np.empty(int(command["count"]), np.uint8)
        self._receive(content, Tag.STATE)
        if command["command"] == Command.KEEP_STATE:
            self.states, self.notes = [*self.states[-1:], content.tobytes()], []
        else:
            self.notes.append(content.tobytes())

    def _receive_vectors(self, command: Record) -> list[int] | None:
        """Receive the numbers of the vectors that a command is about; None for what Downpour has."""
        numbers = np.zeros(int(command["count"]), np.int64)
        if len(numbers):
            self._receive(numbers, Tag.VECTORS)
        return numbers.tolist() if command["vectors"] else None

    def _receive(self, into: Array, tag: Tag) -> None:
        """Receive what a command announced."""
        self._handler.receive(into, self._coordinator, tag)

    def _answer(self, **fields: int | bytes) -> None:
        """Send an ANSWER; what is not given is zero, which is `Status.OK`."""
        record = np.zeros((), ANSWER)
        for name, value in fields.items():
            record[name] = value
        self._outbox.send(record, self._coordinator, Tag.ANSWER)

    def _report_written(self) -> None:
        """Tell the coordinator when the copy is on disk."""
        written = self._output.writer.take_written()
        if written is not None:
            record = np.zeros((), WRITTEN)
            written.fill(record)
            self._outbox.send(record, self._coordinator, Tag.WRITTEN)

    def _finish(self) -> None:
        """Wait until everything has left."""
        self._outbox.drain(self._waiter)
        self._forwarder.close()
        if self._mirror is not None:
            self._mirror.close()
        self._reporter.wait()
        self._handler.drain()
