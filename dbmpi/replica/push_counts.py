"""What a partition counts of its pushes, for the reports of portions: staleness, and norms of gradients."""

from collections.abc import Sequence

from dbmpi.arrays import Record


class PushCounts:
    """Counts since the last report.

    Of one push a portion, the first, the gradient is measured: partitions in step measure the same one.

    Parameters
    ----------
    own
        Whether each push makes an update of its own, which is not one that it missed (`downpour.average`).

    Attributes
    ----------
    rate
        The learning rate, at last.
    wanted
        Whether the next push is to be measured.
    """

    def __init__(self, own: bool) -> None:
        self.rate, self.wanted, self._own = 0.0, False, int(own)
        self._reset()

    def _reset(self) -> None:
        self._taken = self._staleness = self._stalest = self._sampled = 0
        self._squares = 0.0

    def begin(self) -> None:
        """A portion begins."""
        self.wanted = True

    def sample(self, square: float, steps: int) -> None:
        """Take in the sum of squares of a push of so many minibatches."""
        self.wanted = False
        self._sampled += 1
        self._squares += square / steps**2

    def count(self, behind: Sequence[int]) -> None:
        """Take in what an exchange says of its push: `Outcome.behind`."""
        for updates in behind:
            staleness = max(0, updates - self._own)  # below: of updates that died with a shard
            self._taken += 1
            self._staleness += staleness
            self._stalest = max(self._stalest, staleness)

    def fill(self, report: Record) -> None:
        """Write what was counted into a `REPORT`, and begin anew."""
        report["rate"], report["taken"] = self.rate, self._taken
        report["staleness_sum"], report["staleness_max"] = self._staleness, self._stalest
        report["sampled"], report["square_sum"] = self._sampled, self._squares
        self._reset()
