"""The Sandblaster client: what one partition of a replica does with portions of a batch.

The gradient of a portion is computed into a buffer of its own, and the coordinator is told. When it answers
that the portion counts, the buffer is added to the accrued sum; when it orders a push, the sum is sent to the
shards, in the background. So a portion whose copy was done first by another replica leaves no trace.
Parameters are fetched once a pass.

References
----------
Dean et al. 2012, section 4.2, and Algorithm 7.2 of the appendix.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.arrays import Array, Record
from dbmpi.comm.protocol import Op, Work
from dbmpi.model.losses import Score
from dbmpi.model.partition import PartitionModel
from dbmpi.model.tensors import Tensors, tensors
from dbmpi.replica.client import Outcome, ParameterClient, Request
from dbmpi.replica.portion_cache import PortionCache
from dbmpi.replica.worker import Handler, UrgentHandler
from kernels.parameters import rules

if TYPE_CHECKING:
    from dbmpi.replica.leader import Leader

Key = tuple[int, int]  # pass number, portion


class SandblasterClient:
    """One partition's copy of the parameters, its gradients, and its exchanges with the shards.

    Parameters
    ----------
    model, portions, client
        What computes, what reads portions, and the parameter service.
    leader
        How the partitions of the replica decide together; None when there is one partition.
    pieces
        Number of pieces of this partition's parameters.
    on_minibatch
        Called between minibatches.

    Attributes
    ----------
    theta
        The parameters, as they were fetched.
    pushes, fetches, refused
        Pushes begun, fetches ended, and pieces whose push a shard refused.
    """

    def __init__(
        self,
        model: PartitionModel,
        portions: PortionCache,
        client: ParameterClient,
        leader: "Leader | None",
        pieces: int,
        on_minibatch: Callable[[], None],
    ) -> None:
        self.model, self.client = model, client
        self.pushes = self.fetches = self.refused = 0
        self._portions, self._leader = portions, leader
        self._pieces, self._on_minibatch = pieces, on_minibatch
        self.theta = self._view(client.incoming)
        self._spare: list[Tensors] = []
        self._pass_number = -1
        self._undecided: dict[Key, tuple[Tensors, float]] = {}  # gradients, and their weights in the batch
        self._dropped: set[Key] = set()
        self._accrued: Tensors | None = None
        self._in_flight: Tensors | None = None
        self._pushing: Record | None = None  # the order to push that is in flight
        self._pushed: list[Record] = []
        self._penalty = 0.0

    def _view(self, flat: Array) -> Tensors:
        return tensors(self.model.partitioning, self.model.partition, flat)

    def handlers(self) -> Mapping[Work, Handler]:
        """See `AlgorithmClient.handlers`."""
        return {Work.GRADIENT: self.compute}

    def urgent_handlers(self) -> Mapping[Work, UrgentHandler]:
        """See `AlgorithmClient.urgent_handlers`."""
        return {Work.ACCEPT: self.accept, Work.DROP: self.drop, Work.PUSH: self.push}

    def prepare(self, assignment: Record) -> None:
        """Begin to read a portion; one that was dropped before, and answered for, may come again."""
        if assignment["work"] != Work.GRADIENT:
            return
        self._dropped.discard((int(assignment["pass_number"]), int(assignment["index"])))
        self._portions.prepare(int(assignment["epoch"]), int(assignment["index"]))

    def compute(self, assignment: Record, report: Record) -> None:
        """Compute the gradient of a portion, unless it is dropped before the end. In step with the others.

        The report has the loss, with this partition's share of the penalty, or no examples.
        """
        key = int(assignment["pass_number"]), int(assignment["index"])
        report["pass_number"], report["index"] = key
        if key[0] != self._pass_number:
            self._begin(key[0])
        total, score, width = self._buffer(), Score(0.0, 0), 0
        for width_now, targets in self._portions.minibatches(int(assignment["epoch"]), key[1]):
            if self._is_dropped(key):
                report["examples"] = report["steps"] = 0
                break
            width = width or width_now
            score += self._add(total, width_now, targets, width_now / width, not report["steps"])
            report["steps"] += 1
            report["examples"] += width_now
            self._on_minibatch()
        report["loss_sum"] = score.loss_sum + self._penalty * int(report["examples"])
        report["data_loss_sum"] = score.loss_sum
        report["correct"] = score.correct
        self._store(key, total, width / int(assignment["examples"]), bool(report["examples"]))

    def _is_dropped(self, key: Key) -> bool:
        """Return whether a portion is to be given up, as partition 0 of the replica sees it."""
        dropped = key in self._dropped
        return dropped if self._leader is None else bool(self._leader.decide(dropped))

    def _begin(self, pass_number: int) -> None:
        """Begin another pass: what is left of the one before counts for nothing."""
        self._settle(wait=True)
        self._spare += [gradient for gradient, _ in self._undecided.values()]
        self._spare += [self._accrued] if self._accrued is not None else []
        self._undecided.clear()
        self._dropped = {key for key in self._dropped if key[0] >= pass_number}
        self._accrued, self._pass_number = None, pass_number
        self.fetch()
        self._penalty = self.model.penalty(self.theta) if self.model.l2 else 0.0

    def _add(self, total: Tensors, width: int, targets: Array, weight: float, first: bool) -> Score:
        """Add a minibatch's gradient to a portion's, in units of the portion's first minibatch."""
        if first:
            return self.model.differentiate(self.theta, total, width, targets)
        gradient = self._buffer()
        score = self.model.differentiate(self.theta, gradient, width, targets)
        rules.add_scaled(total.flat, weight, gradient.flat)
        self._spare.append(gradient)
        return score

    def _store(self, key: Key, gradient: Tensors, weight: float, complete: bool) -> None:
        if not complete or key in self._dropped:
            self._dropped.discard(key)
            self._spare.append(gradient)
        else:
            self._undecided[key] = gradient, weight

    def accept(self, assignment: Record) -> None:
        """Add a portion's gradient to the accrued sum."""
        key = int(assignment["pass_number"]), int(assignment["index"])
        gradient, weight = self._undecided.pop(key)
        if self._accrued is None:
            gradient.flat *= weight
            self._accrued = gradient
        else:
            rules.add_scaled(self._accrued.flat, weight, gradient.flat)
            self._spare.append(gradient)

    def drop(self, assignment: Record) -> None:
        """Forget a portion's gradient; one that is still to be computed will be given up."""
        key = int(assignment["pass_number"]), int(assignment["index"])
        if key in self._undecided:
            self._spare.append(self._undecided.pop(key)[0])
        elif key[0] >= self._pass_number:
            self._dropped.add(key)

    def push(self, assignment: Record) -> None:
        """Begin to push the accrued sum; one push is in flight at a time."""
        assert self._accrued is not None and self._in_flight is None
        self._in_flight, self._accrued = self._accrued, None
        self._pushing = assignment
        versions = np.full(self._pieces, int(assignment["pass_number"]))
        self.client.begin(Request(Op.ACCRUE, self._in_flight.flat, versions))
        self.pushes += 1

    def take_pushed(self) -> list[Record]:
        """Return the orders to push that all shards have acknowledged since the last call."""
        self._settle(wait=False)
        pushed, self._pushed = self._pushed, []
        return pushed

    def _settle(self, wait: bool) -> None:
        if self._in_flight is None or self._pushing is None:
            return
        outcome: Outcome | None = self.client.wait() if wait else self.client.poll()
        if outcome is not None:
            self.refused += outcome.refused
            self._spare.append(self._in_flight)
            self._in_flight = None
            self._pushed.append(self._pushing)

    def evaluated(self) -> Tensors:
        """See `AlgorithmClient.evaluated`."""
        self.fetch()
        return self.theta

    def fetch(self) -> None:
        """Replace the local copy by the shards' current parameters."""
        self._settle(wait=True)
        self.client.begin(Request(Op.FETCH, self.client.incoming, np.zeros(self._pieces, np.int64)))
        self.client.wait()
        self.fetches += 1
        if self.theta.flat is not self.client.incoming:  # a warmstart has swapped the buffers
            self.theta = self._view(self.client.incoming)

    def _buffer(self) -> Tensors:
        """Return a gradient to be overwritten: a spare one, or a new one."""
        if self._spare:
            return self._spare.pop()
        return self._view(self.client.room())

    def close(self) -> None:
        """Wait until everything sent has left."""
        self._settle(wait=True)
        if self._leader is not None:
            self._leader.close()
