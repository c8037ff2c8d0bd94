"""What each replica has done, all its partitions together. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np

from dbmpi.output.partition_time import PartitionTime
from dbmpi.output.portions import Portions
from dbmpi.output.push_sums import PushSums


@dataclass(frozen=True)
class ReplicaSums:
    """Of the portions that a replica has reported.

    `learned` counts examples; `pushes` those of all its partitions, and `refused` the pieces of them that a
    shard refused.
    """

    learned: int = 0
    minibatches: int = 0
    pushes: int = 0
    refused: int = 0
    staleness: PushSums = PushSums()
    time: PartitionTime = field(default_factory=PartitionTime)

    @classmethod
    def of(cls, portions: Portions) -> "ReplicaSums":
        """Add up portions."""
        reports, firsts = portions
        return cls(
            int(firsts["examples"].sum()),
            int(firsts["steps"].sum()),
            int(reports["pushes"].sum()),
            int(reports["refused"].sum()),
            PushSums.of(reports),
            PartitionTime.of(reports),
        )

    def __add__(self, other: "ReplicaSums") -> "ReplicaSums":
        return ReplicaSums(
            self.learned + other.learned,
            self.minibatches + other.minibatches,
            self.pushes + other.pushes,
            self.refused + other.refused,
            self.staleness + other.staleness,
            self.time + other.time,
        )


NOTHING = ReplicaSums()


def by_replica(portions: Portions) -> dict[int, ReplicaSums]:
    """Add up portions, replica by replica."""
    found = {}
    for replica in np.unique(portions.firsts["replica"]).tolist():
        own = (records[records["replica"] == replica] for records in portions)
        found[replica] = ReplicaSums.of(Portions(*own))
    return found


def together(one: Sequence[ReplicaSums], other: Sequence[ReplicaSums]) -> tuple[ReplicaSums, ...]:
    """Add up sums replica by replica; a job may have had more of them than another."""
    return tuple(a + b for a, b in zip_longest(one, other, fillvalue=NOTHING))


def recorded(sums: Sequence[ReplicaSums], dead: Collection[int] = ()) -> dict[str, Any]:
    """Return the fields of a `replicas` record: lists, with None in place of the `dead`."""
    fields = {
        "learned": [one.learned for one in sums],
        "minibatches": [one.minibatches for one in sums],
        **_times(sums),
        "pushes": [one.pushes for one in sums],
        "refused": [one.refused for one in sums],
        "core_share": [one.time.core_share for one in sums],
    }
    return _without(dead, fields)


def summed(sums: Sequence[ReplicaSums]) -> dict[str, Any]:
    """Return what the summary says of replicas."""
    return {"learned": [one.learned for one in sums], **_times(sums)}


def _times(sums: Sequence[ReplicaSums]) -> dict[str, Any]:
    causes = dict.fromkeys(cause for one in sums for cause in one.time.waits_s)
    return {
        "busy_s": [one.time.busy_s for one in sums],
        "computed_s": [one.time.computed_s for one in sums],
        "waits_s": {cause: [one.time.waits_s.get(cause, 0.0) for one in sums] for cause in causes},
        "staleness_mean": [one.staleness.mean for one in sums],
        "staleness_max": [one.staleness.most for one in sums],
    }


def _without(dead: Collection[int], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with None in place of some replicas, in all lists."""

    def kept(value: Any) -> Any:
        if isinstance(value, Mapping):
            return _without(dead, value)
        return [None if replica in dead else one for replica, one in enumerate(value)]

    return {name: kept(value) for name, value in fields.items()}
