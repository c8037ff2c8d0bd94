"""Whether a run has diverged: what its losses are compared with, and what has been seen. Pure.

The loss of the first parameters is the reference, and not the mean loss of the first portion, which holds
what was learned, or spoilt, meanwhile. It is that of one minibatch, and may be small by luck: so the loss of
chance (`data.chance`) is the least reference.
"""

from collections.abc import Mapping
from math import inf, isfinite

from dbmpi.arrays import Record
from dbmpi.comm.protocol import RECENT

PERSISTENCE = 3  # losses in a row that are beyond the limit
TRAINING, TEST = "the training loss", "the loss on the test set"


class Divergence:
    """Watches losses, and what shards refuse.

    Parameters
    ----------
    factor
        `train.divergence_factor`.
    chance
        The loss of chance; 0 where it is not known.
    held_out
        The split that TEST losses are of.

    Attributes
    ----------
    first_loss
        Loss of the first parameters; None until it is known.
    seen
        What was seen that shows divergence.
    """

    def __init__(self, factor: float, chance: float, held_out: str = "test") -> None:
        self._factor, self._chance, self._held_out = factor, chance, held_out
        self.first_loss: float | None = None
        self._row = {TRAINING: 0, TEST: 0}
        self._is_infinite = False  # the loss of the first parameters
        self.seen = ""

    def begin(self, loss: float) -> None:
        """Take the loss of the first parameters, once; one that is not finite tells nothing."""
        if self.first_loss is None and isfinite(loss):
            self.first_loss = loss
        self._is_infinite = self.first_loss is None

    def restore(self, first_loss: float | None, beyond: int) -> None:
        """Go on from a checkpoint."""
        self.first_loss, self._row[TRAINING] = first_loss, beyond

    @property
    def beyond(self) -> int:
        """Training losses in a row, up to the last one, that were beyond the limit."""
        return self._row[TRAINING]

    @property
    def reference(self) -> float:
        """What losses are compared with; 0 while there is nothing."""
        return max(abs(self.first_loss or 0.0), self._chance)

    def persists(self, loss: float, what: str) -> bool:
        """Return whether losses of one kind, TRAINING or TEST, stay beyond the limit.

        One proves nothing: the shards refuse a gradient that is not finite, and the replica that took a step
        by it fetches anew. While the first loss is on its way, finite ones pass.
        """
        if self._is_infinite and isfinite(loss):
            self.begin(loss)
        seen = self._beyond(loss) if self.first_loss is not None or not isfinite(loss) else ""
        self._row[what] = self._row[what] + 1 if seen else 0
        persists = self._row[what] >= PERSISTENCE
        if persists:
            self._note(f"{self._named(what)} {seen}, the last of {PERSISTENCE} such losses in a row")
        return persists

    def shows(self, loss: float, what: str = TEST) -> bool:
        """Return whether one loss is beyond the limit: where there is no way back from the parameters."""
        seen = self._beyond(loss)
        if seen:
            self._note(f"{self._named(what)} {seen}")
        return bool(seen)

    def _named(self, what: str) -> str:
        return f"the loss on the {self._held_out} set" if what == TEST else what

    def refused(self, shards: Mapping[int, Record], final: bool) -> bool:
        """Return whether a shard refuses more than half of the last pushes as not finite.

        Parameters
        ----------
        shards
            The last report of each.
        final
            Whether no more pushes come, so that fewer than `RECENT` must do.
        """
        for shard, report in shards.items():
            pushes, bad = int(report["recent"]), int(report["recent_not_finite"])
            if 2 * bad > pushes and (final or pushes >= RECENT):
                which = "all" if bad == pushes else f"{bad}"
                why = "as not finite, or too large to compute with in model.dtype"
                self._note(f"shard {shard} refused {which} of the last {pushes} gradients {why}")
                return True
        return False

    def _beyond(self, loss: float) -> str:
        """Say how a loss is beyond the limit; nothing if it is not."""
        if not isfinite(loss):
            return "is not finite"
        reference = self.reference
        if loss <= (self._factor * reference if reference else inf):
            return ""
        limit = f"above {self._factor:g} (train.divergence_factor) times {reference:.4g}"
        whose = "chance" if reference == self._chance else "the first parameters"
        return f"is {loss:.4g}: {limit}, that of {whose}"

    def _note(self, seen: str) -> None:
        self.seen = self.seen or seen
