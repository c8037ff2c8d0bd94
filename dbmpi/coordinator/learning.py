"""Whether a run learns: its training loss must come to lie below that of chance. Pure.

The loss of chance (`data.chance`) is that of the best answer which is the same for every example. A run does
not learn in an epoch if neither its mean loss nor that of its last tenth is below chance by a hundredth. A
loss that begins high and falls passes by the second; one that is little below chance, whatever the noise of
few examples, by the first. One that is above chance and still falls is not there yet.
"""

from math import isfinite

from dbmpi.checkpoint.run_state import EpochSums

BETTER = 0.99  # of the loss of chance: what is not below is no better
LAST = 0.1  # share of the epoch
FALLING = 0.9  # of the mean loss of an epoch: what its end is below falls
LEAST_MINIBATCHES = 50  # of each replica: fewer may not have learned anything yet


class LearningWatch:
    """Watches the training loss, epoch by epoch.

    Parameters
    ----------
    chance
        The loss of chance; 0 where it is not known, and nothing is watched.
    examples
        In an epoch, or however many are judged together.

    Attributes
    ----------
    learned
        Whether the last whole epoch was better than chance; None before the end of the first.
    loss
        Mean loss of that epoch.
    sums
        Of the epoch under way.
    """

    def __init__(self, chance: float, examples: int) -> None:
        self.chance, self.examples = chance, examples
        self.learned: bool | None = None
        self.loss = 0.0
        self.sums = EpochSums()
        self._last_loss: float | None = None

    def add(self, loss: float, examples: float) -> bool:
        """Take in the mean loss of some examples; return whether an epoch has ended that leads nowhere."""
        if not isfinite(loss) or not self.chance:  # a minibatch that went wrong is the shards' business
            return False
        self._last_loss = loss
        self.sums = self.sums.plus(loss, examples, (1 - LAST) * self.examples)
        if self.sums.examples < self.examples * (1 - 1e-9):
            return False
        epoch, self.sums = self.sums, EpochSums()
        self._judge(epoch.loss, epoch.last_loss)
        return not self.learned and epoch.last_loss > FALLING * epoch.loss

    def end(self) -> bool:
        """The last loss is of the last parameters, exactly; return whether it is no better."""
        if self._last_loss is None:
            return False
        self._judge(self._last_loss, self._last_loss)
        return not self.learned

    def _judge(self, loss: float, last_loss: float) -> None:
        self.loss, self.learned = loss, min(loss, last_loss) < BETTER * self.chance
