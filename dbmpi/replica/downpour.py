"""The Downpour SGD client: what one partition of a replica does with each minibatch.

    step k:  gradient of the minibatch on the local copy; accrue it; step the local copy
             if k mod n_push = 0: begin to push the accrued sum
             if k mod n_fetch = 0: begin to fetch the parameters

Both begin at the end of the step, in one round trip where both are due, and go on in the background
while the next minibatches are computed; the copy of step 0 comes from a first fetch. An exchange
that is due while another is in flight begins as soon as that has ended: gradients accrue meanwhile.

References
----------
Dean et al. 2012, section 4.1, and Algorithm 7.1 of the appendix.
"""

from math import isfinite

import numpy as np

from dbmpi.arrays import Array
from dbmpi.comm.protocol import Op
from dbmpi.config.algorithms import Downpour as Settings
from dbmpi.model.losses import Score
from dbmpi.model.partition import PartitionModel
from dbmpi.model.tensors import Tensors, tensors
from dbmpi.replica.client import Outcome, ParameterClient
from dbmpi.replica.learning_rate import LearningRate
from dbmpi.server.rules import local_rate
from kernels.parameters import rules


def finite(gradient: Tensors) -> bool:
    """Return whether the biases' gradient is finite, and so, but for overflow, the weights' too.

    dW_OI = dy_OB x_IB^T and db_O = sum_B dy_OB: what is not finite in dy is seen in db, which is small.
    """
    return all(isfinite(float(db_O.sum())) for db_O in gradient.biases if db_O is not None)


class Downpour:
    """One partition's copy of the parameters, its accrued gradient, and its exchanges with the shards.

    Parameters
    ----------
    settings, rate
        Section `downpour`, and the schedule of the learning rate.
    model
        What computes gradients.
    link
        The parameter service.
    pieces
        Number of pieces of this partition's parameters.
    """

    def __init__(
        self,
        settings: Settings,
        rate: LearningRate,
        model: PartitionModel,
        client: ParameterClient,
        pieces: int,
    ) -> None:
        self.settings, self.rate, self.model, self.client = settings, rate, model, client
        self._incoming = self._view(client.incoming)
        self.theta = self._incoming if client.shared else self._gradient()
        self.steps = self.pushes = self.fetches = self.refused = 0
        self._local_rate = local_rate(settings)
        self._accrued = self._gradient()
        self._flying = self._accrued if settings.waits else self._gradient()
        self._scratch: Tensors | None = None
        self._accrued_steps = 0
        self._versions = np.zeros(pieces, np.int64)
        self._accrued_versions = self._versions
        self._due = Op(0)
        self._asked_at = self._read_at = -1

    def _gradient(self) -> Tensors:
        return self._view(np.zeros(self.model.parameters, self.model.dtype))

    def _view(self, flat: Array) -> Tensors:
        return tensors(self.model.partitioning, self.model.partition, flat)

    def step(self, width: int, targets: Array, examples: int) -> Score:
        """Learn from the minibatch in `partition.space(width)`.

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

        self._settle(self.client.poll())
        self._due |= self._due_at(self.steps)
        self._accrue(gradient, fresh, stand=self.settings.waits and bool(self._due & Op.FETCH))
        self.steps += 1
        self._exchange(self.rate.at(examples))
        return score

    def _due_at(self, step: int) -> Op:
        push = Op.PUSH if step % self.settings.n_push == 0 else Op(0)
        return push | Op.FETCH if step % self.settings.n_fetch == 0 else push

    def _scratch_gradient(self) -> Tensors:
        if self._scratch is None:
            self._scratch = self._gradient()
        return self._scratch

    def _accrue(self, gradient: Tensors, fresh: bool, stand: bool) -> None:
        """Add to the accrued sum, and step the local copy unless it is about to be replaced.

        A gradient that is not finite moves no copy: partitions would poison one another with it for
        ever, each replacing its copy at another time. The shards refuse and count it.
        """
        self._accrued_steps += 1
        rate = self._local_rate if not stand and finite(gradient) else 0.0
        if fresh and rate:
            rules.add_scaled(self.theta.flat, -rate, gradient.flat)
        elif rate:
            rules.accrue_and_step(self._accrued.flat, gradient.flat, self.theta.flat, rate)
        elif not fresh:  # no step of rate 0: it would carry a non-finite gradient into the parameters
            rules.add_scaled(self._accrued.flat, 1.0, gradient.flat)

    def _exchange(self, rate: float) -> None:
        """Begin what is due, if nothing is in flight; wait where the settings say so."""
        if self._due and not self.client.busy:
            self._begin(self._due, rate)
            if self.settings.waits:
                self._settle(self.client.wait())
        limit = self.settings.max_staleness
        if limit and self.steps - self._read_at > limit:
            self._catch_up(rate)

    def _begin(self, op: Op, rate: float) -> None:
        self._due &= ~op
        if op & Op.FETCH:
            self._asked_at = self.steps
        self.client.begin(op, self._accrued.flat, self._accrued_versions, rate, self._accrued_steps)
        if op & Op.PUSH:
            self.pushes += 1
            self._accrued, self._flying = self._flying, self._accrued
            self._accrued_steps = 0

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
        self.refused += outcome.refused
        if outcome.refused:
            self._due |= Op.FETCH
        if outcome.versions is None:
            return
        self.fetches += 1
        self._versions, self._read_at = outcome.versions, self._asked_at
        if not self.client.shared:
            self.theta, self._incoming = self._incoming, self.theta
            self.client.adopt(self._incoming.flat)

    def begin(self) -> None:
        """Begin to learn, at the start or after a flush: from here on all is as in a run that begins here."""
        self.fetch()
        self.steps, self._due, self._asked_at, self._read_at = 0, Op(0), -1, -1

    def fetch(self) -> None:
        """Replace the local copy by the shards' current parameters."""
        if self.client.busy:
            self._settle(self.client.wait())
        self._begin(Op.FETCH, 0.0)
        self._settle(self.client.wait())

    def flush(self, examples: int) -> None:
        """Push what is accrued, and wait until the shards have it."""
        if self.client.busy:
            self._settle(self.client.wait())
        if self._accrued_steps:
            self._begin(Op.PUSH, self.rate.at(examples))
            self._settle(self.client.wait())
        self.client.forget()
