"""What clients have counted of their pushes, added up. Pure."""

from dataclasses import dataclass

from dbmpi.arrays import Record


@dataclass(frozen=True)
class PushSums:
    """Pushes of pieces that were applied, and their staleness."""

    taken: int = 0
    staleness_sum: int = 0
    staleness_max: int = 0

    @classmethod
    def of(cls, reports: Record) -> "PushSums":
        """Add up reports, `(n,)`."""
        taken, staleness = int(reports["taken"].sum()), int(reports["staleness_sum"].sum())
        return cls(taken, staleness, int(reports["staleness_max"].max(initial=0)))

    def __add__(self, other: "PushSums") -> "PushSums":
        return PushSums(
            self.taken + other.taken,
            self.staleness_sum + other.staleness_sum,
            max(self.staleness_max, other.staleness_max),
        )

    @property
    def mean(self) -> float | None:
        """The mean staleness; None where nothing was pushed."""
        return self.staleness_sum / self.taken if self.taken else None

    @property
    def most(self) -> int | None:
        """The largest staleness; None where nothing was pushed."""
        return self.staleness_max if self.taken else None
