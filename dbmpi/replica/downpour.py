"""The Downpour SGD client: what one partition of a replica does with each minibatch.

    step k:  gradient of the minibatch on the local copy; accrue it; step the local copy
             if k mod n_push = 0: begin to push the accrued sum
             if k mod n_fetch = 0: begin to fetch the parameters

Every example counts alike: of a minibatch that is shorter than others, as the last of an epoch is, the
gradient of the mean loss is as much smaller.

Both begin at the end of the step, in one round trip where both are due, and go on in the background
while the next minibatches are computed; the copy of step 0 comes from a first fetch. An exchange
that is due while another is in flight begins when that has ended; gradients accrue meanwhile.

References
----------
Dean et al. 2012, section 4.1, and Algorithm 7.1 of the appendix.
"""

from collections.abc import Callable, Mapping
from math import isfinite

import numpy as np

from dbmpi.arrays import Array, Record
from dbmpi.comm.assignments import portion_of
from dbmpi.comm.protocol import Op, Work
from dbmpi.config.algorithms import Downpour
from dbmpi.model.losses import Score
from dbmpi.model.partition import PartitionModel
from dbmpi.model.tensors import Tensors, tensors
from dbmpi.replica.client import ALONE, Outcome, ParameterClient, Request
from dbmpi.replica.learning_rate import LearningRate
from dbmpi.replica.loader import Loader, Minibatch
from dbmpi.replica.push_counts import PushCounts
from dbmpi.replica.worker import Handler, UrgentHandler
from dbmpi.server.rules import local_rate
from kernels.parameters import rules


def finite(gradient: Tensors) -> bool:
    """Return whether the biases' gradient is finite, and so, but for overflow, the weights' too.

    dW_OI = dy_OB x_IB^T and db_O = sum_B dy_OB: what is not finite in dy is seen in db, which is small.
    """
    return all(isfinite(float(db_O.sum())) for db_O in gradient.biases if db_O is not None)


