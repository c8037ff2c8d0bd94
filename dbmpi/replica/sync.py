"""The client of synchronous training: what one partition of a replica does in each round.

    round n: gradient of the minibatch on the parameters of all replicas; push it, and wait for the parameters
             after the step with the mean of all gradients of the round (`server.rounds`)

A replica without a minibatch for a round waits for its step all the same. With backup workers a round may be
over before a gradient comes: that one is dropped, and the replica goes on with the round that is under way.
What it had no round for remains of its portion.

References
----------
Chen et al. 2016, Revisiting distributed synchronous SGD.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dbmpi.arrays import Record
from dbmpi.comm.protocol import Op, Work
from dbmpi.replica.client import ALONE, Outcome, Share
from dbmpi.replica.downpour import DownpourClient
from dbmpi.replica.loader import Minibatch
from dbmpi.replica.worker import Handler

if TYPE_CHECKING:
    from dbmpi.replica.leader import Leader


class SyncClient(DownpourClient):
    """See `DownpourClient`, which it is with `n_push = n_fetch = 1` and each fetch waited for.

    Parameters
    ----------
    leader
        Decides which round is next, where a replica may leave some out and has several partitions; else None.
    others
        As `DownpourClient` takes them.
    """

    def __init__(self, *others: Any, leader: "Leader | None") -> None:
        super().__init__(*others)
        self._leader = leader
        self._ended = Outcome(None, 0)  # the last exchange
        self._round = 0

    def handlers(self) -> Mapping[Work, Handler]:
        """See `AlgorithmClient.handlers`."""
        return {**super().handlers(), Work.TRAIN: self.take_turn}

    def prepare(self, assignment: Record) -> None:
        """Begin to read a portion, if there is one."""
        if assignment["minibatches"]:
            super().prepare(assignment)

    def take_turn(self, assignment: Record, report: Record) -> None:
        """Take part in the rounds of a turn, with the portion that was prepared first or none.

        In step with the others.
        """
        if not self._learning:
            self.begin()
        minibatches = self._loader.train() if assignment["minibatches"] else iter(())
        before, first, stride = (int(assignment[name]) for name in ("examples", "round", "stride"))
        self._round = max(self._round, first)
        self._pushed.begin()
        while self._round < first + int(assignment["rounds"]):
            self._take_part(next(minibatches, None), before + (self._round - first) * stride, report)
            self._on_minibatch()
            self._round = self._next_round()
        self._pushed.fill(report)

    def _take_part(self, minibatch: Minibatch | None, examples: int, report: Record) -> None:
        """Learn from a minibatch in a round, or only wait for its step, after `examples` were handed out."""
        width = minibatch[0] if minibatch is not None else 0
        self._share = Share(self._round, float(width > 0))
        if minibatch is not None:
            self._learn(minibatch, examples, report)
        else:
            self._begin(Op.FETCH, self.rate.at(examples))
            self._settle(self.client.wait())
        self._share = ALONE
        if self._ended.late:
            report["dropped"] += width

    def _settle(self, outcome: Outcome | None) -> None:
        super()._settle(outcome)
        self._ended = outcome or self._ended

    def _next_round(self) -> int:
        """Return the round to go on with: one that is not over yet, if rounds do without the slowest."""
        following = max(self._round + 1, self._ended.next_round if self.settings.backups else 0)
        return following if self._leader is None else self._leader.decide(following)

    def close(self) -> None:
        """Wait until every decision has left."""
        if self._leader is not None:
            self._leader.close()
