"""Where the time of the partitions goes: shares of it, by cause. Pure.

Records `replicas` have them as seconds, train records as shares; where there is neither, as in version 0.1.0,
summary.json has seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from dbmpi.diagnosis.evidence import Evidence, total
from dbmpi.logs.records import number
from dbmpi.logs.waits import wait_shares

EXCHANGE = "fetch", "push", "shards"  # "shards" is what version 1 calls the two
BOUNDARY = "states", "derivatives", "output_stats", "shared"
DATA = ("data",)
ORDERS = ("coordinator",)


@dataclass(frozen=True)
class Shares:
    """Shares of the time of all partitions together.

    Parameters
    ----------
    waits
        By cause, 0 to 1; empty where they are not known.
    """

    waits: Mapping[str, float]

    @classmethod
    def of(cls, evidence: Evidence) -> "Shares":
        """Return those of a run; none where too little was recorded."""
        if not evidence.enough:
            return cls({})
        return cls(_of_replicas(evidence) or _of_records(evidence) or wait_shares(evidence.summary))

    @cached_property
    def known(self) -> bool:
        """Whether anything is known of them."""
        return bool(self.waits)

    def of_causes(self, causes: tuple[str, ...]) -> float:
        """Return the share of some causes together."""
        return sum(self.waits.get(cause, 0.0) for cause in causes)

    @property
    def computed(self) -> float:
        """The share in which they waited for nothing."""
        return max(0.0, 1.0 - sum(self.waits.values()))


def _of_replicas(evidence: Evidence) -> dict[str, float]:
    """Return the shares by the seconds of records `replicas`, which are fewer and exact."""
    sums = dict[str, float]()
    for row in evidence.judged("replicas").rows:
        waits = row.get("waits_s")
        for cause, seconds in (waits if isinstance(waits, dict) else {}).items():
            sums[cause] = sums.get(cause, 0.0) + total(seconds)
    whole = evidence.of_replicas("busy_s") + sums.get("coordinator", 0.0)
    return {cause: seconds / whole for cause, seconds in sums.items()} if whole > 0 else {}


def _of_records(evidence: Evidence) -> dict[str, float]:
    sums, weight = dict[str, float](), 0.0
    for row, interval_s in zip(evidence.train.rows, evidence.intervals_s, strict=True):
        waits = row.get("waits")
        if not isinstance(waits, dict):
            continue
        weight += float(interval_s)
        for cause, share in waits.items():
            sums[cause] = sums.get(cause, 0.0) + number(share, 0.0) * float(interval_s)
    return {cause: total / weight for cause, total in sums.items()} if weight else {}