class DownpourClient:
    """One partition's copy of the parameters, its accrued gradient, and its exchanges with the shards.

    Parameters
    ----------
    settings, rate
        Section `downpour`, and the schedule of the learning rate.
    model, loader
        What computes gradients, and what reads minibatches.
    client
        The parameter service.
    pieces
        Number of pieces of this partition's parameters.
    whole
        Examples in a minibatch that is not short.
    on_minibatch
        Called between minibatches.
    averages
        Whether the shards keep an average of the parameters (`train.average`).

    Attributes
    ----------
    theta
        The local copy of the parameters.
    steps
        Minibatches since learning began.
    pushes, fetches, refused
        Exchanges begun, fetches ended, and pieces whose push a shard refused.
    unpushed
        Examples whose gradient is accrued, or on its way to the shards.
    """

    def __init__(
        self,
        settings: Downpour,
        rate: LearningRate,
        model: PartitionModel,
        loader: Loader,
        client: ParameterClient,
        pieces: int,
        whole: int,
        on_minibatch: Callable[[], None],
        averages: bool = False,
    ) -> None:
        self.settings, self.rate, self.model, self.client = settings, rate, model, client
        self._loader, self._on_minibatch, self._waits = loader, on_minibatch, settings.waits
        self._incoming = self._view(client.incoming)
        self._in_place = client.shared or self._waits  # nobody computes on the copy while it is replaced
        self.theta = self._incoming if self._in_place else self._view(client.room())
        self.steps = self.pushes = self.fetches = self.refused = 0
        self._local_rate, self._whole = local_rate(settings), whole
        self._accrued = self._view(client.room())
        self._in_flight = self._accrued if self._waits else self._view(client.room())
        self._scratch: Tensors | None = None
        self._pushed = PushCounts(own=settings.average == 1)
        self._averages = averages
        self._average: Tensors | None = None  # where it arrives
        self._accrued_steps = self._accrued_examples = self._examples_in_flight = 0
        self._versions = np.zeros(pieces, np.int64)
        self._accrued_versions = self._versions
        self._due = Op(0)
        self._asked_at = self._read_at = -1
        self._learning = False
        self._share = ALONE

    def handlers(self) -> Mapping[Work, Handler]:
        """See `AlgorithmClient.handlers`."""
        return {Work.TRAIN: self.train, Work.FLUSH: self._flush}

    def urgent_handlers(self) -> Mapping[Work, UrgentHandler]:
        """Nothing of Downpour is urgent."""
        return {}

    def prepare(self, assignment: Record) -> None:
        """Begin to read a portion. See `AlgorithmClient.prepare`."""
        if assignment["work"] == Work.TRAIN:
            self._loader.prepare(portion_of(assignment))

    def train(self, assignment: Record, report: Record) -> None:
        """Learn from the portion that was prepared first. In step with the others."""
        if not self._learning:
            self.begin()
        examples = int(assignment["examples"])
        self._pushed.begin()
        for minibatch in self._loader.train():
            self._learn(minibatch, examples + int(report["examples"]), report)
            self._on_minibatch()
        report["unpushed"] = self.unpushed
        self._pushed.fill(report)

    def _learn(self, minibatch: Minibatch, examples: int, report: Record) -> None:
        """Learn from a minibatch, and add it to a report; `examples` were handed out before it."""
        width, targets = minibatch
        on_first_parameters = self.steps == 0 and not self._versions.any()
        score = self.step(width, targets, examples)
        if on_first_parameters:
            report["first_loss_sum"], report["first_examples"] = score.loss_sum, width
        report["steps"] += 1
        report["examples"] += width
        report["loss_sum"] += score.loss_sum
        report["correct"] += score.correct

    @property
    def unpushed(self) -> int:
        """See the class."""
        return self._accrued_examples + self._examples_in_flight

    def _view(self, flat: Array) -> Tensors:
        return tensors(self.model.partitioning, self.model.partition, flat)

    def step(self, width: int, targets: Array, examples: int) -> Score:
        """Learn from the minibatch in `PartitionModel.workspace(width)`.

        Parameters
        ----------
        targets
            As `PartitionModel.differentiate` takes them.
        examples
            Handed out before this minibatch, for the learning rate and for dropout.
        """
        self.model.position = examples
        fresh = self._accrued_steps == 0
        if fresh:
            self._accrued_versions = self._versions
        gradient = self._accrued if fresh else self._scratch_gradient()
        score = self.model.differentiate(self.theta, gradient, width, targets)
        if width < self._whole:
            gradient.flat *= width / self._whole

        self._settle(self.client.poll())
        self._due |= self._due_at(self.steps)
        self._accrue(gradient, fresh, replaced=self._waits and bool(self._due & Op.FETCH))
        self.steps += 1
        self._accrued_examples += width
        self._pushed.rate = self.rate.at(examples)
        self._exchange(self._pushed.rate)
        return score

    def _due_at(self, step: int) -> Op:
        push = Op.PUSH if step % self.settings.n_push == 0 else Op(0)
        return push | Op.FETCH if step % self.settings.n_fetch == 0 else push

    def _scratch_gradient(self) -> Tensors:
        if self._scratch is None:
            self._scratch = self._view(np.zeros(self.model.parameters, self.model.dtype))
        return self._scratch

    def _accrue(self, gradient: Tensors, fresh: bool, replaced: bool) -> None:
        """Add to the accrued sum, and step the local copy unless a fetch will have `replaced` it at once.

        A gradient that is not finite changes no local copy: as each partition replaces its copy at another
        time, they would pass it on to one another for ever. The shards refuse and count it.
        """
        self._accrued_steps += 1
        rate = self._local_rate if not replaced and finite(gradient) else 0.0
        if fresh and rate:
            rules.add_scaled(self.theta.flat, -rate, gradient.flat)
        elif rate:
            rules.accrue_and_step(self._accrued.flat, gradient.flat, self.theta.flat, rate)
        elif not fresh:  # no step of rate 0: it would carry a non-finite gradient into the parameters
            rules.add_scaled(self._accrued.flat, 1.0, gradient.flat)

    def _exchange(self, rate: float) -> None:
        """Begin what is due, if nothing is in flight; wait where the settings say so."""
        if self._due and not self.client.busy:
            self._begin(self._due, rate, meanwhile=not self._waits)
            if self._waits:
                self._settle(self.client.wait())
        limit = self.settings.max_staleness
        if limit and self.steps - self._read_at > limit:
            self._catch_up(rate)

    def _begin(self, op: Op, rate: float, meanwhile: bool = False, learning: bool = True) -> None:
        """Begin an exchange.

        Parameters
        ----------
        meanwhile
            Whether gradients are computed before what it fetches is there.
        learning
            Whether any are computed after it.
        """
        self._due &= ~op
        if op & Op.FETCH:
            self._asked_at = self.steps
        use = (Op.LEARN if op & Op.FETCH else Op.HOLD) if learning else Op(0)
        use |= Op.HOLD if meanwhile else Op(0)
        steps, versions = self._accrued_steps, self._accrued_versions
        self.client.begin(Request(op | use, self._accrued.flat, versions, rate, steps, self._share))
        if op & Op.PUSH:
            self.pushes += 1
            if self._pushed.wanted:
                self._pushed.sample(self.client.pushed_square(self._accrued.flat), steps)
            self._accrued, self._in_flight = self._in_flight, self._accrued
            self._accrued_steps = 0
            self._examples_in_flight, self._accrued_examples = self._accrued_examples, 0

    def _catch_up(self, rate: float) -> None:
        """Wait until the copy is fresh again: the fetch in flight, or one of its own."""
        if self.client.busy:
            self._settle(self.client.wait())
        if self.steps - self._read_at > self.settings.max_staleness:
            self._begin(Op.FETCH | (Op.PUSH if self._accrued_steps else Op(0)), rate)
            self._settle(self.client.wait())

    def _settle(self, outcome: Outcome | None) -> None:
        """Take in what an exchange brought: fetched parameters replace the local copy."""
        if outcome is None:
            return
        self._examples_in_flight = 0
        self.refused += outcome.refused
        self._pushed.count(outcome.behind)
        if outcome.refused:
            self._due |= Op.FETCH
        if outcome.versions is None:
            return
        self.fetches += 1
        self._versions, self._read_at = outcome.versions, self._asked_at
        if not self._in_place:
            self.theta, self._incoming = self._incoming, self.theta
            self.client.adopt(self._incoming.flat)

    def begin(self) -> None:
        """Begin to learn, at the start or after a flush: from here on all is as in a run that begins here."""
        self._learning = True
        self.fetch()
        self.steps, self._due, self._asked_at, self._read_at = 0, Op(0), -1, -1

    def fetch(self) -> None:
        """Replace the local copy by the shards' current parameters."""
        if self.client.busy:
            self._settle(self.client.wait())
        self._begin(Op.FETCH, 0.0, learning=self._learning)
        self._settle(self.client.wait())

    def evaluated(self) -> Tensors:
        """Return the shards' current parameters, or their average; that has a vector of its own."""
        if not self._averages:
            self.fetch()
            return self.theta
        if self.client.busy:
            self._settle(self.client.wait())
        if self._average is None:
            self._average = self._view(self.client.room())
        usual, op = self.client.incoming, Op.FETCH | Op.AVERAGE
        self.client.adopt(self._average.flat)
        op |= Op.HOLD if self._learning else Op(0)
        self.client.begin(Request(op, self._accrued.flat, self._accrued_versions, steps=self._accrued_steps))
        self.client.wait()
        self.client.adopt(usual)
        self.fetches += 1
        return self._average

    def flush(self, examples: int) -> None:
        """Push what is accrued, and wait until the shards have it."""
        if self.client.busy:
            self._settle(self.client.wait())
        op = Op.PUSH if self._accrued_steps else Op(0)
        if self.settings.average > 1:
            op |= Op.CLOSE
        if op:
            self._begin(op, self.rate.at(examples), learning=False)
            self._settle(self.client.wait())
        self.client.forget()
        self._learning = False

    def _flush(self, assignment: Record, report: Record) -> None:
        self.flush(int(assignment["examples"]))

    def take_pushed(self) -> tuple[Record, ...]:
        """Nobody orders Downpour's pushes: there is none to acknowledge."""
        return ()

    def close(self) -> None:
        """A flush has ended every exchange: there is nothing left to wait for."""
