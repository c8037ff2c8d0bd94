"""Which of the last pushes of a piece were refused as not finite."""

from dbmpi.comm.protocol import RECENT


class Recent:
    """The last `RECENT` pushes.

    Attributes
    ----------
    judged
        How many are known.
    """

    def __init__(self, judged: int = 0) -> None:
        self._bits, self.judged = 0, min(judged, RECENT)  # a bit for each, 1 where it was refused

    @property
    def refused(self) -> int:
        """How many of them were refused."""
        return self._bits.bit_count()

    def note(self, refused: bool) -> None:
        """Take in one more; the oldest is forgotten."""
        self._bits = (self._bits << 1 | refused) & ((1 << RECENT) - 1)
        self.judged = min(self.judged + 1, RECENT)
