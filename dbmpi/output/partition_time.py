"""Where the seconds of partitions went: computed, or waited, and for what. Pure."""

from dataclasses import dataclass, field

from dbmpi.arrays import Record
from dbmpi.comm.wait import CAUSES, Cause

COORDINATOR = CAUSES[Cause.COORDINATOR]
DIGITS = 4  # of a share


@dataclass(frozen=True)
class PartitionTime:
    """Seconds of the ranks of all replicas together, for the portions that they have reported.

    `busy_s` is from an order to its report; `waits_s` is in which they waited, by `Cause`: that for the
    coordinator came before an order, all else is within `busy_s`. `measured_s` are the seconds that they
    computed and in which it was measured for how long they had a core, `cpu_s`.

    In sums that jobs of version 0.1.0 have begun `waits_s` has `shards` too: fetch and push together.
    """

    busy_s: float = 0.0
    waits_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0.0))
    cpu_s: float = 0.0
    measured_s: float = 0.0

    @classmethod
    def of(cls, reports: Record) -> "PartitionTime":
        """Add up reports, `(n,)`."""
        waits_s = dict(zip(CAUSES, reports["waits_s"].sum(axis=0).tolist(), strict=True))
        busy_s, cpu_s = float(reports["busy_s"].sum()), float(reports["cpu_s"].sum())
        own_s = reports["busy_s"] - reports["waits_s"].sum(axis=1) + reports["waits_s"][:, Cause.COORDINATOR]
        return cls(busy_s, waits_s, cpu_s, float(own_s[reports["cpu_s"] > 0].sum()))

    def __add__(self, other: "PartitionTime") -> "PartitionTime":
        waits = {name: wait + other.waits_s.get(name, 0.0) for name, wait in self.waits_s.items()}
        waits |= {name: wait for name, wait in other.waits_s.items() if name not in waits}
        cpu_s, measured_s = self.cpu_s + other.cpu_s, self.measured_s + other.measured_s
        return PartitionTime(self.busy_s + other.busy_s, waits, cpu_s, measured_s)

    @property
    def _within_s(self) -> float:
        """The waits within `busy_s`."""
        return sum(self.waits_s.values()) - self.waits_s[COORDINATOR]

    @property
    def computed_s(self) -> float:
        """The seconds of `busy_s` in which they did not wait."""
        return max(0.0, self.busy_s - self._within_s)

    @property
    def core_share(self) -> float | None:
        """The share of the seconds that they computed in which they had a core; None where there are none."""
        return min(1.0, round(self.cpu_s / self.measured_s, DIGITS)) if self.measured_s > 0 else None

    @property
    def wait_share(self) -> float:
        """The share of `busy_s` in which they waited."""
        return self._within_s / self.busy_s if self.busy_s else 0.0

    @property
    def shares(self) -> dict[str, float]:
        """Each wait as a share of all the time, that between portions too."""
        whole = self.busy_s + self.waits_s[COORDINATOR]
        return {name: round(wait / whole, DIGITS) if whole else 0.0 for name, wait in self.waits_s.items()}

    def shown(self) -> dict[str, object]:
        """Return what the summary says."""
        return {
            "busy_s": self.busy_s,
            "waits_s": self.waits_s,
            "computed_s": self.computed_s,
            "core_share": self.core_share,
        }
