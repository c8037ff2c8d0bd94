"""The shards as the coordinator reaches them: it orders, they answer and report; one may die (`failover`)."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Record
from dbmpi.awake import awake
from dbmpi.checkpoint.directory import Written
from dbmpi.comm.operations import Kind
from dbmpi.comm.protocol import MIRRORED, SHARD_REPORT, WRITTEN, Command, Status, Tag
from dbmpi.comm.wait import JUDGED, SIGN
from dbmpi.coordinator.commands import CommandChannel, MpiDispatcher
from dbmpi.coordinator.failover import Failover
from dbmpi.coordinator.fencing import Fencing
from dbmpi.errors import PeerSilent
from dbmpi.layout.topology import Topology
from dbmpi.output.metrics import MetricsLog
from dbmpi.output.reminder import reminding
from dbmpi.text import decoded

HOLDERS = 2  # shards that keep the coordinator's state: one may die together with it
RECOVERY = 0.5  # of cluster.timeout_s: as long may mirrors take, after a death, before replicas go on


class ShardGroup:
    """See `cluster.Shards` and `cluster.Mirrors`.

    Parameters
    ----------
    channel
        How shards are reached.
    topology
        Which rank has which role.
    dispatcher
        How replicas are reached.
    log
        Gets the shards' reports.
    every_s
        Interval of these, in seconds.
    fencing
        Sees to those that are silent.
    mirrored
        Whether shards are mirrored, and the run survives the death of one.

    Attributes
    ----------
    owners
        Which shards live, and serve what.
    """

    def __init__(
        self,
        channel: CommandChannel,
        topology: Topology,
        dispatcher: MpiDispatcher,
        log: MetricsLog,
        every_s: float,
        fencing: Fencing,
        mirrored: bool = False,
    ) -> None:
        self._channel, self._topology, self._log, self._mirrored = channel, topology, log, mirrored
        timeout_s, self._fencing = channel.waiter.timeout_s, fencing
        self._silence_s = JUDGED * timeout_s
        self._sign_every_s, self._sign_at = SIGN * timeout_s, 0.0
        self._heard = dict.fromkeys(range(len(topology.shards)), awake())
        self._reported: set[int] = set()  # shards that have sent their last report
        self._stopped = False
        self._written: Callable[[Written], None] = lambda written: None
        self._unmirrored: set[int] = set()  # shards, of mirror `_mirror`
        self._mirror = 0
        self._uncovered: set[int] = set()  # shards that owe an answer to COVER `_cover`
        self._cover = 0
        self._holders: list[int] = []  # shards that have the coordinator's state
        self._failover = Failover(channel, topology, dispatcher, log, (self._heard, every_s), self._recover)
        self.owners = self._failover.owners
        self._ranks = list(topology.shards)  # of the living shards

    # -- what shards say on their own ----------------------------------------------------------------------

    def receive(self) -> bool:
        """Take in a message, if there is one. Local."""
        return self._receive_written() or self._receive_mirrored() or self._receive_report()

    def _receive_report(self) -> bool:
        report = self._channel.take(Tag.SHARD, SHARD_REPORT)
        if report is None:
            return False
        index = int(report["shard"])
        if index in self.owners.living:  # else it was sent before the shard died
            self._heard[index] = awake()
            self._log.hear(report, f"shard {index}")
            if index not in self._reported:  # what comes later is a sign of life
                self._log.shard(report)
            if report["last"]:
                self._reported.add(index)
        return True

    def _receive_reports(self) -> None:
        while self._receive_report():
            pass

    def _receive_written(self) -> bool:
        """Take in that a shard's part of a checkpoint is on disk."""
        record = self._channel.take(Tag.WRITTEN, WRITTEN)
        if record is not None:
            self._written(Written.of(record))
        return record is not None

    def _receive_mirrored(self) -> bool:
        """Take in that a shard has another's mirror, and that its own has left."""
        awaited = self._unmirrored or self._uncovered
        record = self._channel.take(Tag.MIRRORED, MIRRORED) if awaited else None
        if record is not None and record["number"] == self._mirror:
            self._unmirrored.discard(int(record["shard"]))
        if record is not None and record["cover"] == self._cover:
            self._uncovered.discard(int(record["shard"]))
        return record is not None

    def keep_alive(self) -> None:
        """Give shards a sign of life, if it is time. Local."""
        now = time.monotonic()
        if now >= self._sign_at:
            self._sign_at = now + self._sign_every_s
            for rank in self._ranks:
                self._channel.order(rank, Command.ALIVE)

    def check_liveness(self) -> None:
        """Read the reports that have come, and fence a shard that is silent. Local.

        Raises
        ------
        PeerSilent, PeerDied
            The run cannot go on without it.
        """
        self._receive_reports()
        now, dead = awake(), self._channel.detector.dead
        for index in self.owners.living:
            rank, late = self._topology.shards[index], now - self._heard[index] > self._silence_s
            if late and rank not in dead and not self._fencing.fence(rank):
                raise PeerSilent.named(self._failover.name(index), self._silence_s)

    def attend(self) -> None:
        """Give and look for signs of life while something else is waited for. Local."""
        if not self._stopped:
            self.keep_alive()
            self.check_liveness()

    def handle_failures(self) -> bool:
        """Let successors go on for shards that have died; return whether one has. Raises as `Failover`."""
        self._receive_reports()  # the last of the dead; a probe for any source also learns who is dead
        if not self._failover.handle_failures():
            return False
        self._ranks = [self._topology.shards[i] for i in self.owners.living]
        self._unmirrored.clear()  # successors do not wait any more for mirrors that were on their way
        return True

    # -- checkpoints, vectors, mirrors ---------------------------------------------------------------------

    def snapshot(
        self, number: int, vectors: Sequence[int] | None, written: Callable[[Written], None]
    ) -> None:
        """See `cluster.Shards.snapshot`."""
        self._written = written
        for rank in self._ranks:
            self._channel.order_of_vectors(rank, Command.CHECKPOINT, vectors, number=number)
        for rank in self._ranks:
            self._channel.answer(rank, "copying its slice for a checkpoint")
        self.handle_failures()  # reports too: a shard's came before its answer, and the checkpoint holds it

    def wait_until(self, done: Callable[[], bool]) -> None:
        """See `cluster.Shards.wait_until`."""

        def over() -> bool:
            self.look()
            return done()

        self._channel.waiter.until(over, partial(str, "the shards"), patience=math.inf)

    def look(self) -> None:
        """Take in what shards have said, and notice those that are silent or dead. Local."""
        while self.receive():
            pass
        self.handle_failures()
        self.attend()

    def operate(self, records: Record) -> NDArray[np.float64]:
        """See `cluster.Shards.operate`; sums are made in the order of the shards."""
        answers = np.zeros((len(self._ranks), np.count_nonzero(records["kind"] == Kind.DOT)))
        expected = []
        for rank, answer in zip(self._ranks, answers, strict=True):
            expected.append(self._channel.expect(answer, rank, Tag.SCALARS))
            self._channel.order(rank, Command.OPERATE, count=len(records))
            self._channel.follow(records, rank, Tag.OPERATIONS)
        for rank, request, answer in zip(self._ranks, expected, answers, strict=True):
            self._channel.complete(request, answer, rank, Tag.SCALARS, "vector operations")
        self.handle_failures()
        return answers.sum(axis=0)

    @property
    def mirrors(self) -> "ShardGroup | None":
        """See `cluster.Shards.mirrors`."""
        return self if self._mirrored else None

    def mirror(self, vectors: Sequence[int], anew: bool) -> int:
        """See `cluster.Mirrors.mirror`."""
        self._mirror += 1
        self._failover.ordered = True
        self._unmirrored = set(self.owners.living)
        for rank in self._ranks:
            self._channel.order_of_vectors(rank, Command.MIRROR, vectors, number=self._mirror, anew=anew)
        return self._mirror

    def await_mirrors(self) -> None:
        """See `cluster.Mirrors.await_mirrors`."""
        self._await(self._unmirrored, self._receive_mirrored, "mirroring an iterate")

    def take_lost(self) -> int | None:
        """See `cluster.Mirrors.take_lost`."""
        lost, self._failover.lost = self._failover.lost, None
        return lost

    def revert(self, number: int) -> None:
        """See `cluster.Mirrors.revert`."""
        self._failover.floor = number
        for rank in self._ranks:
            self._channel.order(rank, Command.REVERT, number=number)

    def send_state(self, state: bytes) -> None:
        """See `cluster.Mirrors.send_state`: the first living shards keep it."""
        self._holders = self.owners.living[:HOLDERS]
        self._keep(Command.KEEP_STATE, np.frombuffer(state, np.uint8))

    def send_notes(self, notes: Record) -> None:
        """See `cluster.Mirrors.send_notes`."""
        self._keep(Command.KEEP_NOTES, notes.view(np.uint8))

    @property
    def wants_state(self) -> bool:
        """See `cluster.Mirrors.wants_state`."""
        return self._holders != self.owners.living[:HOLDERS]

    def _keep(self, command: Command, content: Record) -> None:
        for shard in self._holders:
            rank = self._topology.shards[shard]
            self._channel.order(rank, command, count=len(content))
            self._channel.follow(content, rank, Tag.STATE)

    def cover(self, keep_alive: Callable[[], None]) -> None:
        """See `cluster.Mirrors.cover`."""
        self._ask_for_cover()

        def covered() -> bool:
            self.look()
            keep_alive()
            return not self._uncovered & set(self.owners.living)

        with reminding("the mirrors of the shards", self._log.say, verb="making"):
            self._channel.waiter.until(covered, partial(str, "the shards"), patience=math.inf)
        self._failover.begun = True

    def _recover(self) -> None:
        """Wait until what has moved is mirrored, or another shard has died; not long: replicas wait too."""
        self._ask_for_cover()

        def over() -> bool:
            while self._receive_mirrored() or self._receive_report():
                pass
            return bool(self._failover.fresh) or not self._uncovered & set(self.owners.living)

        try:
            self._channel.waiter.until(over, partial(str, "the shards"), patience=RECOVERY)
        except PeerSilent:
            late = ", ".join(map(self._failover.name, sorted(self._uncovered)))
            self._log.event(f"warning: goes on, though mirrors are not whole yet: {late}", about="death")
        if len(self.owners.living) == 1:
            last = self._failover.name(self.owners.living[0])
            self._log.event(f"warning: {last} is the last shard, so nothing mirrors it", about="death")

    def _ask_for_cover(self) -> None:
        self._cover += 1
        self._uncovered = set(self.owners.living)
        for shard in self.owners.living:
            self._channel.order(self._topology.shards[shard], Command.COVER, number=self._cover)

    def _await(self, missing: set[int], receive: Callable[[], bool], what: str) -> None:
        """Wait until no living shard is missing any more; failures are handled meanwhile."""

        def done() -> bool:
            while receive():
                pass
            self.handle_failures()
            return not missing & set(self.owners.living)

        def late() -> str:
            return f"{', '.join(map(self._failover.name, sorted(missing)))}: {what}"

        self._channel.waiter.until(done, late)

    # -- the end -------------------------------------------------------------------------------------------

    def save_model(self, checkpoint: int, keep_alive: Callable[[], None], best: bool = False) -> str:
        """Let the first shard write the model, however long that takes: again, if one dies meanwhile.

        Parameters
        ----------
        checkpoint
            The number of the one that holds the last parameters; 0 for none. The model is made of it where a
            shard has died: its successor may have older values.
        keep_alive
            Called again and again.
        best
            Whether the model is made of the checkpoint in any case, as it holds the best parameters.

        Returns
        -------
        str
            What kept the model from being written; nothing if it is.
        """

        def meanwhile() -> None:
            self.look()
            keep_alive()

        answer: Record | None = None
        while answer is None or answer["status"] == Status.LOST:
            self.handle_failures()
            first = self._ranks[0]
            whole = len(self.owners.living) == len(self._topology.shards)
            number = 0 if whole and not best else checkpoint
            self._channel.order(first, Command.SAVE, number=number)
            answer = self._channel.answer(first, "writing the model", meanwhile)
        return decoded(answer["problem"].item())

    def collect_reports(self, keep_alive: Callable[[], None]) -> None:
        """Have the last report of each living shard; `keep_alive` is called again and again."""
        for rank in self._ranks:
            self._channel.order(rank, Command.REPORT)

        def complete() -> bool:
            self._receive_reports()
            keep_alive()
            return not self._silent()

        def late() -> str:
            return f"the last reports of {', '.join(map(self._failover.name, self._silent()))}"

        self._channel.waiter.until(complete, late)

    def _silent(self) -> list[int]:
        """Return the living shards that have not sent their last report."""
        ranks, dead = self._topology.shards, self._channel.detector.dead
        return [i for i in self.owners.living if i not in self._reported and ranks[i] not in dead]

    def stop(self, status: int) -> None:
        """Let all shards leave; nothing is to be heard of them from now on. Local."""
        for rank in self._ranks:
            self._channel.order(rank, Command.STOP, status=status)
        self._stopped = True
